"""The worker as an operator runs it: a process of its own, configured by the environment."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from bridge.local.stack import LocalStack


class Worker:
    """A running ``bridge run``.

    Attributes:
        log: Every line it logged, decoded.
        raw_log: All that it wrote, to stdout and stderr.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.raw_log = ""
        self._logged = asyncio.Condition()
        self.port = 0
        self.admin_port = 0

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    async def read_log(self) -> None:
        """Read what it logs until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.raw_log += line.decode()
            with contextlib.suppress(json.JSONDecodeError):
                self.log.append(json.loads(line))
            async with self._logged:
                self._logged.notify_all()

    async def logged(self, event: str, *, count: int = 1, timeout_s: float = 40) -> dict[str, Any]:
        """Wait until ``event`` has been logged so many times and return the last one."""
        async with asyncio.timeout(timeout_s), self._logged:
            await self._logged.wait_for(lambda: sum(e["event"] == event for e in self.log) >= count)
        return [e for e in self.log if e["event"] == event][-1]

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.admin_url}/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


def environment(stack: LocalStack, **settings: str) -> dict[str, str]:
    """Return the environment of a worker for ``stack``: free ports, short drain."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "SUPABASE_"))
    }
    return {
        **inherited,
        "SUPABASE_URL": stack.url,
        "SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key,
        "SUPABASE_JWT_SECRET": stack.jwt_secret,
        "BRIDGE_PORT": "0",
        "BRIDGE_ADMIN_PORT": "0",
        "BRIDGE_DRAIN_TIMEOUT_S": "2",
        **settings,
    }


@contextlib.asynccontextmanager
async def running_worker(
    stack: LocalStack, *, command: Sequence[str] = ("bridge", "run"), **settings: str
) -> AsyncIterator[Worker]:
    """Run a worker (or another module that logs as one) until it is live; stop it at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        env=environment(stack, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
    )
    worker = Worker(process)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(worker.read_log(), name="worker-log")
        try:
            ready = await worker.logged("service_ready")
            worker.port, worker.admin_port = ready["port"], ready["admin_port"]
            yield worker
        finally:
            if process.returncode is None:
                process.kill() if worker.port == 0 else process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                await process.wait()
            await reader
