"""How long to wait before trying again."""

from collections.abc import Callable


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float, random: float) -> float:
    """Return how long to wait before attempt ``attempt`` (0-based), in seconds.

    Args:
        attempt: Number of failures so far, without a limit.
        base_s: Upper bound of the first wait.
        cap_s: Upper bound of every wait.
        random: A value in [0, 1); passed in so that tests are exact.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog (full jitter).
    """
    # 2 ** 1000 is an integer that float() refuses; no cap in use needs more than 2 ** 30.
    return random * min(cap_s, base_s * 2.0 ** min(attempt, 30))


class Backoff:
    """Counts failures and says how long to wait after each; ``reset`` after a success."""

    def __init__(self, *, base_s: float, cap_s: float, random: Callable[[], float]) -> None:
        self.attempt = 0
        self._base_s = base_s
        self._cap_s = cap_s
        self._random = random

    def next_s(self) -> float:
        """Return the next wait in seconds and count one more failure."""
        wait_s = full_jitter_s(self.attempt, base_s=self._base_s, cap_s=self._cap_s, random=self._random())
        self.attempt += 1
        return wait_s

    def reset(self) -> None:
        """Start again from the shortest wait."""
        self.attempt = 0
