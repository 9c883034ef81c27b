"""Whether the policies in memory are known to be those of the database."""

import asyncio

from bridge.clock import Clock

CERTAIN_S = 30.0
"""Time for which policies count that cannot be checked: a REST endpoint that restarts is back by then."""


class Certainty:
    """Is lost when the policies could not be checked for ``CERTAIN_S``, and comes back with the next check.

    Args:
        clock: Source of time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checked_s = clock.monotonic_s()
        self._there = asyncio.Event()
        self._there.set()
        self._outdated = False

    @property
    def is_lost(self) -> bool:
        """True while nothing may be decided by these policies."""
        return not self._there.is_set()

    @property
    def unchecked_s(self) -> float:
        """Seconds since the last check."""
        return self._clock.monotonic_s() - self._checked_s

    def note_checked(self) -> bool:
        """Take note that the policies are those of the database; True if that was not certain before."""
        was_lost = self.is_lost
        self._checked_s = self._clock.monotonic_s()
        self._there.set()
        return was_lost

    def note_unchecked(self) -> bool:
        """Take note that they could not be checked; True if certainty is lost by that."""
        if self.is_lost or self.unchecked_s < CERTAIN_S:
            return False
        self._there.clear()
        return True

    def note_changed(self) -> None:
        """Take note that the database has others; if it was lost, these decide nothing any more."""
        self._outdated = self.note_checked() or self._outdated

    def note_loaded(self) -> None:
        """Take note that those of the database are in memory."""
        self._outdated = False
        self.note_checked()

    async def wait(self) -> bool:
        """Wait while it is lost; False if the policies changed meanwhile, and are not loaded yet."""
        await self._there.wait()
        return not self._outdated
