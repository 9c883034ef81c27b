"""The head of a request is bounded in size and time."""

import asyncio

import pytest

from bridge.connection import http_protocol
from tests.support.bridge import Bridge, running_bridge, token

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


async def opened(bridge: Bridge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", bridge.server.port)


async def answer_to(bridge: Bridge, *parts: bytes) -> bytes:
    """Send ``parts`` and return what comes until the server closes."""
    reader, writer = await opened(bridge)
    heard = bytearray()
    try:
        async with asyncio.timeout(10):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while piece := await reader.read(4096):
                heard += piece
    except ConnectionError:
        pass  # closed while we still wrote
    finally:
        writer.transport.abort()
    return bytes(heard)


async def test_a_head_without_an_end_is_cut_off():
    """Whether it is one line or many: memory does not grow with what strangers send."""
    async with running_bridge() as bridge:
        for endless in (
            [b"GET /poll HTTP/1.1\r\nHost: h\r\nX: "] + [b"y" * 65536] * 40,
            [b"GET /poll HTTP/1.1\r\nHost: h\r\n"] + [b"X: " + b"y" * 8000 + b"\r\n"] * 200,
            [b"GET /" + b"y" * 65536] + [b"y" * 65536] * 40,
        ):
            reader, writer = await opened(bridge)
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionError):  # noqa: PT012 - some write meets the closed socket
                    for part in endless * 10:
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(0)
                    while await reader.read(4096):
                        pass
                    raise ConnectionResetError
            writer.transport.abort()


async def test_a_large_head_is_told_why():
    """431, and the connection ends."""
    async with running_bridge() as bridge:
        heard = await answer_to(bridge, b"GET /poll HTTP/1.1\r\nHost: h\r\n", b"X: " + b"y" * 66_000)
        assert heard.startswith(b"HTTP/1.1 431 ")
        head, _, body = heard.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head


async def test_a_connection_that_asks_for_nothing_ends(monkeypatch: pytest.MonkeyPatch):
    """Silent from the start, in the middle of a head, or with empty lines after an answer."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.1)
    async with running_bridge() as bridge:
        assert await answer_to(bridge) == b""
        assert await answer_to(bridge, b"GET /healthz HT") == b""
        reader, writer = await opened(bridge)
        async with asyncio.timeout(10):
            writer.write(HEALTH)
            await reader.readuntil(b'"ok"}')
            writer.write(b"\r\n")
            assert await reader.read() == b""
        writer.transport.abort()


async def test_requests_that_take_long_to_answer_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Polls and WebSockets outlive the time for a head; so do several requests on one connection."""
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.1)
    async with running_bridge() as bridge:
        poll = (
            f"GET /poll?since={bridge.hub.cursor}&timeout_s=0.5 HTTP/1.1\r\nHost: h\r\n"
            f"Authorization: Bearer {token()}\r\n\r\n"
        ).encode()
        reader, writer = await opened(bridge)
        async with asyncio.timeout(10):
            for _ in range(2):
                writer.write(HEALTH)
                await reader.readuntil(b'"ok"}')
                writer.write(poll + b"GET /hea")  # the next one has begun
                await reader.readuntil(b'"status":"live"}')
                writer.write(b"lthz HTTP/1.1\r\nHost: h\r\n\r\n")
                await reader.readuntil(b'"ok"}')
        writer.transport.abort()
        reader, writer = await opened(bridge)
        async with asyncio.timeout(10):
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Protocol: bridge.v1, bearer." + token().encode() + b"\r\n\r\n"
            )
            await reader.readuntil(b'"upstream":"live"}')
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await reader.read(1)
        writer.transport.abort()
