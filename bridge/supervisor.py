"""What systemd is told: that the worker is ready, alive, and stopping (sd_notify(3), without a library)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Self


class Supervisor:
    """Tells the service manager over ``NOTIFY_SOCKET``; does nothing where there is none.

    Args:
        address: Path of the socket, or ``@`` and its abstract name.
        watchdog_s: Time within which it wants to hear that the worker lives; None if it does not.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = None if address is None else address.replace("@", "\0", 1)
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return the supervisor that started this process, as its environment says."""
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(microseconds) / 1e6 if is_ours and microseconds.isdecimal() else None
        return cls(environ.get("NOTIFY_SOCKET") or None, watchdog_s)

    def tell(self, *assignments: str) -> None:
        """Send assignments like ``READY=1``; one that is not heard costs nothing."""
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # noqa: FBT003 - the standard library's signature
            sender.sendto("\n".join(assignments).encode(), self._address)

    async def reassure(self) -> None:
        """Tell for ever that the worker lives: its loop runs this, so one that hangs is not vouched for."""
        if self._address is None or not self._watchdog_s:
            return
        while True:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)
