"""Open files: what the worker needs of them, and a word where the system does not give it.

Each client takes one.  Without one left the loop's library accepts a client only to close it at once, and
tells nobody; so somebody has to look.
"""

import asyncio
import contextlib
import errno
import os
import resource

import structlog

from bridge.clock import Clock
from bridge.trouble import SELDOM_S, Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SPARE_FILES = 256
"""Files and sockets that the worker has open beside those of its clients."""

LOOK_S = 1.0


def needed_files(max_connections: int) -> int:
    """Return how many files a worker may have open at once."""
    return max_connections + SPARE_FILES


def suffices(limit: int, needed: int) -> bool:
    """Return whether a limit of the system allows so many."""
    return limit == resource.RLIM_INFINITY or limit >= needed


def raise_limit(needed: int) -> None:
    """Let this process have so many files open; warn of what the system does not allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if suffices(soft, needed):
        return
    reachable = needed if suffices(hard, needed) else hard
    with contextlib.suppress(OSError, ValueError):  # macOS has a further limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    if not suffices(soft, needed):
        hint = (
            "clients beyond it are closed: raise it (LimitNOFILE, ulimit -n), or lower BRIDGE_MAX_CONNECTIONS"
        )
        log.warning("open_files_few", limit=soft, needed=needed, hint=hint)


class OpenFiles:
    """Looks whether a file can be opened.

    Args:
        clock: Source of time.

    Attributes:
        are_exhausted: None could when it was tried last: clients are not accepted.
    """

    def __init__(self, clock: Clock) -> None:
        self.are_exhausted = False
        self._trouble = Trouble(clock, again_s=SELDOM_S)

    async def watch(self) -> None:
        """Look for ever; what is wrong is said once a minute while it lasts."""
        while True:
            self.are_exhausted = not _can_open()
            if self.are_exhausted and self._trouble.note("open_files_exhausted"):
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                log.error("open_files_exhausted", limit=limit)
            await asyncio.sleep(LOOK_S)


def _can_open() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True
