"""Whoever keeps the worker running is told that it is ready, alive, and stopping.

That is systemd, over ``NOTIFY_SOCKET`` (sd_notify(3), without a library), or ``bridge run --workers``, in the
same words over a channel.
"""

import asyncio
import contextlib
import contextvars
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LISTENS = "READY=1"
LIVE = "X_LIVE=1"
"""Changes flow for the first time; systemd ignores what begins with X_."""

END_GRACE_S = 10.0
"""Time beyond ``drain_timeout_s`` for a worker to end; then it is killed, or ends itself."""

HUNG = 1
"""Exit code of who ended itself because of that."""


class Supervisor:
    """Tells the supervisor; does nothing where there is none.

    Args:
        send: Sends one message without blocking, or raises OSError.
        watchdog_s: Time within which it wants to hear that the worker lives; None if it does not.
    """

    def __init__(
        self, send: Callable[[bytes], object] | None = None, watchdog_s: float | None = None
    ) -> None:
        self._send = send
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return the service manager that started this process, as its environment says."""
        address = environ.get("NOTIFY_SOCKET")
        # A path, or @ and an abstract name.
        send = partial(_send_to, address.replace("@", "\0", 1)) if address else None
        return cls(send, _watchdog_s(environ))

    @classmethod
    def over(cls, channel: socket.socket, environ: Mapping[str, str]) -> Self:
        """Return the one at the other end of a channel that keeps messages apart."""
        channel.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return cls(channel.send, _watchdog_s(environ))

    def tell(self, *assignments: str) -> None:
        """Send assignments like ``READY=1``; one that is not heard costs nothing."""
        if self._send is not None:
            with contextlib.suppress(OSError):
                self._send("\n".join(assignments).encode())

    async def reassure(self) -> None:
        """Tell for ever that the worker lives: its loop runs this, so one that hangs is not vouched for."""
        if self._send is None or not self.watchdog_s:
            return
        while True:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 3)


def stop_with(channel: socket.socket, stop: asyncio.Event, *, limit_s: float) -> None:
    """Set ``stop`` when the other end of the channel is gone; it says nothing before.

    A process that has not ended ``limit_s`` later ends then: who would have killed it is gone.  A thread sees
    to that, as a loop that hangs does nothing.

    Args:
        channel: What both ends have.
        stop: The event.
        limit_s: Time to drain, and some more.
    """
    loop = asyncio.get_running_loop()

    def until_end() -> None:
        end = select.poll()
        end.register(channel, select.POLLIN)
        end.poll()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the process does
            loop.call_soon_threadsafe(stop.set)
        time.sleep(limit_s)
        log.error("worker_hung", limit_s=limit_s)
        os._exit(HUNG)

    with_log = contextvars.copy_context().run  # which of the workers it is
    threading.Thread(target=with_log, args=(until_end,), name="supervisor-end", daemon=True).start()


def _send_to(address: str, message: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # noqa: FBT003 - the standard library's signature
        sender.sendto(message, address)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    microseconds = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if is_ours and microseconds.isdecimal() else None
