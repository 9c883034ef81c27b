"""``python -m tests.support.jumping_worker``: a worker whose wall clock jumps an hour ahead (SIGUSR1) or back (SIGUSR2).

As with a machine's clock that is set, the monotonic clock goes on as before.
"""

import asyncio
import datetime as dt
import os
import signal

from bridge import logs
from bridge.clock import SystemClock
from bridge.config import load_config
from bridge.service import serve

HOUR = dt.timedelta(hours=1)


class JumpingClock(SystemClock):
    """The system's clocks, the wall clock off by whole hours."""

    def __init__(self) -> None:
        self._off = dt.timedelta()

    def jump(self, by: dt.timedelta) -> None:
        """Set the wall clock."""
        self._off += by

    def now(self) -> dt.datetime:
        return super().now() + self._off


async def main() -> None:
    """Run until SIGTERM."""
    clock, stop, loop = JumpingClock(), asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, clock.jump, HOUR)
    loop.add_signal_handler(signal.SIGUSR2, clock.jump, -HOUR)
    logs.configure(log_format="json", level="info")
    await serve(load_config(os.environ), stop=stop, clock=clock)


if __name__ == "__main__":
    asyncio.run(main())
