"""One client: live frames wait while older ones are sent, within bounds."""

import pytest

from bridge.fanout import Frame, Subscriber, subscriber
from tests.support.events import ANN, Inbox


def frame(name: bytes) -> Frame:
    return Frame(name, name)


def test_frames_go_straight_to_the_sink():
    """Unless they are held."""
    made = Subscriber(ANN, sink := Inbox())
    made.hand(frame(b"a"))
    assert sink.frames == [frame(b"a")]
    made.release()
    assert sink.frames == [frame(b"a")]


def test_held_frames_come_after_what_is_offered_meanwhile():
    """In their order."""
    made = Subscriber(ANN, sink := Inbox())
    made.hold()
    made.hand(frame(b"live 1"))
    made.hand(frame(b"live 2"))
    sink.offer(frame(b"old"))
    made.release()
    made.hand(frame(b"live 3"))
    assert [f.payload for f in sink.frames] == [b"old", b"live 1", b"live 2", b"live 3"]


def test_a_client_for_which_too_much_is_held_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    """And gets none of it: a cursor from after the hole would hide the hole."""
    monkeypatch.setattr(subscriber, "MAX_HELD_BYTES", 3)
    made = Subscriber(ANN, sink := Inbox())
    made.hold()
    made.hand(frame(b"ab"))
    made.hand(frame(b"cd"))
    assert sink.was_cut_off
    assert sink.frames == []
