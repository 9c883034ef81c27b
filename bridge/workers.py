"""Several workers on one machine: one process that starts them, restarts them, and ends with them.

    bridge run --workers 3        this; relays nothing
    ├── bridge run --as-worker 1  BRIDGE_PORT (shared by all, SO_REUSEPORT), admin port BRIDGE_ADMIN_PORT
    ├── bridge run --as-worker 2  BRIDGE_PORT, BRIDGE_ADMIN_PORT + 1
    └── bridge run --as-worker 3  BRIDGE_PORT, BRIDGE_ADMIN_PORT + 2

Each tells over a channel what a service manager would hear: that it listens, that changes flow, that it is
alive.  The other way nothing is said; where this process ends, however it does, the channels end, and the
workers drain.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
from collections.abc import Mapping, Sequence

import structlog

from bridge.config import Config
from bridge.listening import hold_ports
from bridge.process import STOPPED
from bridge.restarts import Restarts
from bridge.supervisor import END_GRACE_S, LISTENS, LIVE, Supervisor

log: structlog.stdlib.BoundLogger = structlog.get_logger()

COMMAND = (sys.executable, "-m", "bridge", "run")
"""A program of its own, not a fork: what was installed since is taken with the next restart."""

LIVE_LIMIT_S = 60.0
"""Time for a new worker until changes flow; else a rolling restart is given up, and the former ones stay."""


class _Child:
    """One process of a worker, and what it has told."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.number = number
        self.process = process
        self.listened = False
        self.was_live = False
        self.settled = asyncio.Event()
        """Changes flow, or it has ended."""
        self.ended = asyncio.Event()
        self.started_s = self.heard_s = asyncio.get_running_loop().time()
        self.channel = channel

    @property
    def code(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.returncode or 0

    def send_signal(self, *, kill: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill() if kill else self.process.terminate()


class Workers:
    """``count`` workers.  ``run`` returns when it is asked to stop, or when it is no use to go on.

    Args:
        config: The settings; all but the ports are the workers' own business.
        count: How many.
        supervisor: Is told how they fare: ready once all of them are.
        environ: Their environment.
        command: What starts one.

    Attributes:
        code: The exit code of the worker that could not be kept running; 0 if none.
    """

    def __init__(
        self,
        config: Config,
        count: int,
        *,
        supervisor: Supervisor,
        environ: Mapping[str, str],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.code = 0
        self._config = config
        self._numbers = range(1, count + 1)
        self._supervisor = supervisor
        self._environ = environ
        self._command = command
        self._current: dict[int, _Child] = {}
        self._children: set[_Child] = set()
        self._listening: set[int] = set()
        self._reload = asyncio.Event()
        self._gave_up = asyncio.Event()

    def reload(self) -> None:
        """Replace one worker after the other by a new process."""
        self._reload.set()

    def kill(self) -> None:
        """End all processes, this one too, at once."""
        log.warning("drain_cut_short", workers=len(self._children))
        for child in self._children:
            child.send_signal(kill=True)
        os._exit(STOPPED)

    async def run(self, stop: asyncio.Event) -> None:
        """Run them until ``stop``; all have ended when it returns.

        Raises:
            ConfigError: there can be no such workers here.
            OSError: a port is taken.
        """
        with hold_ports(self._config, len(self._numbers)) as held:
            port = int(held.getsockname()[1])
            log.info("workers_started", workers=len(self._numbers), port=port)
            async with asyncio.TaskGroup() as tasks:
                reassuring = tasks.create_task(self._supervisor.reassure(), name="supervisor")
                following = tasks.create_task(self._follow_all(port), name="workers")
                ends = [tasks.create_task(event.wait()) for event in (stop, self._gave_up)]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (following, *ends):
                    task.cancel()
                await asyncio.wait([following])
                reassuring.cancel()
            log.info("workers_stopped", code=self.code)

    async def _follow_all(self, port: int) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(), name="watch")
                for number in self._numbers:
                    self._current[number] = await self._start(tasks, number, port)
                for number in self._numbers:
                    tasks.create_task(self._keep(tasks, number, port), name=f"worker-{number}")
                tasks.create_task(self._replace_all(tasks, port), name="reload")
        finally:
            self._supervisor.tell("STOPPING=1", "STATUS=draining")
            async with asyncio.TaskGroup() as ends:
                for child in self._children:
                    ends.create_task(self._end(child), name=f"end-{child.number}")
            for child in self._children:
                child.channel.close()

    async def _start(self, tasks: asyncio.TaskGroup, number: int, port: int) -> _Child:
        """Start a process of this worker, and follow it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    "--as-worker",
                    str(number),
                    str(theirs.fileno()),
                    env=self._environment(number, port),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # a terminal's Ctrl-C and its end are for this process
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        child = _Child(number, process, ours)
        self._children.add(child)
        tasks.create_task(self._follow(child), name=f"follow-{number}")
        return child

    def _environment(self, number: int, port: int) -> dict[str, str]:
        config, watchdog_s = self._config, self._supervisor.watchdog_s
        ours = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
        return {
            **{name: value for name, value in self._environ.items() if name not in ours},
            **({"WATCHDOG_USEC": str(int(watchdog_s * 1e6))} if watchdog_s else {}),
            "BRIDGE_PORT": str(port),
            "BRIDGE_ADMIN_PORT": str(config.admin_port and config.admin_port + number - 1),
        }

    async def _follow(self, child: _Child) -> None:
        """Hear what a process tells, until it has ended."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while words := await loop.sock_recv(child.channel, 4096):
                child.heard_s = loop.time()
                for word in words.decode().split("\n"):
                    self._heard(child, word)
        await child.process.wait()
        self._ended(child)

    def _heard(self, child: _Child, word: str) -> None:
        if word == LISTENS:
            child.listened = True
            are_new = child.number not in self._listening
            self._listening.add(child.number)
            if are_new and len(self._listening) == len(self._numbers):
                self._supervisor.tell(
                    LISTENS, f"STATUS={len(self._numbers)} workers listen; see /readyz of each"
                )
        elif word == LIVE:
            child.was_live = True
            child.settled.set()

    def _ended(self, child: _Child) -> None:
        child.channel.close()
        self._children.discard(child)
        child.settled.set()
        child.ended.set()

    async def _keep(self, tasks: asyncio.TaskGroup, number: int, port: int) -> None:
        """Start this worker again whenever its process has ended, and say so if that is no use."""
        restarts = Restarts(random.random)
        while True:
            child = self._current[number]
            await child.ended.wait()
            if self._current[number] is not child:
                continue  # it has a successor
            lived_s = asyncio.get_running_loop().time() - child.started_s
            wait_s = restarts.after(
                child.code, listened=child.listened, was_live=child.was_live, lived_s=lived_s
            )
            if wait_s is None:
                log.error("worker_given_up", worker=number, code=child.code)
                self.code = child.code if child.code > 0 else 128 - child.code
                self._gave_up.set()
                return
            log.warning("worker_ended", worker=number, code=child.code, again_in_s=round(wait_s, 2))
            await asyncio.sleep(wait_s)
            if self._current[number] is not child:
                continue
            again = await self._start(tasks, number, port)
            if self._current[number] is child:
                self._current[number] = again
            else:  # a rolling restart came in between
                await self._end(again)

    async def _replace_all(self, tasks: asyncio.TaskGroup, port: int) -> None:
        """Give each worker a successor, one after the other, whenever that is asked for."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            log.info("reload_started")
            for number in self._numbers:
                if not await self._replace(tasks, number, port):
                    log.error("reload_given_up", worker=number, limit_s=LIVE_LIMIT_S)
                    break
            else:
                log.info("reload_finished")

    async def _replace(self, tasks: asyncio.TaskGroup, number: int, port: int) -> bool:
        """Replace this worker once its successor relays changes; False if it does not come to that.

        The successor is there first.  What cannot start replaces nobody, and those who are sent away find all
        workers: were the former one stopped first, the last one of two would be left without clients.
        """
        successor = await self._start(tasks, number, port)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIVE_LIMIT_S):
                await successor.settled.wait()
        if successor.ended.is_set() or not successor.was_live:
            await self._end(successor)
            return False
        former, self._current[number] = self._current[number], successor
        await self._end(former)
        return True

    async def _end(self, child: _Child) -> None:
        """Have it drain, and wait until it has ended."""
        child.send_signal(kill=False)
        try:
            async with asyncio.timeout(self._config.drain_timeout_s + END_GRACE_S):
                await child.process.wait()
        except TimeoutError:
            log.error("worker_hung", worker=child.number)
            child.send_signal(kill=True)
            await child.process.wait()

    async def _watch(self) -> None:
        """Kill whoever does not say in time that it is alive, where the service manager wants that of us."""
        limit_s = self._supervisor.watchdog_s
        if not limit_s:
            return
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + limit_s / 3
            await asyncio.sleep(limit_s / 3)
            if loop.time() > due_s + limit_s / 3:
                continue  # we hung, and have not yet heard what was told meanwhile
            for child in self._children:
                if loop.time() - child.heard_s > limit_s:
                    log.error("worker_hung", worker=child.number)
                    child.send_signal(kill=True)
