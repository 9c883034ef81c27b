"""Clients that come back before this worker is where they were wait, and are not told to read again."""

import asyncio
import contextlib
from collections.abc import Callable

from bridge.fanout.history import History

WAIT_S = 10.0
"""Time for this worker to come to where a client was that comes back from a faster one."""

FILED_AT_ONCE = 1_000
"""Past events of which it is found out, before other clients have their turn, who may experience them."""


class Arrival:
    """Lets clients wait for the history to come as far as their cursors.

    Args:
        history: Of this worker.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._moved = asyncio.Event()
        self.waiting = 0
        """Clients that wait."""
        self.is_leaving = False

    async def at(self, cursor: str, wait_s: float | None) -> bool:
        """Wait until the history has come as far as ``cursor``; False if it is not now and here that it will.

        For a start that lasts as long as it takes: who were told to read again instead would all do so at
        once, which makes the start last longer, and once more when it has ended.

        Args:
            cursor: What a client has.
            wait_s: How long it can wait for a start, before it asks again; None for as long as it takes.
        """
        history = self._history
        if history.is_open and not history.may_come(cursor) and history.file(FILED_AT_ONCE):
            return True  # nearly always, and this is asked by everybody who comes back

        def starts() -> bool:
            return not history.is_open and history.may_come(cursor)

        while True:
            await self._wait(starts, wait_s)
            if starts() or self.is_leaving:
                return not history.may_come(cursor)
            # While a start goes on, whose an event may be is told by rows that are about to be replaced.
            while history.is_open and not history.file(FILED_AT_ONCE):  # noqa: ASYNC110 - nobody is waited for
                await asyncio.sleep(0)
            await self._wait(lambda: history.is_open and history.may_come(cursor), WAIT_S)
            if not starts():
                return not (self.is_leaving and history.may_come(cursor))

    def leave(self) -> None:
        """Keep nobody waiting any more: those who come back to another worker are served there."""
        self.is_leaving = True
        self.move()

    def move(self) -> None:
        """Let those look again who wait."""
        if self.waiting:
            self._moved.set()
            self._moved.clear()

    async def _wait(self, condition: Callable[[], bool], at_most_s: float | None) -> None:
        """Wait while ``condition`` holds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while not self.is_leaving and condition():
                    self.waiting += 1
                    try:
                        await self._moved.wait()
                    finally:
                        self.waiting -= 1
