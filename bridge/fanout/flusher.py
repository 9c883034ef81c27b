"""Writes out what has gathered in outboxes: at the end of the loop's iteration, or of several busy ones.

Frames that arrive together travel in one system call for each connection; a quiet connection costs nothing.
A call costs more than all else that a frame needs, so that a worker which is busy, and only then, gathers
frames for some iterations: while each brings many new ones, until there are several for each connection.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from bridge import metrics
from bridge.clock import Clock

ENOUGH = 24
"""Frames that a busy worker gathers for each connection, on average, before it writes."""

MANY = 250
"""Frames that an iteration brings to a busy worker: one that has time to spare has few changes in each."""

CALM = 2
"""Iterations with fewer, one after the other, by which a busy worker is known not to be any more."""

LONGEST_S = 0.1
"""Longest that a frame is kept back."""

MOST_BYTES = 1024 * 1024
"""What is gathered for all connections together, so that none has more of it than that, beside one frame."""


class Flushable(Protocol):
    """An outbox with something in it."""

    wires: Any

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
        self._received: dict[float, int] = {}
        """How many changes of each time of arrival have been handed out since the last flush."""
        self._frames = self._seen = self._bytes = 0
        self._calm = CALM
        self._scheduled = False
        self._since_s = 0.0

    def mark(self, outbox: Flushable) -> None:
        """Write ``outbox`` out soon; an outbox marks itself when its first frame comes."""
        if not self._scheduled:
            self._schedule()
        self._dirty.append(outbox)

    def put(self, wire: bytes, outboxes: Sequence[Flushable]) -> None:
        """Put a frame into several outboxes, each of which has ``wires``."""
        if not self._scheduled:
            self._schedule()
        dirty = self._dirty
        for outbox in outboxes:  # for every delivery: nothing else may cost anything here
            wires = outbox.wires
            if not wires:
                dirty.append(outbox)
            wires.append(wire)
        self._bytes += len(wire)
        if self._bytes > MOST_BYTES:
            self.flush()

    def note(self, received_s: float, frames: int = 1) -> None:
        """Take note of a change of which so many frames have been put into outboxes.

        Once these have been written, it is measured how long ago it arrived.
        """
        if not self._scheduled:
            self._schedule()
        self._frames += frames
        self._received[received_s] = self._received.get(received_s, 0) + 1

    def flush(self) -> None:
        """Write everything out now."""
        dirty, self._dirty = self._dirty, []
        received, self._received = self._received, {}
        self._frames = self._bytes = 0
        for outbox in dirty:
            outbox.flush()
        if received:
            now_s = self._clock.monotonic_s()
            for since_s, count in received.items():
                metrics.RECEIVE_TO_WRITE.observe(now_s - since_s, count)

    def _schedule(self) -> None:
        self._scheduled, self._seen, self._calm = True, 0, CALM
        self._since_s = self._clock.monotonic_s()
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Flush, or gather for another iteration."""
        new, self._seen = self._frames - self._seen, self._frames
        self._calm = 0 if new >= MANY else self._calm + 1
        gathers = self._calm < CALM and self._frames < ENOUGH * len(self._dirty)
        if gathers and self._clock.monotonic_s() - self._since_s < LONGEST_S:
            self._loop.call_soon(self._turn)
        else:
            self._scheduled = False
            self.flush()
