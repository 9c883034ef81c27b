"""Writes out what has gathered in outboxes, once per loop iteration.

Frames that arrive in one iteration travel together in one system call for each connection; a quiet
connection costs nothing.
"""

import asyncio
from typing import Protocol


class Flushable(Protocol):
    """An outbox with something in it."""

    def flush(self) -> None: ...


class Flusher:
    """Collects the outboxes that have something to write.

    Args:
        loop: Its next iteration writes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._dirty: list[Flushable] = []

    def mark(self, outbox: Flushable) -> None:
        """Write ``outbox`` out soon; an outbox marks itself when its first frame comes."""
        if not self._dirty:
            self._loop.call_soon(self.flush)
        self._dirty.append(outbox)

    def flush(self) -> None:
        """Write everything out now."""
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            outbox.flush()
