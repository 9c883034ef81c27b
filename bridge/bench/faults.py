"""What can go wrong: processes killed, frozen and restarted, connections cut, delayed and silent."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from bridge.bench.page import Page
from bridge.bench.proxy import TcpProxy
from bridge.bench.world import World, hold_transaction
from bridge.local.stack import LocalStack

Fault = Callable[[], Awaitable[None]]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """A ``bridge run`` that can be killed and started again on the same port.

    Args:
        environment: Its settings.
        log: Where it logs.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.admin_port = free_port()
        self._environment = {
            **environment,
            "BRIDGE_PORT": str(self.port),
            "BRIDGE_ADMIN_PORT": str(self.admin_port),
        }
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.started_s = 0.0

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return 0 if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> None:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bridge", "run", env=self._environment, stdout=log, stderr=log
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
        """Return its resident memory; 0 while it does not run."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")


class Faults:
    """The faults that there are, by name.

    Args:
        stack: Postgres and Realtime.
        proxies: Between the worker and these.
        workers: The workers.
        pages: The clients.
        world: What is written.
        random: Chooses.
        spare_workers: True to leave the workers' processes alone.
    """

    def __init__(
        self,
        *,
        stack: LocalStack,
        proxies: Sequence[TcpProxy],
        workers: Sequence[Worker],
        pages: Sequence[Page],
        world: World,
        random: Random,
        spare_workers: bool,
    ) -> None:
        self._stack = stack
        self._proxies = proxies
        self._workers = workers
        self._pages = pages
        self._world = world
        self._random = random
        self.all: dict[str, Fault] = {
            "realtime killed": self._kill_api,
            "postgres restarted": stack.restart_postgres,
            "upstream frozen": self._freeze_upstream,
            "upstream cut": self._cut_upstream,
            "upstream slow": self._slow_upstream,
            "long transaction": self._hold_transaction,
            "all clients cut": self._cut_clients,
        }
        if not spare_workers:
            self.all |= {
                "worker stopped": lambda: self._restart(signal.SIGTERM),
                "worker killed": lambda: self._restart(signal.SIGKILL),
                "worker frozen": self._freeze_worker,
            }

    def _worker(self) -> Worker:
        return self._random.choice(self._workers)

    async def _kill_api(self) -> None:
        self._stack.kill_api()
        await asyncio.sleep(self._random.uniform(0.5, 3))
        await self._stack.start_api()

    async def _freeze_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.freeze()
        await asyncio.sleep(self._random.uniform(1, 4))
        for proxy in self._proxies:
            proxy.thaw()

    async def _cut_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.cut()

    async def _slow_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.delay_s = 0.05
        await asyncio.sleep(self._random.uniform(1, 4))
        for proxy in self._proxies:
            proxy.delay_s = 0.0

    async def _hold_transaction(self) -> None:
        await hold_transaction(
            self._stack.database_url,
            self._world,
            for_s=self._random.uniform(1, 4),
            commit=self._random.random() < 0.7,  # noqa: PLR2004 - some are rolled back
        )

    async def _cut_clients(self) -> None:
        for page in self._pages:
            page.drop()

    async def _restart(self, number: signal.Signals) -> None:
        worker = self._worker()
        await worker.end(number)
        await worker.start()

    async def _freeze_worker(self) -> None:
        await self._worker().freeze(self._random.uniform(1, 4))
