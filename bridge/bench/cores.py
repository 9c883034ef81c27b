"""Which core runs what, so that servers do not share theirs with what measures them."""

import contextlib
import os
from collections.abc import Iterator

_CORES = sorted(os.sched_getaffinity(0))


def server_core() -> int | None:
    """Return the core of the servers; None where there is only one."""
    return _CORES[0] if len(_CORES) > 1 else None


def load_core() -> int | None:
    """Return the core of everything else; None where there is only one."""
    return _CORES[1] if len(_CORES) > 1 else None


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Have what is started inside run on one core (None: on any)."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
