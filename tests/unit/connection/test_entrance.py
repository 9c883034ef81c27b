"""The first bytes of a connection decide whose it is."""

import asyncio
import contextlib

import pytest

from bridge.connection import entrance
from tests.support.bridge import Bridge, running_bridge, token

UPGRADE = (
    "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
)
SWITCHING = b"HTTP/1.1 101 "
OPENED = b'"upstream":"live"}'


def handshake(first: str = "GET /ws HTTP/1.1", more: str = "", **_: str) -> bytes:
    offered = f"Sec-WebSocket-Protocol: bridge.v1, bearer.{token()}\r\n"
    return f"{first}\r\n{UPGRADE}{offered}{more}\r\n".encode()


async def answer_to(bridge: Bridge, *parts: bytes) -> bytes:
    """Send ``parts``, one after the other, and return what comes until the server closes, or is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.server.port)
    heard = bytearray()
    try:
        async with asyncio.timeout(10):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)  # in packets of their own
            while not heard.endswith((OPENED, b'"ok"}')) and (piece := await reader.read(4096)):
                heard += piece
    finally:
        writer.transport.abort()
    return bytes(heard)


async def test_a_handshake_does_not_go_through_uvicorn(monkeypatch: pytest.MonkeyPatch):
    """Whole, in one piece: as after a restart, ten thousand times."""
    async with running_bridge() as bridge:
        monkeypatch.setattr(entrance, "BoundedHttpProtocol", None)
        for asked in (handshake(), handshake("GET /ws?x=1 HTTP/1.1")):
            heard = await answer_to(bridge, asked)
            assert heard.startswith(SWITCHING)
            assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in heard


async def test_a_handshake_that_comes_in_pieces_or_is_large_does():
    """And ends in the same way."""
    padding = "".join(f"X-{n}: {'y' * 8000}\r\n" for n in range(3))
    async with running_bridge() as bridge:
        for parts in (
            [handshake()[:9], handshake()[9:]],
            [handshake()[:3], handshake()[3:-1], handshake()[-1:]],
            [handshake(more=padding)],
        ):
            heard = await answer_to(bridge, *parts)
            assert heard.startswith(SWITCHING)
            assert heard.endswith(OPENED)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 426),
        (handshake("GET /wsx HTTP/1.1"), 404),
        (handshake("GET /ws nonsense"), 400),
        (handshake(more="Bad Name: x\r\n"), 400),
        (handshake(more="Sec-WebSocket-Version: 13\r\n"), 400),
        (handshake("POST /ws HTTP/1.1"), 431),
        (handshake(more="Content-Length: 0\r\n"), 431),
        (handshake(f"GET /ws?{'x' * 8200} HTTP/1.1"), 431),
        (handshake(more=f"X: {'y' * 8200}\r\n"), 431),
        (handshake(more="".join(f"X-{n}: y\r\n" for n in range(130))), 431),
    ],
)
async def test_what_is_no_handshake_is_answered_as_http(asked: bytes, status: int):
    """Each with its status, in one piece and in two."""
    async with running_bridge() as bridge:
        for parts in ([asked], [asked[:20], asked[20:]]):
            assert (await answer_to(bridge, *parts)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_connection_that_has_asked_for_nothing_does_not_keep_the_server():
    """It is closed as the server stops, and one that leaves by itself is forgotten."""
    async with contextlib.AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(running_bridge())
        connections = bridge.server._servers[0].server_state.connections
        reader, writer = await asyncio.open_connection("127.0.0.1", bridge.server.port)
        _, leaving = await asyncio.open_connection("127.0.0.1", bridge.server.port)
        async with asyncio.timeout(5):
            while len(connections) < 2:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
            leaving.close()
            while len(connections) > 1:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    writer.close()
