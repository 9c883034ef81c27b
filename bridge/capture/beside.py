"""What goes on while the stream does: a read of what it may have lost, and the time of the next one."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from bridge.capture.journal import Asked
from bridge.clock import Clock
from bridge.errors import RpcError
from bridge.journal import JournalPage

Answer: TypeAlias = JournalPage | RpcError


class ReadBeside:
    """One read at a time.  A change that came during it would be late by all that it takes.

    Args:
        read: Reads what is missing.
        done: Called when there is an answer.
    """

    def __init__(self, read: Callable[[], Awaitable[Answer]], done: Callable[[], None]) -> None:
        self._read = read
        self._done = done
        self._wanted = asyncio.Event()
        self._asked: Asked | None = None
        self._answer: Answer | None = None

    @property
    def is_reading(self) -> bool:
        """True from :meth:`begin` until the answer was taken."""
        return self._asked is not None

    def begin(self, asked: Asked) -> None:
        """Have :meth:`run` read; ``asked`` comes back with the answer."""
        self._asked = asked
        self._wanted.set()

    def take(self) -> tuple[Answer, Asked] | None:
        """Return the answer once it is there."""
        answer, asked = self._answer, self._asked
        if answer is None or asked is None:
            return None
        self._answer = self._asked = None
        return answer, asked

    async def run(self) -> None:
        """Read when that is wanted, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._answer = await self._read()
            self._done()


class Alarm:
    """One timer for many waits: setting and cancelling one for each change takes longer than the change.

    Args:
        clock: Source of time.
        ring: Called at the time that was set last.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = math.inf

    def set(self, at_s: float) -> None:
        """Ring then, and at no other time; ``inf`` for never."""
        if at_s == self._at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._at_s = None, at_s
        if at_s < math.inf:
            in_s = at_s - self._clock.monotonic_s()
            self._timer = asyncio.get_running_loop().call_later(in_s, self._go_off)

    def _go_off(self) -> None:
        self._timer, self._at_s = None, math.inf
        self._ring()
