"""Who is started again, and who is not."""

import pytest

from bridge.restarts import BASE_S, CAP_S, LIMIT, STEADY_S, Restarts


@pytest.mark.parametrize(("code", "listened"), [(2, True), (2, False), (1, False)])
def test_who_never_worked_is_not_started_again(code: int, *, listened: bool):
    """A setting is wrong, a port is taken: that does not change by itself."""
    assert Restarts(lambda: 1.0).after(code, listened=listened, was_live=False, lived_s=1) is None


def test_who_was_killed_before_it_worked_is_started_again():
    """That was somebody else."""
    assert Restarts(lambda: 1.0).after(-9, listened=False, was_live=False, lived_s=1) == BASE_S


def test_who_has_worked_is_tried_again_until_that_is_pointless():
    """With pauses that grow to a bound, and an end."""
    restarts = Restarts(lambda: 1.0)
    waits = [restarts.after(-9, listened=True, was_live=True, lived_s=5)]
    while waits[-1] is not None:
        waits.append(restarts.after(2, listened=False, was_live=False, lived_s=1))
    assert waits == [*(min(CAP_S, BASE_S * 2**n) for n in range(LIMIT)), None]


def test_who_lived_for_a_while_has_all_attempts_again():
    """A crash a day is no loop; nor is one while upstream is away."""
    restarts = Restarts(lambda: 1.0)
    for _ in range(2 * LIMIT):
        assert restarts.after(1, listened=True, was_live=False, lived_s=STEADY_S) == BASE_S
