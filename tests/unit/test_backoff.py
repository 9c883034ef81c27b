"""Waits between attempts: longer each time, up to a cap, spread by chance."""

import pytest

from bridge.backoff import Backoff, full_jitter_s


@pytest.mark.parametrize(
    ("attempt", "random", "expected"),
    [(0, 0.0, 0.0), (0, 0.5, 0.5), (1, 0.5, 1.0), (3, 0.5, 4.0), (10, 0.5, 15.0), (10**6, 0.5, 15.0)],
)
def test_the_wait_doubles_up_to_the_cap(attempt: int, random: float, expected: float) -> None:
    """Any part of it can be waited, so that clients do not come back all at once."""
    assert full_jitter_s(attempt, base_s=1.0, cap_s=30.0, random=random) == expected


def test_failures_are_counted_until_a_success() -> None:
    """Then it starts from the shortest wait."""
    backoff = Backoff(base_s=1.0, cap_s=8.0, random=lambda: 0.5)

    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert backoff.attempt == 5
    backoff.reset()
    assert backoff.next_s() == 0.5
