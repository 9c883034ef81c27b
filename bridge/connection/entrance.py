"""Where connections of the public port begin: a WebSocket has its handshake at once, uvicorn has all else.

After a restart everybody comes back at once, and most of what that takes is the opening of connections.
"""

import asyncio
from typing import Any

import httptools
from typing_extensions import override
from uvicorn.config import Config
from websockets.http11 import Request

from bridge.connection import handshake, http_protocol
from bridge.connection.http_protocol import BoundedHttpProtocol, upgrade

MAX_HANDSHAKE_BYTES = 16 * 1024
"""A larger one is left to uvicorn, as is one that comes in pieces."""


class Entrance(asyncio.Protocol):
    """One connection, until it is known what it wants.

    Args:
        config: Of uvicorn; ``ws`` makes a WebSocket's protocol.
        server_state: Of uvicorn; its connections are told when the server stops.
        app_state: For uvicorn's protocol.
        _loop: The loop.
    """

    __slots__ = (
        "_app_state",
        "_config",
        "_deadline",
        "_loop",
        "_server_state",
        "_transport",
        "headers",
        "url",
    )

    def __init__(
        self,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._server_state.connections.add(self)
        self._deadline = self._loop.call_later(http_protocol.HEAD_TIMEOUT_S, transport.close)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._deadline.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        self._server_state.connections.discard(self)
        request = self._handshake(data)
        if request is None:
            http = BoundedHttpProtocol(self._config, self._server_state, self._app_state, self._loop)
            self._transport.set_protocol(http)
            http.continue_from(self._transport, self._deadline)
            http.data_received(data)
        else:
            self._deadline.cancel()
            upgrade(self._transport, self._config, request)

    def shutdown(self) -> None:
        """End a connection that has asked for nothing: the server stops."""
        self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL; the parser calls it."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; the parser calls it."""
        self.headers.append((name, value))

    def _handshake(self, data: bytes) -> Request | None:
        """Return a handshake that is whole and alone in ``data``; None for anything else."""
        end = len(data) - 4
        if data[:7] != b"GET /ws" or end > MAX_HANDSHAKE_BYTES or data.find(b"\r\n\r\n") != end:
            return None
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if parser.get_http_version() == "1.1":
                return handshake.request_of(b"GET", self.url, self.headers)
        except httptools.HttpParserError:
            pass
        return None
