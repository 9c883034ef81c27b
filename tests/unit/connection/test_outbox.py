"""What waits for one client is bounded and written in one call."""

from bridge.connection.outbox import Outbox
from tests.support.transport import Transport


def test_frames_are_written_together_in_order():
    """One write for all of them, none where nothing waits."""
    outbox, transport = Outbox(100), Transport()
    assert outbox.flush(transport)
    outbox.offer(b"a")
    assert outbox.flush(transport)
    outbox.offer(b"b")
    outbox.offer(b"c")
    assert (len(outbox), outbox.pending_bytes(transport), outbox.pending_bytes(None)) == (2, 2, 2)
    assert outbox.flush(transport)
    assert transport.writes == [b"a", b"bc"]
    assert len(outbox) == 0


def test_more_than_the_limit_makes_a_slow_consumer():
    """Whether it waits here or in the transport."""
    outbox, transport = Outbox(3), Transport()
    assert outbox.offer(b"abc")
    assert not outbox.offer(b"d")
    outbox.clear()
    assert outbox.pending_bytes(None) == 0
    transport.unread_bytes = 4
    assert not outbox.flush(transport)
    assert outbox.pending_bytes(transport) == 4


def test_one_frame_above_the_limit_is_let_through():
    """With up to the limit beside it; a second one that large makes a slow consumer."""
    outbox, transport = Outbox(3), Transport()
    assert outbox.offer(b"large")
    assert outbox.offer(b"abc")
    transport.unread_bytes = 8
    assert outbox.flush(transport)
    assert not outbox.is_overfull(transport)
    transport.unread_bytes = 9
    assert not outbox.flush(transport)
    outbox.clear()
    assert outbox.offer(b"large")
    assert not outbox.offer(b"large")


def test_the_allowance_ends_once_the_large_frame_has_been_read():
    """From then on the limit is the limit again."""
    outbox, transport = Outbox(3), Transport()
    outbox.offer(b"large")
    transport.unread_bytes = 3
    assert outbox.flush(transport)
    transport.unread_bytes = 4
    assert not outbox.flush(transport)
