"""The load generator, a program of its own: one that is slower than what it measures would measure itself."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bridge.bench import programs
from bridge.bench.arena import Running
from bridge.bench.cores import load_core, pinned
from bridge.bench.plan import Plan
from bridge.errors import SourceError


class Figures(msgspec.Struct, frozen=True):
    """What the load generator counted.  Delays are in microseconds, from feeding to the client."""

    connections: int
    fed: int
    expected: int
    counted: int
    wrong: int
    pings: int
    seconds: float
    p50_us: float
    p99_us: float
    max_us: float
    ready_s: float = 0.0


class Load:
    """A load generator whose connections have joined."""

    def __init__(self, process: asyncio.subprocess.Process, ready_s: float) -> None:
        self.ready_s = ready_s
        self._process = process

    async def go(self) -> Figures:
        """Let it do what it was started for.

        Raises:
            SourceError: a connection got another number of frames than it should have.
        """
        output, _ = await self._process.communicate(b"go\n")
        return figures(output, self._process.returncode, self.ready_s)


def figures(output: bytes, code: int | None, ready_s: float = 0.0) -> Figures:
    """Return what the generator printed.

    Raises:
        SourceError: a connection got another number of frames than it should have.
    """
    if not output.strip():
        raise SourceError("the load generator failed: see what it printed above")
    found = msgspec.convert({**json.loads(output), "ready_s": ready_s}, Figures)
    if code or found.wrong:
        raise SourceError(
            f"{found.wrong} of {found.connections} connections got more or less than they should have "
            f"({found.counted} frames of {found.expected}): nothing that was measured counts"
        )
    return found


@asynccontextmanager
async def loading(running: Running, plan: Plan, mode: str, *arguments: float) -> AsyncIterator[Load]:
    """Start a load generator; inside, its connections have joined.

    Raises:
        SourceError: they did not.
    """
    path = running.folder / f"plan-{os.urandom(4).hex()}"
    plan.write(path)
    running.is_fed = True
    process = await _generator(running, path, mode, *arguments)
    try:
        line = (await process.stdout.readline()).split() if process.stdout else []
        if not line:
            raise SourceError(f"the clients of {running.name} did not join: see what is printed above")
        yield Load(process, float(line[1]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        running.is_fed = False
        path.unlink()


async def receive(running: Running, plan: Plan) -> Figures:
    """Connect all clients at once, and wait until each has what it expects.

    Raises:
        SourceError: one has not.
    """
    path = running.folder / "plan-receive"
    plan.write(path)
    running.is_fed = True
    process = await _generator(running, path, "receive")
    output, _ = await process.communicate()
    running.is_fed = False
    path.unlink()
    return figures(output, process.returncode)


async def _generator(
    running: Running, path: Path, mode: str, *arguments: float
) -> asyncio.subprocess.Process:
    feed = running.feed.fileno()
    command = [programs.compiled("load"), path, running.port, feed, mode, *arguments]
    with pinned(load_core()):
        return await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[feed],
        )
