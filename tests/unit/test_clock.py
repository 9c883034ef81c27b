"""Clocks: the system's, and one that tests move."""

import datetime as dt

import pytest

from bridge.clock import ManualClock, SystemClock, rfc3339_ms


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    """Both of its clocks go together."""
    clock = ManualClock()
    start_s, start = clock.monotonic_s(), clock.now()
    assert (clock.monotonic_s(), clock.now()) == (start_s, start)

    clock.advance(1.5)
    assert clock.monotonic_s() - start_s == 1.5
    assert clock.now() - start == dt.timedelta(seconds=1.5)


def test_the_systems_clocks_go_on() -> None:
    """The monotonic one never goes back, the other one is in UTC."""
    clock = SystemClock()
    before_s = clock.monotonic_s()

    assert clock.monotonic_s() >= before_s
    assert clock.now().tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("microsecond", "text"), [(0, "000"), (999, "000"), (1000, "001"), (123_999, "123"), (999_999, "999")]
)
def test_times_have_milliseconds_on_the_wire(microsecond: int, text: str) -> None:
    """Cut, not rounded: a time is never later than it was."""
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=dt.UTC)

    assert rfc3339_ms(moment) == f"2026-01-02T03:04:05.{text}Z"
