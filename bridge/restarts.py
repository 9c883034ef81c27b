"""Whether a worker that has ended is started again, and when."""

from collections.abc import Callable

from bridge.backoff import Backoff

LIMIT = 10
"""Times in a row that a worker may end young: with ``CAP_S`` between them, a minute or two."""

STEADY_S = 60.0
"""Age at which a worker is not young any more."""

BASE_S = 0.5
CAP_S = 30.0

_WRONG_SETTING = 2


class Restarts:
    """Counts the ends of one worker's processes.

    Args:
        random: Returns a value in [0, 1): workers that ended together do not all come back at once.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._backoff = Backoff(base_s=BASE_S, cap_s=CAP_S, random=random)
        self._has_worked = False

    def after(self, code: int, *, listened: bool, was_live: bool, lived_s: float) -> float | None:
        """Return how long to wait before it is started again, in seconds; None if that is no use.

        Who never worked will not: a setting is wrong, or a port is taken.  Who did is given a number of
        attempts, as others may still serve; what keeps it from starting has changed beside it.

        Args:
            code: Its exit code; negative for a signal.
            listened: Whether it came to listen.
            was_live: Whether changes came to flow.
            lived_s: How long it lived.
        """
        self._has_worked = self._has_worked or was_live
        if not self._has_worked and (code == _WRONG_SETTING or (code > 0 and not listened)):
            return None
        if lived_s >= STEADY_S:
            self._backoff.reset()
        return None if self._backoff.attempt >= LIMIT else self._backoff.next_s()
