"""A worker as a process that can be killed, frozen and started again on the same port."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.listening import free_port, free_ports

RUN = ("bridge", "run")


def python(module: str) -> list[str]:
    """Return what starts a module of this installation."""
    return [sys.executable, "-m", module]


class Worker:
    """A ``bridge run``, or another such program, that can be killed and started again on the same port.

    Args:
        environment: Its settings.
        log: Where it logs.
        command: What it is started with, after ``python -m``.
        processes: How many share its port.
    """

    def __init__(
        self, environment: Mapping[str, str], log: Path, command: Sequence[str] = RUN, processes: int = 1
    ) -> None:
        self.port = free_port()
        self.admin_ports = free_ports(processes)
        self.admin_port = self.admin_ports[0]
        self._environment = {
            **environment,
            "BRIDGE_PORT": str(self.port),
            "BRIDGE_ADMIN_PORT": str(self.admin_port),
        }
        self._log = log
        self._command = command if processes == 1 else (*command, "--workers", str(processes))
        self._process: asyncio.subprocess.Process | None = None
        self.started_s = 0.0

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return 0 if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def children(self) -> list[int]:
        """Ids of the processes that share its port, where there are several."""
        try:
            return list(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()))
        except OSError:
            return []

    async def start(self) -> None:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._command,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # as a service: it has a share of the processors that is its own
            )
        self.started_s = asyncio.get_running_loop().time()

    async def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait until it has ended."""
        if self.pid and self._process is not None:
            self._process.send_signal(number)
            await self._process.wait()

    async def freeze(self, for_s: float) -> None:
        """Stop it, and let it go on."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(for_s)
            if self.pid == pid:
                os.kill(pid, signal.SIGCONT)

    def memory_bytes(self) -> int:
        """Return its resident memory, that of all of its processes; 0 while it does not run."""
        return sum(map(_resident_bytes, [self.pid, *self.children]))


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
