"""How many changes are asked about at once: as many as are answered in a second."""

from bridge.authorization.pace import MOST, Pace


def test_quick_answers_let_more_changes_be_asked_about() -> None:
    """Twice as many each time, up to a limit."""
    pace = Pace()
    rooms = []
    for _ in range(5):
        pace.note(pace.room, 0.01)
        rooms.append(pace.room)
    assert rooms == [16, 32, 64, MOST, MOST]
    pace.note(1, 0)
    assert pace.room == MOST


def test_slow_answers_let_fewer() -> None:
    """As many as would have taken a second; one at least."""
    pace = Pace()
    pace.note(8, 4.0)
    assert pace.room == 2
    pace.note(2, 10.0)
    assert pace.room == 1
    pace.note(1, 0.1)
    assert pace.room == 2
