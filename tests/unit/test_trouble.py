"""What fails again and again is said at once, then ever more rarely."""

from bridge.clock import ManualClock
from bridge.trouble import SELDOM_S, Trouble


def said_s(trouble: Trouble, clock: ManualClock, *, for_s: int) -> list[int]:
    """Fail once a second; return when it is said."""
    said: list[int] = []
    for second in range(for_s):
        if trouble.note("away", attempt=second + 1):
            said.append(second)
        clock.advance(1)
    return said


def test_the_same_is_said_at_growing_intervals():
    """Up to one a minute: who looks at the log hours later still finds it."""
    clock = ManualClock()
    trouble = Trouble(clock)
    assert said_s(trouble, clock, for_s=250) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert trouble.reason == "away"
    trouble.end()
    assert trouble.reason == ""
    assert said_s(trouble, clock, for_s=3) == [0, 1]  # it begins anew


def test_another_reason_is_said_at_once():
    """But not each time that two of them take turns."""
    clock = ManualClock()
    trouble = Trouble(clock)
    assert said_s(trouble, clock, for_s=8)[-1] == 7
    assert [trouble.note(reason) for reason in ("refused", "away", "refused")] == [True, False, False]
    assert trouble.reason == "refused"


def test_what_has_no_end_is_said_once_a_minute():
    """Policies that take too long, with answers in between."""
    clock = ManualClock()
    trouble = Trouble(clock, again_s=SELDOM_S)
    heard: list[int] = []
    for second in range(0, 200, 10):
        if trouble.note("late"):
            heard.append(second)
        clock.advance(10)
    assert heard == [0, 60, 120, 180]
