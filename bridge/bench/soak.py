"""The soak: many clients, writers and faults, and at the end nothing lost, nothing twice, nothing leaked."""

import asyncio
import random
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from bridge.bench.faults import Faults
from bridge.bench.judge import Verdict
from bridge.bench.stage import Stage, running_stage
from bridge.bench.worker import Worker
from bridge.errors import ConfigError

SETTLE_S = 60.0
"""Time for all clients to have everything once the writers and the faults have ended."""

DROPPED_SHARE = 0.05
"""Of the clients, each time that some lose their connection."""

FIRST_MEMORY_S = 60.0
"""Age at which a worker's memory is noted for the first time."""

HISTORY_S = 45
"""How long workers keep events.  Nobody here is away for longer than a fault of a few seconds."""

REMEMBERED_ROWS = 2_000
"""Rows of each table that workers remember.

With ``HISTORY_S`` all that is bounded is full by the time memory is noted first: what grows later is a leak.
"""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        minutes: How long writers and faults go on.
        clients: How many there are.
        polling: How many of them poll.
        rate: Changes a second.
        fault_every_s: Time between two faults; 0 for none.
        drop_every_s: Time after which some clients lose their connection, on average.
        workers: How many; a client that comes back takes any.
        processes: How many share the port of each worker.
        balanced: True for nginx before them; else clients choose by themselves.
        upstream: ``realtime`` or ``wal``.
        spare_workers: True to leave the workers' processes alone, so that their memory can be compared.
        only: Names of faults, where not all of them are wanted.
        seed: Makes the choices the same again.
    """

    minutes: float
    clients: int
    polling: int
    rate: float
    fault_every_s: float
    drop_every_s: float
    workers: int
    processes: int
    balanced: bool
    upstream: str
    spare_workers: bool
    only: tuple[str, ...]
    seed: int


class Outcome(msgspec.Struct):
    """The figures of the last line, and what led to them."""

    changes: int
    deliveries: int
    faults: int
    gaps_filled: int
    resumes: int
    moves: int
    verdict: Verdict
    rereads: int
    delay_s: float
    memory: dict[str, float]

    def line(self) -> str:
        """Return the last line; who is told the older after the newer has lost the newer."""
        v = self.verdict
        return (
            f"changes {self.changes} deliveries {self.deliveries} faults {self.faults} "
            f"gaps_filled {self.gaps_filled} resumes {self.resumes} "
            f"lost {v.lost + v.disordered} duplicated {v.duplicated} leaked {v.leaked}"
        )


async def soak(settings: Settings, *, say: Callable[[str], None]) -> Outcome:
    """Run it.

    Args:
        settings: What to run.
        say: Called with a line of progress now and then.

    Raises:
        ConfigError: there is no such fault, or nobody would follow over WebSocket.
        SourceError: a part did not start.
    """
    if settings.polling >= settings.clients:
        raise ConfigError(
            f"--polling {settings.polling} leaves none of --clients {settings.clients} for WebSocket: "
            "give fewer that poll, or more clients"
        )
    async with running_stage(
        clients=settings.clients,
        polling=settings.polling,
        workers=settings.workers,
        processes=settings.processes,
        balanced=settings.balanced,
        seed=settings.seed,
        BRIDGE_UPSTREAM=settings.upstream,
        BRIDGE_HISTORY_S=str(HISTORY_S),
        BRIDGE_REMEMBERED_ROWS=str(REMEMBERED_ROWS),
        BRIDGE_PING_INTERVAL_S="3",  # a client that is gone is noticed while the soak runs
    ) as stage:
        before = "" if stage.balancer is None else f" behind {type(stage.balancer).__name__}"
        of = f" of {settings.processes} processes each" if settings.processes > 1 else ""
        say(f"{settings.workers} worker(s){of}{before}, {settings.clients} clients; logs in {stage.folder}")
        run = _Run(settings, stage, say)
        await run.disturb()
        say("writers and faults have ended, the clients catch up")
        await stage.settle(SETTLE_S)
        outcome = await run.outcome()
        if outcome.verdict.failed:
            stage.keeps_folder = True
            say(f"the workers' logs stay in {stage.folder}")
        return outcome


class _Run:
    def __init__(self, settings: Settings, stage: Stage, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._stage = stage
        self._say = say
        self._faults = Faults(
            stage,
            random=random.Random(settings.seed + 2),  # noqa: S311 - to be the same again
            spare_workers=settings.spare_workers,
        )
        unknown = set(settings.only) - self._faults.all.keys()
        if unknown:
            raise ConfigError(f"there is no fault {unknown.pop()!r}: choose of {', '.join(self._faults.all)}")
        self._done: Counter[str] = Counter()
        self._gaps = Gaps()
        self._memory: dict[str, float] = {}
        self._ending = False

    async def disturb(self) -> None:
        """Write, drop clients and do faults for as long as the settings say."""
        stage, settings = self._stage, self._settings
        async with asyncio.TaskGroup() as tasks:
            started = [
                tasks.create_task(stage.world.write(stage.local.database_url, settings.rate), name="writers"),
                tasks.create_task(self._drop(), name="drops"),
                tasks.create_task(self._report(), name="report"),
            ]
            faults = tasks.create_task(self._do_faults(), name="faults")
            await asyncio.sleep(settings.minutes * 60)
            self._ending = True
            await faults  # a fault that has begun is undone by itself
            for task in started:
                task.cancel()

    async def _drop(self) -> None:
        chooser = random.Random(self._settings.seed + 3)  # noqa: S311
        pages = list(self._stage.pages)
        while True:
            await asyncio.sleep(chooser.expovariate(1 / self._settings.drop_every_s))
            for page in chooser.sample(pages, max(1, int(len(pages) * DROPPED_SHARE))):
                page.drop()

    async def _do_faults(self) -> None:
        chooser = random.Random(self._settings.seed + 4)  # noqa: S311
        while not self._ending and self._settings.fault_every_s:
            for _ in range(int(self._settings.fault_every_s * 10)):
                if self._ending:
                    return
                await asyncio.sleep(0.1)
            name = chooser.choice(self._settings.only or sorted(self._faults.all))
            await self._gaps.count(self._stage.workers)
            self._say(f"fault: {name}")
            await self._faults.all[name]()
            self._done[name] += 1

    async def _report(self) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        while True:
            await asyncio.sleep(5)
            for worker in self._stage.workers:
                if worker.pid and loop.time() - worker.started_s >= FIRST_MEMORY_S:
                    self._memory.setdefault(f"{worker.pid} after a minute", worker.memory_bytes() / 1e6)
            self._say(
                f"{loop.time() - started_s:5.0f} s  changes {self._stage.world.changes}  "
                f"deliveries {sum(len(page.seen) for page in self._stage.pages)}  "
                f"memory {sum(w.memory_bytes() for w in self._stage.workers) / 1e6:.0f} MB"
            )

    async def outcome(self) -> Outcome:
        """Compare everything."""
        stage = self._stage
        await self._gaps.count(stage.workers)
        for worker in stage.workers:
            if f"{worker.pid} after a minute" in self._memory:
                self._memory[f"{worker.pid} at the end"] = worker.memory_bytes() / 1e6
        verdict, changes = await stage.judge()
        for kind, example in verdict.examples.items():
            self._say(f"{kind}: {example}")
        self._say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self._done.items())))
        return Outcome(
            changes=changes,
            deliveries=sum(len(page.seen) for page in stage.pages),
            faults=sum(self._done.values()),
            gaps_filled=self._gaps.filled,
            resumes=sum(page.resumes for page in stage.pages),
            moves=sum(page.moves for page in stage.pages),
            verdict=verdict,
            rereads=sum(len(page.rereads) for page in stage.pages) - len(stage.pages),
            delay_s=await stage.delay_s(),
            memory=self._memory,
        )


class Gaps:
    """Adds up what workers count, before they are killed: their counters end with them."""

    def __init__(self) -> None:
        self._known: Counter[tuple[int, int]] = Counter()

    @property
    def filled(self) -> int:
        """Rows that were read because the stream did not bring them."""
        return sum(self._known.values())

    async def count(self, workers: Sequence[Worker]) -> None:
        """Ask the workers."""
        for worker in workers:
            for port in worker.admin_ports:
                count = await asyncio.to_thread(_rows_read, port)
                if count is not None:
                    self._known[worker.pid, port] = max(count, self._known[worker.pid, port])


def _rows_read(admin_port: int) -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    counts = {"read": 0, "late": 0}
    for line in text.splitlines():
        for via in counts:
            if line.startswith(f'bridge_journal_rows_total{{via="{via}"}}'):
                counts[via] = int(float(line.rpartition(" ")[2]))
    return counts["read"] - counts["late"]  # what the stream brought after all was no gap
