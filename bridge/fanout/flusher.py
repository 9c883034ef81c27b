"""Writes out what has gathered in outboxes, once per loop iteration.

Frames that arrive in one iteration travel together in one system call for each connection; a quiet
connection costs nothing.
"""

import asyncio
from typing import Protocol

from bridge import metrics
from bridge.clock import Clock


class Flushable(Protocol):
    """An outbox with something in it."""

    def flush(self) -> None: ...


class Flusher:
    """Collects the outboxes that have something to write.

    Args:
        loop: Its next iteration writes.
        clock: Source of time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._dirty: list[Flushable] = []
        self._received_s: list[float] = []

    def mark(self, outbox: Flushable) -> None:
        """Write ``outbox`` out soon; an outbox marks itself when its first frame comes."""
        if not self._dirty and not self._received_s:
            self._loop.call_soon(self.flush)
        self._dirty.append(outbox)

    def note(self, received_s: float) -> None:
        """Measure, once what is marked has been written, how long ago a change arrived that is in it."""
        if not self._dirty and not self._received_s:
            self._loop.call_soon(self.flush)
        self._received_s.append(received_s)

    def flush(self) -> None:
        """Write everything out now."""
        dirty, self._dirty = self._dirty, []
        received_s, self._received_s = self._received_s, []
        for outbox in dirty:
            outbox.flush()
        now_s = self._clock.monotonic_s() if received_s else 0.0
        for since_s in received_s:
            metrics.RECEIVE_TO_WRITE.observe(now_s - since_s)
