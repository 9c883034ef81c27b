"""Reads HTTP requests with the bounds that uvicorn's protocol lacks: on the size and the time of a head.

Without them, anybody who can reach the port could fill the memory with one endless header, or hold a file
descriptor for ever without asking for anything.
"""

import asyncio
from typing import Any

from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.http11 import Request

from bridge.connection import handshake

MAX_HEAD_BYTES = 64 * 1024
"""Largest request line with headers; a WebSocket may have 8 KiB in one line of it."""

HEAD_TIMEOUT_S = 10.0
"""Seconds a new connection may take until its first request's head is there, and every further head."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 37\r\n\r\n"
    b"the headers are too long (64 KiB max)"
)


def upgrade(transport: asyncio.Transport, config: Config, request: Request | None) -> None:
    """Let a WebSocket have the connection; ``request`` is its handshake, None if it is none."""
    connection: Any = config.ws_protocol_class and config.ws_protocol_class()
    transport.set_protocol(connection)
    connection.connection_made(transport)
    connection.open(request)


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it becomes a WebSocket.

    Relies on uvicorn's callbacks of the parser (``on_message_begin``, ``on_headers_complete``), on its
    keep-alive timer, which runs between two requests, and on the method that it calls for a handshake.
    """

    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def continue_from(self, transport: asyncio.Transport, deadline: asyncio.TimerHandle) -> None:
        """Take over a connection whose first bytes have come; ``deadline`` is that of its first head."""
        self._deadline = deadline
        self.connection_made(transport)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if self._deadline is None:
            self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._head_has_ended()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._expect_head()  # uvicorn's timer ends with the first byte, whatever it is
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # What was read with the end of a head may be its body: only a head that goes on counts.
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:  # pipelined
            self._expect_head()

    @override
    def on_headers_complete(self) -> None:
        self._head_has_ended()
        super().on_headers_complete()

    @override
    def handle_websocket_upgrade(self) -> None:
        # uvicorn would write the request out, for the WebSocket to read it once more.
        self.connections.discard(self)
        request = handshake.request_of(self.scope["method"].encode(), self.url, self.headers)
        upgrade(self.transport, self.config, request)

    def _expect_head(self) -> None:
        self._head_has_ended()
        self._in_head, self._head_bytes = True, 0
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _head_has_ended(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        # Not while an earlier request is being answered: reading may be paused for it.
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self.transport.close()
