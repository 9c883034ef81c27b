"""What confirmations, silence and losses mean for the stream, whatever transport they come from."""

from bridge.capture.supervision import Phase, Supervision
from bridge.events import Gap, Live


def supervision() -> Supervision:
    """One whose connection has been opened at 100 s."""
    made = Supervision(silence_s=30.0, now_s=0.0, random=lambda: 0.5)
    made.opened(100.0)
    return made


def test_live_comes_once_for_each_connection():
    """And not from one that is given up already."""
    machine = supervision()

    assert [machine.joined(101.0), machine.joined(102.0)] == [Live(), None]
    machine.lose("upstream_disconnected", 103.0)
    assert machine.joined(104.0) is None
    assert machine.phase is Phase.DOWN


def test_a_gap_comes_once_after_each_live_and_never_without():
    """The first reason counts."""
    machine = supervision()
    assert machine.lose("upstream_disconnected", 100.0) is None

    machine.opened(101.0)
    machine.joined(101.0)
    assert machine.receive_time(131.0) is None
    assert machine.receive_time(131.1) == Gap(reason="upstream_silent")
    assert machine.lose("upstream_restarted", 132.0) is None
    assert machine.lost == "upstream_silent"


def test_a_settled_connection_is_made_again_at_once():
    """One that was live for a moment only has failed like the others before it."""
    machine = supervision()
    assert machine.retry_in_s(100.0) == 0.0
    machine.opened(100.0)
    machine.joined(100.0)
    machine.lose("upstream_disconnected", 101.0)
    assert machine.retry_in_s(101.0) > 0.0

    machine.opened(102.0)
    machine.joined(102.0)
    machine.lose("upstream_disconnected", 110.0)
    assert machine.retry_in_s(110.0) == 0.0
