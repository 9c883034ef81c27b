"""The opening handshake: path, subprotocol, origin, and the token that may come with it."""

import logging
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from typing_extensions import override
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.extensions import ServerExtensionFactory
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import StatusLike, Subprotocol
from websockets.utils import accept_key

from bridge.errors import InvalidTokenError, MessageTooLargeError

PATH = "/ws"
SUBPROTOCOL = Subprotocol("bridge.v1")
MAX_MESSAGE_BYTES = 64 * 1024
"""Largest message a client may send; a subscription of 1,000 dialogs takes 40 KB."""

MAX_HEADERS = 128
MAX_LINE_BYTES = 8192
"""Limits of a handshake's head, each line with its end: those of websockets' own parser."""

UNREADABLE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 60\r\n\r\n"
    b"a header is too long (limit 8192): send the token in `auth`\n"
)
"""Response to a request that is no handshake; the HTTP server could read it."""

FAILED = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""Response to a handshake that met a defect of ours."""

_SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

_USUAL_CONNECTION = (["Upgrade"], ["upgrade"], ["keep-alive, Upgrade"])
_USUAL_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes

_quiet = logging.getLogger("bridge.websocket")  # noqa: TID251 - websockets wants one; shared by all
_quiet.disabled = True


class Protocol(ServerProtocol):
    """The server's side of one connection, whose handshake has been read by others.

    Fails with our close code when a message is too large.
    """

    def __init__(self, extensions: Sequence[ServerExtensionFactory] = ()) -> None:
        super().__init__(
            state=State.OPEN,
            extensions=extensions,
            max_size=MAX_MESSAGE_BYTES,
            logger=_quiet,
            select_subprotocol=_select_subprotocol,
        )

    @override
    def process_request(self, request: Request) -> tuple[str, str | None, str | None]:
        get_all = request.headers.get_all
        keys = get_all("Sec-WebSocket-Key")
        # What browsers, nginx and libraries send is known by sight; all else is read by its grammar.
        if (
            get_all("Connection") in _USUAL_CONNECTION
            and get_all("Upgrade") == ["websocket"]
            and get_all("Sec-WebSocket-Version") == ["13"]
            and len(get_all("Origin")) <= 1
            and len(keys) == 1
            and _USUAL_KEY.fullmatch(keys[0])
        ):
            extensions, self.extensions = self.process_extensions(request.headers)
            return accept_key(keys[0]), extensions, self.process_subprotocol(request.headers)
        return super().process_request(request)

    @override
    def fail(self, code: int, reason: str = "") -> None:
        if code == 1009:  # noqa: PLR2004 - RFC 6455: message too big
            error = MessageTooLargeError(f"a message may have {MAX_MESSAGE_BYTES} bytes: send less")
            code, reason = error.close_code, str(error)
        super().fail(code, reason)

    @override
    def reject(self, status: StatusLike, text: str) -> Response:
        # "Failed to ...: invalid ... header: <what came>": that may be no text at all, or a token.
        return super().reject(status, ": ".join(text.split(": ")[:2]))


def request_of(method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Request | None:
    """Return the handshake that an HTTP parser has read; None if it is none, or too long."""
    if method != b"GET" or len(url) > MAX_LINE_BYTES - 16 or len(headers) > MAX_HEADERS:
        return None
    found = Headers()
    for name, raw in headers:
        if len(name) + len(raw) > MAX_LINE_BYTES - 4:
            return None
        value = raw.strip(b" \t").decode("ascii", "surrogateescape")
        found[name.decode("ascii", "surrogateescape")] = value
    if "Transfer-Encoding" in found or "Content-Length" in found:
        return None
    return Request(url.decode("ascii", "surrogateescape"), found)


def answer(protocol: Protocol, request: Request | None) -> tuple[bool, bytes]:
    """Return whether a handshake is accepted, and the response: 101 on our path, else what is wrong."""
    if request is None:
        return False, UNREADABLE
    if request.path.partition("?")[0] != PATH:  # no urlsplit: it raises on what anybody may send
        return False, protocol.reject(404, f"no WebSocket here: use {PATH}\n").serialize()
    try:
        accept, extensions, subprotocol = protocol.process_request(request)
    except (InvalidHandshake, ValueError):
        return False, protocol.accept(request).serialize()
    # As accept() would have it but for the date, which it may lack: all that takes as long as the checks.
    extensions = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    subprotocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    head = f"{_SWITCHING}Sec-WebSocket-Accept: {accept}\r\n{extensions}{subprotocol}\r\n"
    return True, head.encode()


def token_of(request: Request, *, allow_in_url: bool) -> str | None:
    """Return the token that came with the handshake, None if the client will send it in ``auth``.

    Raises:
        InvalidTokenError: it is in the URL, and that is not allowed.
    """
    for offered in request.headers.get_all("Sec-WebSocket-Protocol"):
        for name in offered.split(","):
            kind, _, token = name.strip().partition(".")
            if kind == "bearer" and token:
                return token
    query = parse_qs(request.path.partition("?")[2])
    if "token" in query:
        if allow_in_url:
            return query["token"][0]
        raise InvalidTokenError("a token in the URL ends up in logs: send it as subprotocol or in auth")
    return None


def _select_subprotocol(_protocol: ServerProtocol, offered: Any) -> Subprotocol | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
