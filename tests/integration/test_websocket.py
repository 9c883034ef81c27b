"""WebSocket clients against the real server and hub: order, resume, slowness, refusals, the end."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.errors import AskedTimeoutError
from bridge.events import Principal, RowEvent, View
from bridge.fanout import subscriber as held
from tests.support.bridge import ANN, BOB, Bridge, running_bridge, token
from tests.support.clients import Client, websocket_client
from tests.support.events import all_visible


def ids(client: Client) -> list[int]:
    return [e["new"]["id"] for e in client.events]


async def until_id(client: Client, n: int) -> None:
    await client.until(lambda m: m.get("new", {}).get("id") == n)


async def closed_with(socket: ClientConnection) -> tuple[int | None, list[dict[str, Any]]]:
    """Read to the end and return the close code and what came before it."""
    heard = []
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(json.loads(await socket.recv()))
    return socket.close_code, heard


async def idle(bridge: Bridge) -> None:
    """Wait until nobody is connected, as far as the bridge knows."""
    async with asyncio.timeout(10), httpx.AsyncClient() as http:
        while (await http.get(f"{bridge.admin_url}/connections")).json() or bridge.roster.here:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def raw_client(
    bridge: Bridge, user: str = ANN, *, path: str = "/ws", padding: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect by hand and send the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.server.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: bridge.v1, bearer.{token(user)}{'x' * padding}\r\n\r\n".encode()
    )
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.transport.abort()


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    return bytes((0x80 | opcode,)) + length + bytes(4) + payload


async def test_the_token_may_come_as_subprotocol_or_as_first_message():
    """`connected` and the status of upstream are the answer to both."""
    async with running_bridge() as bridge:
        async with connect(bridge.ws_url, subprotocols=["bridge.v1", f"bearer.{token()}"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "bridge.v1"
            first = [json.loads(await socket.recv()) for _ in range(2)]
        async with connect(bridge.ws_url) as socket:
            await socket.send(json.dumps({"type": "auth", "token": token(BOB)}))
            second = [json.loads(await socket.recv()) for _ in range(2)]
        assert [m["type"] for m in first + second] == ["connected", "status"] * 2
        assert (first[0]["user_id"], second[0]["user_id"]) == (ANN, BOB)
        await idle(bridge)


async def test_what_a_client_may_ask():
    """Ping with and without id, dialogs added and taken away, a refresh, fragments."""
    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token(), dialogs=["a"]) as client:
        await client.send(type="ping", id="x")
        assert (await client.until_type("pong"))["id"] == "x"
        await client.send(type="subscribe", dialogs=["b"])
        await client.until(lambda m: m.get("dialogs") == ["a", "b"])
        await client.send(type="unsubscribe", dialogs=["a"])
        await client.until_type("unsubscribed")
        bridge.publish(1, dialog="a")
        bridge.publish(2, dialog="b")
        await until_id(client, 2)
        assert ids(client) == [2]
        await client.send(type="auth", token=token(ttl_s=120))
        await client.until_type("authenticated")
        await client.socket.send(['{"type":', '"ping",', '"id":9}'])
        await client.until(lambda m: m.get("id") == 9)


async def test_a_refresh_with_other_claims_tells_the_client_to_read_again():
    """It may see other rows now; events come under the new claims."""
    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as client:
        await client.send(type="auth", token=token(org=5))
        assert (await client.until_type("resync"))["reason"] == "claims_changed"
        [principal] = bridge.roster.here
        assert json.loads(principal.claims_json)["org"] == 5
        bridge.publish(1)
        await until_id(client, 1)


async def test_a_client_that_was_away_gets_what_it_missed_once_and_in_order():
    """Live events that arrive while that is being decided come after it."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        asked.set()
        await go_on.wait()
        return await all_visible(principal, events)

    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as witness:
        bridge.decide = slowly
        async with websocket_client(bridge.ws_url, token()) as client:
            bridge.publish(1)
            await until_id(client, 1)
            cursor = client.events[-1]["cursor"]
        bridge.publish(2, 3)
        async with websocket_client(bridge.ws_url, token(), since=cursor) as client:
            assert (await client.until_type("subscribed"))["recovered"] is True
            async with asyncio.timeout(5):
                await asked.wait()
            bridge.publish(4)
            await until_id(witness, 4)
            assert ids(client) == []
            go_on.set()
            bridge.publish(5)
            await until_id(client, 5)
            assert ids(client) == [2, 3, 4, 5]
        async with websocket_client(bridge.ws_url, token(), since="other-7") as client:
            assert (await client.until_type("subscribed"))["recovered"] is False


async def test_far_more_than_the_outbox_holds_can_be_resumed():
    """10 MB missed, 200 KB of outbox: a client that reads gets all of it, live events at the end."""
    async with (
        running_bridge(outbox_limit_bytes=200_000) as bridge,
        websocket_client(bridge.ws_url, token()) as witness,
    ):
        cursor = bridge.hub.cursor
        for n in range(1000):
            bridge.publish(n, body="x" * 10_000)
            await asyncio.sleep(0)
        await until_id(witness, 999)
        async with websocket_client(bridge.ws_url, token(), since=cursor) as client:
            bridge.publish(1000)
            await until_id(client, 1000)
            assert ids(client) == list(range(1001))


async def test_who_does_not_read_its_replay_is_cut_off_once_too_much_waits(monkeypatch: pytest.MonkeyPatch):
    """Nothing grows without bound, and nothing overtakes what it has not read."""
    monkeypatch.setattr(held, "MAX_HELD_BYTES", 50_000)
    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as witness:
        cursor = bridge.hub.cursor
        for n in range(1000):
            bridge.publish(n, body="x" * 10_000)
            await asyncio.sleep(0)
        async with raw_client(bridge) as (reader, writer):
            await reader.readuntil(b'"upstream":"live"}')
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            with capture_logs() as logs:
                writer.write(masked(1, json.dumps({"type": "subscribe", "since": cursor}).encode()))
                async with asyncio.timeout(10):
                    n = 1000
                    while not any(e["event"] == "connection_closed" for e in logs):
                        n += 1
                        bridge.publish(n, body="y" * 1000)
                        await asyncio.sleep(0.01)
            assert [e["close_code"] for e in logs if e["event"] == "connection_closed"] == [4430]
        await until_id(witness, n)


async def test_a_slow_reader_is_cut_off_and_delays_nobody():
    """4430; its neighbour has every event, and the server holds no more than the limit."""
    async with (
        running_bridge(outbox_limit_bytes=100_000) as bridge,
        websocket_client(bridge.ws_url, token()) as neighbour,
        raw_client(bridge) as (reader, writer),
    ):
        await reader.readuntil(b'"upstream":"live"}')
        writer.write(masked(1, b'{"type":"subscribe"}'))
        await reader.readuntil(b'"recovered":true}')
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with capture_logs() as logs:
            async with asyncio.timeout(20):
                n = 0
                while not any(e["event"] == "connection_closed" for e in logs):
                    n += 1
                    bridge.publish(n, body="x" * 20_000)
                    await until_id(neighbour, n)
        [entry] = [e for e in logs if e["event"] == "connection_closed"]
        assert (entry["close_code"], entry["user_id"]) == (4430, ANN)
        assert ids(neighbour) == list(range(1, n + 1))


@pytest.mark.parametrize("opcode", [1, 9], ids=["messages", "pings"])
async def test_who_asks_and_never_reads_the_answers_is_cut_off(opcode: int):
    """Answers are bounded as events are: neither pings nor messages fill the memory."""
    payload = b"x" * 125 if opcode == 9 else b'{"type":"ping","id":"%b"}' % (b"x" * 60_000)
    async with running_bridge(outbox_limit_bytes=100_000) as bridge, raw_client(bridge) as (reader, writer):
        await reader.readuntil(b'"upstream":"live"}')
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with capture_logs() as logs, contextlib.suppress(ConnectionError):
            while not any(e["event"] == "connection_closed" for e in logs):
                writer.write(masked(opcode, payload) * (200 if opcode == 9 else 1))
                await asyncio.sleep(0.001 if opcode == 9 else 0.05)  # the client's rate, below the limit
                await writer.drain()
        [entry] = [e for e in logs if e["event"] == "connection_closed"]
        assert entry["close_code"] == 4430


async def test_a_megabyte_of_text_is_answered_with_the_close_frame_for_it():
    """4413 stands on the wire, though the rest of the message is still coming."""
    async with running_bridge() as bridge, raw_client(bridge) as (reader, writer):
        await reader.readuntil(b'"upstream":"live"}')
        writer.write(masked(1, b"x" * 1_000_000))
        header = await reader.readexactly(4)
        assert (header[0], int.from_bytes(header[2:4], "big")) == (0x88, 4413)
        await reader.read()
        writer.close()
        await idle(bridge)


@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [(1, b"\xff\xfe", 4400), (2, b"{}", 4400), (1, b"{nonsense", 4400), (3, b"", 1002), (0, b"x", 1002)],
    ids=["not utf-8", "binary", "not json", "opcode", "continuation of nothing"],
)
async def test_frames_that_make_no_sense(opcode: int, payload: bytes, code: int):
    """Each has its close code, and nobody else notices."""
    async with (
        running_bridge() as bridge,
        websocket_client(bridge.ws_url, token()) as neighbour,
        raw_client(bridge) as (reader, writer),
    ):
        await reader.readuntil(b'"upstream":"live"}')
        with capture_logs() as logs:
            writer.write(masked(opcode, payload))
            closing = await reader.read()
            writer.close()
            async with asyncio.timeout(5):
                while not logs:  # noqa: ASYNC110 - a list
                    await asyncio.sleep(0.01)
        assert code.to_bytes(2, "big") in closing
        assert [(e["event"], e["close_code"]) for e in logs] == [("connection_closed", code)]
        bridge.publish(1)
        await until_id(neighbour, 1)


async def test_random_bytes_end_one_connection_only():
    """Whatever comes, before or after the handshake."""
    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as neighbour:
        for _ in range(20):
            async with raw_client(bridge) as (reader, writer):
                await reader.readuntil(b'"upstream":"live"}')
                writer.write(os.urandom(2000))
                writer.write_eof()
                await reader.read()
        bridge.publish(1)
        await until_id(neighbour, 1)


async def test_a_handshake_that_is_refused_ends_its_connection():
    """With an HTTP answer, and without waiting for the client to go."""
    async with running_bridge() as bridge:
        async with raw_client(bridge, path="/elsewhere") as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
        async with raw_client(bridge, padding=9000) as (reader, _):
            assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        with pytest.raises(InvalidStatus):
            async with connect(f"{bridge.ws_url}x"):
                pass


async def test_an_unexpected_error_ends_one_client_and_not_the_server():
    """1011: it comes back with its cursor; its neighbour hears nothing of it."""

    async def broken(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        raise RuntimeError

    async with running_bridge() as bridge, websocket_client(bridge.ws_url, token()) as neighbour:
        cursor = bridge.hub.cursor
        bridge.publish(1)
        bridge.decide = broken
        with capture_logs() as logs:
            async with websocket_client(bridge.ws_url, token(), since=cursor) as client:
                async with asyncio.timeout(5):
                    await client.socket.wait_closed()
                assert (client.socket.close_code, ids(client)) == (1011, [])
        assert "connection_crashed" in [e["event"] for e in logs]
        bridge.publish(2)
        await until_id(neighbour, 2)


async def test_a_client_that_cannot_be_told_what_it_missed_stays_and_reads_again():
    """Policies that take too long are no defect: no traceback, a `resync`, and live events go on."""

    async def slow(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        raise AskedTimeoutError("bridge_visible() took too long: wait")

    async with running_bridge() as bridge:
        cursor = bridge.hub.cursor
        bridge.publish(1)
        bridge.decide = slow
        with capture_logs() as logs:
            async with websocket_client(bridge.ws_url, token(), since=cursor) as client:
                told = await client.until_type("resync")
                assert (told["reason"], told["cursor"]) == ("not_recovered", bridge.hub.cursor)
                bridge.publish(2)
                await until_id(client, 2)
                assert ids(client) == [2]
        assert "connection_crashed" not in [e["event"] for e in logs]


async def test_limits_are_for_connections_and_users_and_end_with_them():
    """4429 while there are too many; who leaves makes room."""
    async with running_bridge(max_connections=3, max_connections_per_user=2) as bridge:
        async with websocket_client(bridge.ws_url, token()), websocket_client(bridge.ws_url, token()):
            for user, room in ((ANN, False), (BOB, True)):
                async with connect(
                    bridge.ws_url, subprotocols=["bridge.v1", f"bearer.{token(user)}"]
                ) as socket:  # type: ignore[list-item]
                    if room:
                        assert json.loads(await socket.recv())["type"] == "connected"
                        async with connect(bridge.ws_url) as fourth:
                            assert (await closed_with(fourth))[0] == 4429
                    else:
                        assert (await closed_with(socket))[0] == 4429
        await idle(bridge)
        async with websocket_client(bridge.ws_url, token()), websocket_client(bridge.ws_url, token()):
            pass


async def test_a_token_ends_its_connection_when_it_expires():
    """4409 within a second of `exp`, with the reason first."""
    async with (
        running_bridge() as bridge,
        connect(bridge.ws_url, subprotocols=["bridge.v1", f"bearer.{token(ttl_s=2)}"]) as socket,  # type: ignore[list-item]
    ):
        started_s = asyncio.get_running_loop().time()
        code, heard = await closed_with(socket)
        assert (code, heard[-1]["code"]) == (4409, "token_expired")
        assert asyncio.get_running_loop().time() - started_s < 3


async def test_a_client_that_does_not_answer_pings_is_dropped():
    """Half-open connections do not stay; who answers does."""
    async with (
        running_bridge(ping_interval_s=0.5) as bridge,
        websocket_client(bridge.ws_url, token()) as alive,
        raw_client(bridge, BOB) as (reader, _),
    ):
        await reader.readuntil(b'"upstream":"live"}')
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):  # pings, which nobody answers
                pass
        bridge.publish(1)
        await until_id(alive, 1)


async def test_a_worker_that_leaves_says_so():
    """`reconnect`, then 1012; it takes no new clients and is not ready any more."""
    async with running_bridge() as bridge, httpx.AsyncClient() as http:
        assert (await http.get(f"{bridge.admin_url}/readyz")).status_code == 200
        async with (
            websocket_client(bridge.ws_url, token()) as client,
            connect(bridge.ws_url) as unauthenticated,
        ):
            bridge.server.stop_accepting()
            answer = await http.get(f"{bridge.admin_url}/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["draining"])
            with pytest.raises(OSError):
                async with connect(bridge.ws_url):
                    pass
            await bridge.server.drain(1.0)
            await client.until_type("reconnect")
            await client.socket.wait_closed()
            assert client.socket.close_code == 1012
            assert (await closed_with(unauthenticated))[0] == 1012


async def test_the_admin_port_shows_who_is_connected():
    """Health, readiness, metrics, connections; the public port shows none of it but its health."""
    async with (
        running_bridge() as bridge,
        websocket_client(bridge.ws_url, token()),
        httpx.AsyncClient() as http,
    ):
        assert (await http.get(f"{bridge.admin_url}/healthz")).json() == {"status": "ok"}
        bridge.readiness.append("upstream is down")
        answer = await http.get(f"{bridge.admin_url}/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["upstream is down"]})
        metrics = (await http.get(f"{bridge.admin_url}/metrics")).text
        assert 'bridge_connections{transport="websocket"} 1.0' in metrics
        [shown] = (await http.get(f"{bridge.admin_url}/connections")).json()
        assert (shown["user_id"], shown["transport"], shown["subscribed"]) == (ANN, "websocket", True)
        assert (await http.get(f"{bridge.url}/healthz")).status_code == 200
        for path in ("/metrics", "/connections", "/readyz"):
            assert (await http.get(f"{bridge.url}{path}")).status_code == 404
