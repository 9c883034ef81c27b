"""Resyncs that can wait: each of many changes may ask for them, and clients read again once for all."""

import asyncio
from collections.abc import Callable

from bridge.authorization import Resync
from bridge.events import Principal

INTERVAL_S = 10.0
"""The first is told at once; until it is over, what else is asked for gathers."""


class Reminders:
    """Collects who has to read again.

    Args:
        send: Tells them.
        interval_s: Seconds between two times that clients are told.
    """

    def __init__(self, send: Callable[[Resync], None], *, interval_s: float = INTERVAL_S) -> None:
        self._send = send
        self._interval_s = interval_s
        self._due: dict[Principal, None] = {}
        self._any = asyncio.Event()

    def add(self, resync: Resync) -> None:
        """Tell these soon, or when the interval is over."""
        self._due.update(dict.fromkeys(resync.principals))
        self._any.set()

    async def run(self) -> None:
        """Tell them, for ever."""
        while True:
            await self._any.wait()
            due, self._due = self._due, {}
            self._any.clear()
            self._send(Resync(tuple(due)))
            await asyncio.sleep(self._interval_s)
