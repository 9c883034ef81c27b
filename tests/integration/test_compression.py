"""BRIDGE_COMPRESSION=deflate against real sockets: who gets which bytes, and that they say the same."""

import asyncio
import json
import zlib
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from bridge import metrics
from bridge.deflate import TAIL
from tests.support.bridge import ANN, BOB, Bridge, running_bridge, token
from tests.support.clients import Poller, websocket_client

BODY = "grüße 🐘 " * 40


class RawClient:
    """A client that sees every bit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self.extensions = ""

    @classmethod
    async def opened(cls, bridge: Bridge, offer: str | None, user: str = ANN) -> "RawClient":
        client = cls(*await asyncio.open_connection("127.0.0.1", bridge.server.port))
        offered = "" if offer is None else f"Sec-WebSocket-Extensions: {offer}\r\n"
        client.writer.write(
            "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: bridge.v1, bearer.{token(user)}\r\n"
            f"{offered}\r\n".encode()
        )
        head = (await client._reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 ")
        for line in head.splitlines():
            name, _, value = line.partition(": ")
            if name == "Sec-WebSocket-Extensions":
                client.extensions = value
        return client

    async def frame(self) -> tuple[int, bytes]:
        """Return the first byte of the next frame, and its payload."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        return first, await self._reader.readexactly(size)

    async def messages(self, count: int) -> list[tuple[bool, dict[str, Any]]]:
        """Return so many messages, and whether they came compressed."""
        found = []
        for _ in range(count):
            first, payload = await self.frame()
            assert first in (0x81, 0xC1)
            # With a window of 4 KiB and a new state each time: that is all a client may need.
            text = zlib.decompressobj(-12).decompress(payload + TAIL) if first == 0xC1 else payload
            found.append((first == 0xC1, json.loads(text)))
        return found

    def send(self, payload: bytes, *, first: int = 0x81) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.writer.write(bytes((first,)) + length + bytes(4) + payload)


def packed(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


async def test_who_has_agreed_gets_the_same_bytes_and_the_others_what_they_always_got():
    """Events have RSV1, answers and notices do not; each message stands by itself."""
    async with running_bridge(compression="deflate") as bridge, asyncio.timeout(10):
        offers = ("permessage-deflate; client_max_window_bits", "permessage-deflate", None)
        clients = [await RawClient.opened(bridge, offer) for offer in offers]
        agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        assert [client.extensions for client in clients] == [agreed, agreed, ""]
        for client in clients:
            client.send(b'{"type":"subscribe"}')
            assert [(c, m["type"]) for c, m in await client.messages(3)] == [
                (False, "connected"), (False, "status"), (False, "subscribed")
            ]  # fmt: skip
        before = metrics.COMPRESSION_SAVED.counts[()]
        bridge.publish(1, 2, body=BODY)
        bridge.hub.announce_status("catching_up")
        frames = [[await client.frame() for _ in range(3)] for client in clients]
        assert frames[0] == frames[1]
        assert [first for first, _ in frames[0]] == [0xC1, 0xC1, 0x81]
        assert [first for first, _ in frames[2]] == [0x81, 0x81, 0x81]
        for (_, data), (_, plain) in zip(frames[0][:2], frames[2][:2], strict=True):
            assert zlib.decompressobj(-12).decompress(data + TAIL) == plain
            assert len(data) < 0.6 * len(plain)
        assert frames[0][2] == frames[2][2]
        saved = sum(
            len(plain) - len(data) for (_, data), (_, plain) in zip(frames[0], frames[2], strict=True)
        )
        assert metrics.COMPRESSION_SAVED.counts[()] - before >= 2 * saved  # headers get shorter, too
        for client in clients:
            client.writer.transport.abort()


@pytest.mark.parametrize(
    "offer",
    [
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(client_max_window_bits=9),
        ClientPerMessageDeflateFactory(server_max_window_bits=12),
        ClientPerMessageDeflateFactory(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            server_max_window_bits=15,
            client_max_window_bits=15,
        ),
    ],
    ids=["usual", "client's window", "server's window", "everything"],
)
async def test_a_client_of_websockets_reads_and_sends_compressed_messages(
    offer: ClientPerMessageDeflateFactory,
):
    """Small and large, live and resumed, in both directions, with what it asked for."""
    async with running_bridge(compression="deflate") as bridge, asyncio.timeout(20):
        cursor = bridge.hub.cursor
        async with connect(
            bridge.ws_url, subprotocols=["bridge.v1", f"bearer.{token()}"], compression=None, extensions=[offer], max_size=None,  # type: ignore[list-item]
        ) as socket:  # fmt: skip
            assert [e.name for e in socket.protocol.extensions] == ["permessage-deflate"]
            await socket.recv(), await socket.recv()
            bridge.publish(1, body=BODY)
            ids = ["x" * 20 + str(n) for n in range(500)]
            await socket.send(json.dumps({"type": "subscribe", "since": cursor, "dialogs": [*ids, "d1"]}))
            assert len(json.loads(await socket.recv())["dialogs"]) == 501
            bridge.publish(2, body=BODY * 500)
            bridge.publish(3)
            events = [json.loads(await socket.recv())["new"] for _ in range(3)]
            assert [(e["id"], e["body"]) for e in events] == [(1, BODY), (2, BODY * 500), (3, "hi")]
            await socket.send(['{"type":"ping",', '"id":', "9}"])
            assert json.loads(await socket.recv())["id"] == 9


async def test_a_small_window_is_declined_and_the_client_gets_its_events():
    """As they are: all others share what was compressed with more."""
    async with running_bridge(compression="deflate") as bridge, asyncio.timeout(10):
        client = await RawClient.opened(bridge, "permessage-deflate; server_max_window_bits=10")
        assert client.extensions == ""
        client.send(b'{"type":"subscribe"}')
        await client.messages(3)
        bridge.publish(1, body=BODY)
        [(compressed, event)] = await client.messages(1)
        assert (compressed, event["new"]["body"]) == (False, BODY)
        client.writer.transport.abort()


@pytest.mark.parametrize(
    ("data", "first", "code"),
    [
        (packed(bytes(20_000_000)), 0xC1, 4413),
        (packed(b'{"nonsense'), 0xC1, 4400),
        (packed(b"{}"), 0xC2, 4400),
        (b"\xff" * 20, 0xC1, 1002),
        (b"", 0xC9, 1002),
    ],
    ids=["zip bomb", "not json", "binary", "not compressed", "ping"],
)
async def test_what_must_not_come_compressed_ends_one_connection(data: bytes, first: int, code: int):
    """With the code that it would have had as it is; its neighbour notices nothing."""
    async with (
        running_bridge(compression="deflate") as bridge,
        websocket_client(bridge.ws_url, token(BOB)) as neighbour,
        asyncio.timeout(10),
    ):
        client = await RawClient.opened(bridge, "permessage-deflate")
        await client.messages(2)
        client.send(data, first=first)
        while (frame := await client.frame())[0] != 0x88:
            pass  # the error, in words
        assert int.from_bytes(frame[1][:2], "big") == code
        client.writer.transport.abort()
        bridge.publish(1, user=BOB)
        await neighbour.until(lambda m: m.get("new", {}).get("id") == 1)


async def test_it_is_off_unless_it_is_asked_for_and_polls_are_as_ever():
    """No offer is answered; a poll's body is JSON."""
    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as client:
        assert client.socket.protocol.extensions == []
    async with (
        running_bridge(compression="deflate") as bridge,
        httpx.AsyncClient(base_url=bridge.url) as http,
    ):
        poller = Poller(http, token())
        await poller.poll(timeout_s=0)
        bridge.publish(1, body=BODY)
        await poller.until(lambda event: event["new"] == {"id": 1, "body": BODY})
