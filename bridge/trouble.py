"""What is tried again until it works: said at once, then ever more rarely, and known while it lasts."""

from bridge.clock import Clock

AGAIN_S = 1.0
"""Seconds after which the same is said again for the first time; twice as many each time after that."""

SELDOM_S = 60.0
"""Longest that the same is not said again, while attempts fail."""


class Trouble:
    """Failures of one kind, of which the log is not to be full.

    Args:
        clock: Source of time.
        again_s: Seconds after which the same is said again for the first time.

    Attributes:
        reason: Why the latest attempt failed; empty if it did not.
    """

    def __init__(self, clock: Clock, *, again_s: float = AGAIN_S) -> None:
        self.reason = ""
        self._clock = clock
        self._first_s = again_s
        self._again_s = again_s
        self._due_s = float("-inf")
        self._said: set[str] = set()
        """Reasons said since it was due last: two that take turns are no news each time."""

    def note(self, reason: str, *, attempt: int = 0) -> bool:
        """Take note of a failed attempt; True if it is to be said: at first (1), if new, or after a time."""
        now_s = self._clock.monotonic_s()
        self.reason = reason
        if attempt == 1:
            self._again_s, self._due_s = self._first_s, now_s
        if now_s >= self._due_s:
            self._said.clear()
            self._due_s = now_s + self._again_s
            self._again_s = min(2 * self._again_s, SELDOM_S)
        elif reason in self._said:
            return False
        self._said.add(reason)
        return True

    def end(self) -> None:
        """Take note that an attempt did not fail."""
        self.reason = ""
