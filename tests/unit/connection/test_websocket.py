"""One WebSocket connection, byte by byte, with a clock that the test moves."""

import asyncio
import json
import uuid
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.clock import ManualClock
from bridge.connection import Verifier, handshake
from bridge.connection.handshake import request_of
from bridge.connection.limits import Connections
from bridge.connection.origins import Origins
from bridge.connection.ports import Context
from bridge.connection.sweeper import Sweeper
from bridge.connection.websocket import WebSocketConnection
from bridge.events import Principal
from bridge.fanout import Flusher, Frame
from bridge.minting import mint_token
from tests.support.events import Everybody, make_hub, message, to
from tests.support.transport import Transport

ROW = "a-row"
SECRET = "a secret of at least thirty-two bytes"
ANN = str(uuid.UUID(int=1))
BIG = Frame(b"x" * 300, b"x" * 300)


class Loop:
    """Runs what is called soon when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class World:
    """A connection and everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.loop, self.roster = ManualClock(), Loop(), Everybody()
        flusher = Flusher(self.loop, self.clock)  # type: ignore[arg-type]
        self.hub = make_hub(roster=self.roster, flusher=flusher)
        self.work: list[Coroutine[Any, Any, None]] = []
        self.context = Context(
            **{
                "hub": self.hub,
                "flusher": flusher,
                "verifier": Verifier(clock=self.clock, secret=SECRET, keys=None),
                "origins": Origins(()),
                "connections": Connections(limit=9, limit_per_user=9),
                "sweeper": Sweeper(interval_s=25.0, clock=self.clock),
                "clock": self.clock,
                "spawn": self.work.append,
                "loop": self.loop,
                "ping_interval_s": 25.0,
                "outbox_limit_bytes": 800,
                "allow_token_in_url": False,
            }
            | settings
        )
        self.transport = Transport()
        self.connection = WebSocketConnection(self.context)
        self.connection.connection_made(self.transport)

    def token(self, user: str = ANN, ttl_s: int = 60) -> str:
        return mint_token(SECRET, user_id=user, role="authenticated", ttl_s=ttl_s, now=self.clock.now())

    def shake_hands(self, *, token: str | None = None, origin: str | None = None, path: str = "/ws") -> None:
        headers = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"Sec-WebSocket-Version", b"13"),
            *([] if token is None else [(b"Sec-WebSocket-Protocol", f"bridge.v1, bearer.{token}".encode())]),
            *([] if origin is None else [(b"Origin", origin.encode())]),
        ]
        self.connection.open(request_of(b"GET", path.encode(), headers))

    def receive(self, payload: bytes, *, first: int = 0x81) -> None:
        size = (
            bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        )
        self.connection.data_received(bytes((first,)) + size + bytes(4) + payload)

    async def do_work(self) -> None:
        work, self.work[:] = list(self.work), []
        for piece in work:
            await piece

    async def opened(self, **settings: Any) -> "World":
        self.shake_hands(token=self.token(**settings))
        await self.do_work()
        self.receive(b'{"type":"subscribe"}')
        await self.do_work()
        self.loop.turn()
        return self

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Messages that were written, decoded."""
        text = self.transport.written.partition(b"\r\n\r\n")[2]
        found, decoder = [], json.JSONDecoder()
        start = text.find(b"{")
        while start >= 0:
            value, end = decoder.raw_decode(text[start:].decode("latin-1"))
            found.append(value)
            start = text.find(b"{", start + end)
        return found

    @property
    def close_code(self) -> int | None:
        sent = self.connection._protocol.close_sent
        return None if sent is None else sent.code


async def test_a_client_connects_subscribes_and_gets_events():
    """In one write for each turn of the loop."""
    world = await World().opened()
    assert [m["type"] for m in world.heard] == ["connected", "status", "subscribed"]
    writes = len(world.transport.writes)
    principal = world.roster.here[0]
    for n in (1, 2):
        world.hub.publish(message(n, body=""), to(principal))
    world.loop.turn()
    assert [m["new"]["id"] for m in world.heard[3:]] == [1, 2]
    assert len(world.transport.writes) == writes + 1


async def test_an_empty_list_of_dialogs_wants_none():
    """As over polling: a page whose user has no dialogs yet does not get everything."""
    world = World()
    world.shake_hands(token=world.token())
    world.receive(b'{"type":"subscribe","dialogs":[]}')
    await world.do_work()
    world.hub.publish(message(1, body=""), to(world.roster.here[0]))
    world.loop.turn()
    assert [m["type"] for m in world.heard] == ["connected", "status", "subscribed"]
    assert world.heard[-1]["dialogs"] == []


async def test_nothing_is_kept_of_a_client_that_has_left():
    """Roster, limits and sweeper forget it; the log says how it was."""
    world = await World().opened()
    with capture_logs() as logs:
        world.connection.connection_lost(None)
        world.connection.connection_lost(None)
    assert (world.roster.here, len(world.context.connections), len(world.context.sweeper)) == ([], 0, 0)  # type: ignore[arg-type]
    assert {name: logs[0][name] for name in ("event", "user_id", "close_code", "messages_in")} == {
        "event": "connection_closed",
        "user_id": ANN,
        "close_code": 1006,
        "messages_in": 1,
    }
    assert world.context.connections._of_user == {}
    world.connection.offer(BIG)
    world.connection.flush()
    assert len(world.context.connections) == 0


async def test_the_log_says_why_a_client_was_refused():
    """The code and the words that the client got: a wrong secret of the worker shows there."""
    world = World()
    world.shake_hands(token="x")
    await world.do_work()
    with capture_logs() as logs:
        world.connection.connection_lost(None)
    assert (logs[0]["code"], logs[0]["reason"]) == (
        "invalid_token",
        "the token is no valid JWT: send the session's access_token",
    )


async def test_a_token_that_is_verified_after_the_client_has_left_changes_nothing():
    """It was slow, the client was not."""
    world = World()
    world.shake_hands(token=world.token())
    world.connection.connection_lost(None)
    await world.do_work()
    assert world.roster.here == []


async def test_what_is_refused_before_the_session_begins():
    """Too many connections, another origin, a token in the URL: after the handshake, so that a page sees the code."""
    for settings, asked, code in (
        ({"connections": Connections(limit=0, limit_per_user=9)}, {}, 4429),
        ({"origins": Origins(("https://app.example.com",))}, {"origin": "https://evil.example.com"}, 4403),
        ({}, {"path": "/ws?token=x"}, 4401),
    ):
        world = World(**settings)
        world.shake_hands(**asked)
        assert (world.close_code, world.heard[0]["type"]) == (code, "error")
        world.connection.connection_lost(None)
        assert len(world.context.connections) == 0


async def test_a_user_with_too_many_connections_is_refused_and_leaves_no_trace():
    """The early subscription is dropped with it."""
    world = World(connections=Connections(limit=9, limit_per_user=0))
    world.shake_hands(token=world.token())
    world.receive(b'{"type":"subscribe"}')
    await world.do_work()
    assert world.close_code == 4429
    world.connection.connection_lost(None)
    assert (world.roster.here, world.context.connections._of_user) == ([], {})


async def test_a_path_that_is_no_websocket_is_answered_and_closed():
    """404, and the log has nothing to say."""
    world = World()
    world.shake_hands(path="/other")
    assert world.transport.written.startswith(b"HTTP/1.1 404 ")
    assert world.transport.ended == ["closed"]
    with capture_logs() as logs:
        world.connection.connection_lost(None)
    assert logs == []


async def test_deadlines_pass_when_the_clock_says_so():
    """No token: 4408. Expired: 4409. No end after a close: dropped. No pong: dropped."""
    world = World()
    world.shake_hands()
    world.clock.advance(5)
    world.context.sweeper.tick()  # type: ignore[attr-defined]
    assert world.close_code == 4408
    world.clock.advance(1)
    world.context.sweeper.tick()  # type: ignore[attr-defined]
    assert world.transport.ended == ["aborted"]
    world = await World().opened(ttl_s=30)
    world.clock.advance(30)
    world.context.sweeper.tick()  # type: ignore[attr-defined]
    assert world.close_code == 4409
    world = await World().opened(ttl_s=3600)
    world.clock.advance(51)
    world.connection.sweep()
    assert (world.close_code, world.transport.ended) == (None, ["aborted"])


async def test_an_expiry_far_away_is_remembered_by_each_visit():
    """Within the tick, though the token was good for an hour."""
    world = await World().opened(ttl_s=3600)
    for _ in range(143):
        world.clock.advance(25)
        world.receive(b"", first=0x8A)  # a pong
        world.connection.sweep()
    world.clock.advance(24.9)
    world.context.sweeper.tick()  # type: ignore[attr-defined]
    assert world.close_code is None
    world.clock.advance(0.1)
    world.context.sweeper.tick()  # type: ignore[attr-defined]
    assert world.close_code == 4409


async def test_a_slow_consumer_is_closed_without_what_it_has_not_read():
    """4430 at the limit, whether it waits here or in the transport."""
    world = await World().opened()
    world.connection.offer(BIG)
    world.connection.offer(BIG)
    world.connection.offer(BIG)
    assert (world.close_code, BIG.wire in world.transport.written) == (4430, False)
    world.connection.cut_off()
    world = await World().opened()
    world.transport.unread_bytes = 801
    world.connection.offer(Frame(b"x", b"x"))
    world.loop.turn()
    assert world.close_code == 4430


async def test_who_does_not_read_what_fan_out_puts_is_cut_off_after_the_write():
    """What is put there is not counted frame by frame: what the client has not read is, after the write."""
    world = await World().opened()
    principal = world.roster.here[0]
    world.transport.unread_bytes = 500
    world.hub.publish(message(1, body="x" * 100), to(principal))
    world.loop.turn()
    assert world.close_code is None
    world.transport.unread_bytes = 900
    world.hub.publish(message(2, body="x" * 100), to(principal))
    assert world.close_code is None
    world.loop.turn()
    assert world.close_code == 4430


async def test_nothing_comes_behind_a_close_and_nothing_is_kept_for_it():
    """Fan-out goes on until the connection is lost."""
    world = await World().opened()
    world.hub.publish(message(1, body=""), to(world.roster.here[0]))
    world.connection.send_reconnect(7)
    assert [m["type"] for m in world.heard[-2:]] == ["new_message", "reconnect"]
    written = len(world.transport.written)
    for n in range(2, 5):
        world.hub.publish(message(n, body=""), to(world.roster.here[0]))
        world.loop.turn()
        assert not world.connection.wires
    world.connection.connection_lost(None)
    assert len(world.transport.written) == written


async def test_a_client_that_asks_and_never_reads_is_a_slow_consumer_too():
    """Answers count."""
    world = await World().opened()
    world.transport.unread_bytes = 801
    world.receive(b"", first=0x89)
    assert world.close_code == 4430


async def test_a_replay_that_finds_no_room_cuts_off():
    """The transport told that its buffer is full, and the client is gone before it drains."""
    world = await World().opened()
    assert await world.connection.room()
    world.connection.pause_writing()
    world.connection.resume_writing()
    assert await world.connection.room()
    world.connection.connection_lost(None)
    assert not await world.connection.room()


async def test_fragments_make_one_message_and_a_binary_one_is_refused():
    """RFC 6455 lets a client cut its messages up."""
    world = await World().opened()
    world.receive(b'{"type":', first=0x01)
    world.receive(b'"ping",', first=0x00)
    world.receive(b'"id":5}', first=0x80)
    assert world.heard[-1]["id"] == 5
    world.receive(b'{"type":', first=0x01)
    for _ in range(50):
        world.receive(b"", first=0x00)
    assert world.connection._fragments == b'{"type":'  # there could be no end of them
    world.receive(b'"ping","id":6}', first=0x80)
    assert world.heard[-1]["id"] == 6
    world.receive(b"{}", first=0x82)
    assert world.close_code == 4400


async def test_too_much_work_at_once_ends_the_client():
    """4429: while one replay is under way, few messages may wait for it."""
    world = await World().opened()
    for _ in range(20):
        world.receive(b'{"type":"subscribe"}')
    assert world.close_code == 4429
    world.connection.connection_lost(None)
    await world.do_work()


class SlowVerifier:
    """Verifies as another does, once it is told to go on."""

    def __init__(self, clock: ManualClock) -> None:
        self.go_on = asyncio.Event()
        self._verifier = Verifier(clock=clock, secret=SECRET, keys=None)

    def verify_at_once(self, _token: str) -> Any:
        return None

    async def verify(self, token: str) -> Any:
        await self.go_on.wait()
        return await self._verifier.verify(token)


async def test_answers_come_in_the_order_of_the_requests():
    """Whatever they wait for: the first token, a subscription, a new token."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        world = World(spawn=lambda piece: tasks.create_task(piece) and None)
        verifier = world.context.verifier = SlowVerifier(world.clock)  # type: ignore[misc]
        requests = [b'{"type":"ping","id":%d}', b'{"type":"subscribe"}', b'{"type":"unsubscribe"}']

        def ask(*kinds: int) -> None:
            for n, kind in enumerate(kinds):
                world.receive(requests[kind] % n if kind == 0 else requests[kind])

        async def answers(count: int) -> list[Any]:
            while len(world.heard) < count:
                await asyncio.sleep(0)
                world.loop.turn()
            return [m.get("id", m["type"]) for m in world.heard]

        world.shake_hands(token=world.token())
        ask(0, 1, 0, 2, 0)
        verifier.go_on.set()
        first = ["connected", "status", 0, "subscribed", 2, "unsubscribed", 4]
        assert await answers(len(first)) == first

        verifier.go_on.clear()
        world.receive(json.dumps({"type": "auth", "token": world.token(ttl_s=90)}).encode())
        await asyncio.sleep(0)  # it has begun
        ask(0, 1, 0)
        verifier.go_on.set()
        second = [*first, "authenticated", 0, "subscribed", 2]
        assert await answers(len(second)) == second

        ask(1, 0, 2)
        third = [*second, "subscribed", 1, "unsubscribed"]
        assert await answers(len(third)) == third
        ask(0)
        assert [m.get("id") for m in world.heard][-1] == 0  # nothing to wait for: at once


async def test_messages_after_a_close_are_not_looked_at():
    """Whatever the client still sends."""
    world = await World().opened()
    world.connection.send_reconnect(5)
    assert (world.heard[-1], world.close_code) == ({"type": "reconnect", "after_ms": 5}, 1012)
    world.receive(b"nonsense")
    world.connection.ping()
    world.connection.crash()
    assert world.close_code == 1012
    assert not world.connection.eof_received()


async def test_unsubscribing_and_refreshing():
    """Through the hub, in order with the rest."""
    world = await World().opened()
    world.receive(b'{"type":"unsubscribe"}')
    world.receive(json.dumps({"type": "auth", "token": world.token(ttl_s=90)}).encode())
    await world.do_work()
    world.loop.turn()
    assert [m["type"] for m in world.heard[3:]] == ["unsubscribed", "authenticated"]
    assert world.connection.facts()["subscribed"] is False
    assert isinstance(world.roster.here[0], Principal)
    world.receive(b'{"type":"auth","token":"nonsense"}')
    await world.do_work()
    assert world.close_code == 4401


@pytest.mark.parametrize("way", ["handshake", "auth", "refresh"])
async def test_a_defect_is_logged_and_ends_its_client_only(way: str, monkeypatch: pytest.MonkeyPatch):
    """1011 and `connection_crashed`, without what the error says."""
    world = World()

    def broken(*_args: Any) -> None:
        raise KeyError(ROW)

    if way == "refresh":
        await world.opened()
    monkeypatch.setattr(world.hub, "connect" if way != "refresh" else "renew", broken)
    with capture_logs() as logs:
        if way == "handshake":
            world.shake_hands(token=world.token())
        elif way == "auth":
            world.shake_hands()
        if way != "handshake":
            world.receive(json.dumps({"type": "auth", "token": world.token()}).encode())
        await world.do_work()
    assert world.transport.written.startswith(b"HTTP/1.1 101 ")
    assert world.close_code == 1011
    assert [(e["event"], e["connection_id"], e["error"]) for e in logs] == [
        ("connection_crashed", world.connection.id, "KeyError")
    ]
    assert ROW not in str(logs)


async def test_a_defect_before_the_handshake_is_answered_is_a_500(monkeypatch: pytest.MonkeyPatch):
    """There is no WebSocket yet that could be closed with a code."""
    world = World()

    def broken(*_args: Any) -> None:
        raise KeyError(ROW)

    monkeypatch.setattr(handshake, "answer", broken)
    with capture_logs() as logs:
        world.shake_hands(token=world.token())
    assert world.transport.written.startswith(b"HTTP/1.1 500 ")
    assert world.transport.is_closing()
    assert [e["event"] for e in logs] == ["connection_crashed"]
