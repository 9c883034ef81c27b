"""An event loop on a manual clock: where it would sleep, time has passed."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from bridge.clock import ManualClock

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: there are no sockets, only timers."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits, and for no timer: this would last for ever")
        self._clock.advance(max(0.0, timeout))
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.monotonic_s()


def run_at_once(main: Coroutine[Any, Any, T], clock: ManualClock) -> T:
    """Run ``main``; each sleep and timeout of it moves ``clock`` and takes no time."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(main)
