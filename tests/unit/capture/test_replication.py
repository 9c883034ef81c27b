"""The stream's messages, made by hand after the manual."""

import datetime as dt
import struct

import pytest

from bridge.capture.replication import Stream

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def wal_data(payload: bytes, lsn: int) -> memoryview:
    """A message of the plugin at ``lsn``."""
    return memoryview(b"w" + struct.pack(">qqq", lsn, lsn, 0) + payload)


def keepalive(lsn: int, *, reply: bool = False) -> memoryview:
    """A keepalive."""
    return memoryview(b"k" + struct.pack(">qqB", lsn, 0, reply))


def confirmed(stream: Stream) -> tuple[int, ...]:
    """The three LSNs of the stream's status."""
    return struct.unpack_from(">qqq", stream.status(now=NOW, ask=False), 1)


def test_the_plugin_s_message_is_what_follows_the_head():
    """A keepalive has none."""
    stream = Stream()

    assert stream.receive(wal_data(b"Ihello", 7)) == b"Ihello"
    assert stream.receive(keepalive(8)) is None


def test_what_has_arrived_is_confirmed_and_never_less_than_before():
    """Descriptions of tables come with 0, rows of a long transaction with LSNs long past."""
    stream = Stream()
    for message in (wal_data(b"B", 100), wal_data(b"R", 0), wal_data(b"I", 50)):
        stream.receive(message)
    assert confirmed(stream) == (100, 100, 100)

    stream.receive(keepalive(2**40))
    assert confirmed(stream) == (2**40,) * 3


def test_a_reply_is_wanted_until_a_status_is_made():
    """Also if a keepalive that wants none follows."""
    stream = Stream()
    stream.receive(keepalive(1, reply=True))
    stream.receive(keepalive(1))
    assert stream.reply_wanted

    stream.status(now=NOW, ask=False)
    assert not stream.reply_wanted


def test_a_status_has_the_time_and_may_ask_for_an_answer():
    """Microseconds since 2000; 34 bytes."""
    stream = Stream()
    status = stream.status(now=NOW, ask=True)

    assert len(status) == 34
    assert status[:1] == b"r"
    assert struct.unpack_from(">qB", status, 25) == (26 * 365 * 86_400_000_000 + 7 * 86_400_000_000, 1)
    assert stream.status(now=NOW, ask=False)[-1] == 0


@pytest.mark.parametrize("message", [b"", b"w", b"k\0", b"x" + bytes(30)], ids=["empty", "w", "k", "other"])
def test_what_is_no_message_is_an_error(message: bytes):
    """The connection is then given up."""
    with pytest.raises((ValueError, IndexError, struct.error)):
        Stream().receive(memoryview(message))
