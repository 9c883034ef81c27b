"""What lies between the socket and the pipeline: bounded, in order."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from bridge.events import Gap, Live

Waiting = TypeVar("Waiting")
"""A change, in whatever form it waits."""


class EventQueue(Generic[Waiting]):
    """A first-in-first-out queue with one reader.

    A ``Gap`` follows each ``Live`` before the next one, as supervision sees to.

    Args:
        limit: Number of changes that may wait.
        limit_bytes: Size of the frames, as they arrived, whose changes may wait; one always may.
    """

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._items: deque[tuple[Waiting | Gap | Live, int]] = deque()
        self._waiting_bytes = 0
        self._filled = asyncio.Event()
        self._woken = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """True while no further change should be taken from where it waits."""
        return len(self._items) >= self._limit or self._waiting_bytes >= self._limit_bytes

    @property
    def half_empty(self) -> bool:
        """True if at most half of what may wait does."""
        return 2 * len(self._items) <= self._limit and 2 * self._waiting_bytes <= self._limit_bytes

    def offer(self, change: Waiting, size_bytes: int) -> bool:
        """Queue ``change``; False if the queue is full and it was not."""
        full = self._waiting_bytes > 0 and self._waiting_bytes + size_bytes > self._limit_bytes
        if full or len(self._items) >= self._limit:
            return False
        self._put(change, size_bytes)
        return True

    def room(self) -> tuple[int, int]:
        """Return how many changes may be added, and that none may once they have so many bytes."""
        return self._limit - len(self._items), self._limit_bytes - self._waiting_bytes

    def extend(self, changes: Sequence[tuple[Waiting, int]]) -> None:
        """Queue changes, each with its size in bytes: for who has looked whether there is :meth:`room`."""
        self._items.extend(changes)
        self._waiting_bytes += sum([size_bytes for _, size_bytes in changes])
        self._filled.set()

    def live(self) -> None:
        """Queue the news that upstream is live."""
        self._put(Live())

    def gap(self, gap: Gap, *, discard: bool = False) -> None:
        """Queue ``gap``; with ``discard`` in place of everything that waits."""
        if discard:
            self._clear()
        elif (
            len(self._items) > 1
            and isinstance(self._items[-1][0], Live)
            and isinstance(self._items[-2][0], Gap)
        ):
            # Live and lost again before anybody looked: the Gap before that Live covers it too,
            # and a reader who stands still is not buried under them.
            self._items.pop()
            return
        self._put(gap)

    def skip_to_gap(self) -> bool:
        """Drop what waits before the first ``Gap``, or everything; True if there is one."""
        while self._items:
            if isinstance(self._items[0][0], Gap):
                return True
            self._take()
        return False

    def put_back(self, change: Waiting) -> None:
        """Queue ``change`` before all others: its reader was cancelled."""
        self._items.appendleft((change, 0))
        self._filled.set()

    def take(self) -> Waiting | Gap | Live | None:
        """Return the next item if there is one."""
        if not self._items:
            return None
        item, size_bytes = self._items.popleft()
        self._waiting_bytes -= size_bytes
        return item

    async def get(self) -> Waiting | Gap | Live | None:
        """Return the next item, when there is one; None if the reader was woken before."""
        while not self._items:
            if self._woken:
                self._woken = False
                return None
            self._filled.clear()
            await self._filled.wait()
        return self._take()

    def wake(self) -> None:
        """Have the reader look at something else."""
        self._woken = True
        self._filled.set()

    def _take(self) -> Waiting | Gap | Live:
        item, size_bytes = self._items.popleft()
        self._waiting_bytes -= size_bytes
        return item

    def _put(self, item: Waiting | Gap | Live, size_bytes: int = 0) -> None:
        self._items.append((item, size_bytes))
        self._waiting_bytes += size_bytes
        self._filled.set()

    def _clear(self) -> None:
        self._items.clear()
        self._waiting_bytes = 0
