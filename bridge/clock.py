"""The clocks of the process, injected so that tests decide what time it is."""

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """Source of time for everything that waits, expires or measures."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary point; never goes back."""

    def now(self) -> dt.datetime:
        """Wall-clock time, UTC, for what other machines compare with theirs (``exp``, ``server_time``)."""


class SystemClock:
    """The clocks of the operating system."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, *, at: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) -> None:
        self._start = at
        self._elapsed_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks."""
        self._elapsed_s += seconds

    def monotonic_s(self) -> float:
        return 1000.0 + self._elapsed_s

    def now(self) -> dt.datetime:
        return self._start + dt.timedelta(seconds=self._elapsed_s)


def rfc3339_ms(moment: dt.datetime) -> str:
    """Return ``moment`` (UTC) as the wire has it, for example ``2026-01-01T10:00:00.123Z``."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"
