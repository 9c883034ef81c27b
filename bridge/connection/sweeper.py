"""Visits WebSocket connections: pings, deadlines, expiry, and the end of those that hang.

One task for all of them.  Everybody is visited and pinged once in an interval; who has a deadline before
the next regular visit is visited then as well.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterator
from typing import Protocol

from bridge.clock import Clock

TICK_S = 0.25


class Sweepable(Protocol):
    """A connection, as far as the sweeper knows it."""

    def sweep(self) -> None:
        """Look at the clock."""

    def ping(self) -> None:
        """Ask the client whether it is there."""


class Sweeper:
    """The connections, and when each is to be visited.

    Args:
        interval_s: Seconds between two pings of one connection.
        clock: Source of time.
    """

    def __init__(self, *, interval_s: float, clock: Clock) -> None:
        self._clock = clock
        self._horizon_s = 2 * interval_s  # a busy loop ticks late
        self._slices: list[set[Sweepable]] = [set() for _ in range(max(1, round(interval_s / TICK_S)))]
        self._slice_of: dict[Sweepable, int] = {}
        self._next = 0
        self._now = 0
        self._due: list[tuple[float, int, Sweepable]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._slice_of)

    def __iter__(self) -> Iterator[Sweepable]:
        return iter(list(self._slice_of))

    def add(self, connection: Sweepable) -> None:
        """Ping ``connection`` from now on."""
        self._slice_of[connection] = self._next
        self._slices[self._next].add(connection)
        self._next = (self._next + 1) % len(self._slices)

    def remove(self, connection: Sweepable) -> None:
        """Visit ``connection`` no more."""
        place = self._slice_of.pop(connection, None)
        if place is not None:
            self._slices[place].discard(connection)

    def visit_at(self, connection: Sweepable, at_s: float) -> None:
        """Visit ``connection`` at this time of the monotonic clock as well.

        A time beyond the next regular visit is left to that one, which asks again: nobody who has
        left is kept for longer than two intervals.
        """
        if at_s <= self._clock.monotonic_s() + self._horizon_s:
            heapq.heappush(self._due, (at_s, next(self._order), connection))

    def tick(self) -> None:
        """Visit those whose turn it is."""
        now_s = self._clock.monotonic_s()
        while self._due and self._due[0][0] <= now_s:
            connection = heapq.heappop(self._due)[2]
            if connection in self._slice_of:
                connection.sweep()
        self._now = (self._now + 1) % len(self._slices)
        for connection in list(self._slices[self._now]):
            connection.sweep()
            connection.ping()

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()
