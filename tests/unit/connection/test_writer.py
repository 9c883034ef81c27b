"""The sending half of a WebSocket: order, bounds, the closing handshake."""

import asyncio

import pytest

from bridge.clock import ManualClock
from bridge.connection import writer as module
from bridge.connection.handshake import Protocol
from bridge.connection.writer import Writer
from tests.support.transport import Transport


def made() -> tuple[Writer, Transport, Protocol]:
    protocol = Protocol()
    writer = Writer(protocol, limit_bytes=100, clock=ManualClock())
    writer.transport = transport = Transport()
    return writer, transport, protocol


def test_messages_come_behind_the_frames_that_wait():
    """Whoever writes them."""
    writer, transport, _ = made()
    assert not writer.outbox
    assert writer.outbox.offer(b"frame")
    assert writer.outbox
    writer.send_text(b"{}")
    assert transport.writes == []
    writer.flush()
    assert transport.writes == [b"frame\x81\x02{}"]
    writer.send_text(b"{}")
    assert transport.writes[1:] == [b"\x81\x02{}"]


def test_a_close_comes_behind_the_frames_that_wait_unless_they_are_dropped():
    """And begins the end of the connection, once."""
    for drop, written in ((False, b"frame\x88\x05\x03\xe8bye"), (True, b"\x88\x05\x03\xe8bye")):
        writer, transport, _ = made()
        writer.outbox.offer(b"frame")
        assert writer.close(1000, "bye", drop_queued=drop)
        assert not writer.close(1000, "again")
        assert transport.written == written
        assert (writer.is_open, writer.ends_at_s) == (False, 1001.0)


def test_after_a_close_nothing_is_sent():
    """Neither messages nor pings nor frames."""
    writer, transport, _ = made()
    writer.close(1000, "")
    transport.writes.clear()
    writer.send_text(b"{}")
    writer.ping()
    writer.outbox.offer(b"frame")
    assert writer.flush()
    assert transport.writes == []


def test_the_clients_close_is_answered_and_half_closes_the_connection():
    """Unread input must not reset it before the answer has arrived."""
    writer, transport, protocol = made()
    protocol.receive_data(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
    assert writer.write_protocol()
    assert not writer.write_protocol()
    assert (transport.written, transport.ended) == (b"\x88\x02\x03\xe8", ["eof"])


def test_a_refused_handshake_is_answered_and_closed():
    """Once; a connection that is gone is left alone."""
    writer, transport, _ = made()
    for _ in range(2):
        writer.reject(b"HTTP/1.1 404 no")
    assert (transport.written, transport.ended) == (b"HTTP/1.1 404 no", ["closed"])
    writer.lose()
    writer.reject(b"x")
    assert (transport.written, transport.ended) == (b"HTTP/1.1 404 no", ["closed"])


def test_too_much_waiting_is_told():
    """In the queue or in the transport."""
    writer, transport, _ = made()
    assert writer.outbox.offer(b"x" * 100)
    assert not writer.outbox.offer(b"x")
    assert writer.is_overfull
    writer, transport, _ = made()
    transport.unread_bytes = 101
    assert writer.is_overfull
    assert not writer.flush()


def test_a_lost_connection_takes_nothing():
    """And says what it had not sent."""
    writer, transport, _ = made()
    writer.outbox.offer(b"frame")
    writer.lose()
    assert (writer.is_open, writer.pending_bytes) == (False, 5)
    assert writer.flush()
    writer.send_text(b"{}")
    writer.ping()
    writer.abort()
    assert (transport.writes, transport.ended) == ([], [])


def test_a_connection_that_does_not_end_can_be_dropped():
    """The sweeper does."""
    writer, transport, _ = made()
    writer.abort()
    assert transport.ended == ["aborted"]
    assert not writer.close(1000, "") or transport.writes == []


async def test_room_is_there_at_once_for_a_client_that_reads():
    """What waited has been written."""
    writer, transport, _ = made()
    writer.outbox.offer(b"frame")
    assert await writer.room()
    assert transport.writes == [b"frame"]


async def test_room_waits_until_the_client_has_read():
    """Between the transport's marks."""
    writer, _, _ = made()
    writer.pause()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(writer.room())
        tasks.create_task(asyncio.sleep(0)).add_done_callback(lambda _: writer.resume())
    assert waiting.result()
    writer.resume()


async def test_there_is_no_room_for_a_client_that_never_reads(monkeypatch: pytest.MonkeyPatch):
    """After a while, or once it is gone."""
    monkeypatch.setattr(module, "STALL_S", 0.01)
    writer, _, _ = made()
    writer.pause()
    assert not await writer.room()
    writer.lose()
    assert not await writer.room()
