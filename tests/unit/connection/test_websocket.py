"""One WebSocket connection, byte by byte, with a clock that the test moves."""

import json
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from bridge.connection import handshake
from bridge.connection.limits import Connections
from bridge.connection.origins import Origins
from bridge.fanout import Frame
from tests.support.connection import ANN, BIG, World
from tests.support.events import message, to

ROW = "a-row"


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


@pytest.mark.parametrize("way", ["frames", "gone", "ping", "offer", "goodbye"])
async def test_a_defect_of_one_client_keeps_its_neighbours_from_nothing(
    way: str, monkeypatch: pytest.MonkeyPatch
):
    """It is ended (1011), or dropped where nothing can be written; the others' frames, pings and goodbyes go on."""
    world = await World().opened()
    client, others = world.connection, []

    def broken(*_args: Any) -> None:
        raise KeyError(ROW)

    class Other:
        wires: ClassVar[list[bytes]] = [b"x"]

        def flush(self) -> None:
            others.append("flushed")

        def sweep(self) -> None: ...

        def ping(self) -> None:
            others.append("pinged")

    with capture_logs() as logs:
        match way:
            case "frames" | "gone":
                if way == "gone":
                    monkeypatch.setattr(world.transport, "write", broken)
                client.wires.append(None if way == "frames" else b"x")  # type: ignore[union-attr, arg-type]
                world.context.flusher.mark(client)
                world.context.flusher.mark(Other())  # type: ignore[arg-type]
                world.loop.turn()
                client.flush()
            case "ping":
                monkeypatch.setattr(client._protocol, "send_ping", broken)
                world.context.sweeper.add(Other())  # type: ignore[arg-type]
                for _ in range(2):
                    for _ in world.context.sweeper._slices:  # type: ignore[attr-defined]
                        world.context.sweeper.tick()  # type: ignore[attr-defined]
            case "offer":
                client.offer(None)  # type: ignore[arg-type]
            case _:
                monkeypatch.setattr(client._protocol, "send_text", broken)
                client.send_reconnect(5)
    assert others[:1] == {"frames": ["flushed"], "gone": ["flushed"], "ping": ["pinged"]}.get(way, [])
    assert world.transport.ended == ["aborted"] if way == "gone" else world.close_code == 1011
    assert [(e["event"], e["connection_id"]) for e in logs] == [("connection_crashed", client.id)]
    assert ROW not in str(logs)
