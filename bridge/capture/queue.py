"""What lies between the socket and the pipeline: bounded, in order."""

import asyncio
from collections import deque
from typing import TypeAlias

from bridge.capture.decode import RawChange
from bridge.events import Gap, Live

Item: TypeAlias = RawChange | Gap | Live


class EventQueue:
    """A first-in-first-out queue with one reader.

    Args:
        limit: Number of changes that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, change: RawChange) -> bool:
        """Queue ``change``; False if the queue is full and it was not."""
        if len(self._items) >= self._limit:
            return False
        self._put(change)
        return True

    def live(self) -> None:
        """Queue the news that upstream is live."""
        self._put(Live())

    def gap(self, gap: Gap, *, discard: bool = False) -> None:
        """Queue ``gap``; with ``discard`` in place of everything that waits."""
        if discard:
            self._items.clear()
        self._put(gap)

    async def get(self) -> Item:
        """Return the next item, when there is one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    def _put(self, item: Item) -> None:
        self._items.append(item)
        self._filled.set()
