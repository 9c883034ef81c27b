"""The soak: many clients, writers and faults, and at the end nothing lost, nothing twice, nothing leaked."""

import asyncio
import json
import os
import random
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
import psycopg

from bridge.bench.faults import Faults, Worker
from bridge.bench.judge import History, Recorded, Verdict, judge_events, judge_picture, recorded
from bridge.bench.page import Page
from bridge.bench.proxy import TcpProxy, tcp_proxy
from bridge.bench.reader import Reader
from bridge.bench.world import World, user_id
from bridge.errors import ConfigError, SourceError
from bridge.local.stack import LocalStack
from bridge.migration.state import files

SETTLE_S = 60.0
"""Time for all clients to have everything once the writers and the faults have ended."""

DROPPED_SHARE = 0.05
"""Of the clients, each time that some lose their connection."""

READY_S = 60.0


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
    verdict: Verdict
    rereads: int
    memory: dict[str, float]

    def line(self) -> str:
        """Return the last line."""
        v = self.verdict
        return (
            f"changes {self.changes} deliveries {self.deliveries} faults {self.faults} "
            f"gaps_filled {self.gaps_filled} resumes {self.resumes} "
            f"lost {v.lost} duplicated {v.duplicated} leaked {v.leaked}"
        )


async def soak(settings: Settings, *, say: Callable[[str], None]) -> Outcome:
    """Run it.

    Args:
        settings: What to run.
        say: Called with a line of progress now and then.

    Raises:
        SourceError: a part did not start.
    """
    async with AsyncExitStack() as stack:
        run = await _Run.start(settings, stack, say)
        await run.disturb()
        await run.settle()
        return await run.judge()


class _Run:
    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        *,
        local: LocalStack,
        proxies: Sequence[TcpProxy],
        workers: Sequence[Worker],
        pages: Sequence[Page],
        world: World,
        reader: Reader,
    ) -> None:
        self._settings = settings
        self._say = say
        self._local = local
        self._workers = workers
        self._pages = pages
        self._world = world
        self._reader = reader
        self._faults = Faults(
            stack=local,
            proxies=proxies,
            workers=workers,
            pages=pages,
            world=world,
            random=random.Random(settings.seed + 2),  # noqa: S311 - to be the same again
            spare_workers=settings.spare_workers,
        )
        unknown = set(settings.only) - self._faults.all.keys()
        if unknown:
            raise ConfigError(f"there is no fault {unknown.pop()!r}: choose of {', '.join(self._faults.all)}")
        self._done: Counter[str] = Counter()
        self._metrics: Counter[str] = Counter()
        self._memory: dict[str, float] = {}

    @classmethod
    async def start(cls, settings: Settings, stack: AsyncExitStack, say: Callable[[str], None]) -> "_Run":
        """Start everything; the pages follow until ``stack`` ends."""
        local = await stack.enter_async_context(LocalStack())
        await local.apply_sql(files())
        users = [user_id(number) for number in range(settings.clients)]
        world = World(users, random.Random(settings.seed))  # noqa: S311 - to be the same again
        await world.found(local.database_url)
        api = await stack.enter_async_context(tcp_proxy("127.0.0.1", urlsplit(local.url).port or 0))
        postgres = await stack.enter_async_context(tcp_proxy("127.0.0.1", local.postgres.port))
        folder = tempfile.mkdtemp(prefix="bridge-soak-")  # stays: a defect is found in the logs
        environment = _environment(settings, local, api, postgres)
        workers = [Worker(environment, Path(folder) / f"worker-{n}.log") for n in range(settings.workers)]
        for worker in workers:
            stack.push_async_callback(worker.end, SIGTERM)
            await worker.start()
        await _until_ready(workers, folder)
        say(f"started: {settings.workers} worker(s), logs in {folder}")
        reader = await stack.enter_async_context(Reader(local.database_url))
        chooser = random.Random(settings.seed + 1)  # noqa: S311 - to be the same again
        pages = [
            Page(user, local.token(user, ttl_s=86_400), [w.port for w in workers], reader, chooser)
            for user in users
        ]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=40, limits=httpx.Limits(max_connections=None))
        )
        for number, page in enumerate(pages):
            following = tasks.create_task(
                page.poll(http) if number < settings.polling else page.stream(), name=f"page-{number}"
            )
            stack.callback(following.cancel)
        return cls(
            settings,
            say,
            local=local,
            proxies=[api, postgres],
            workers=workers,
            pages=pages,
            world=world,
            reader=reader,
        )

    async def disturb(self) -> None:
        """Write, drop clients and do faults for as long as the settings say."""
        settings = self._settings
        await self._all_joined()
        async with asyncio.TaskGroup() as tasks:
            started = [
                tasks.create_task(self._world.write(self._local.database_url, settings.rate), name="writers"),
                tasks.create_task(self._drop(), name="drops"),
                tasks.create_task(self._report(), name="report"),
            ]
            faults = tasks.create_task(self._do_faults(), name="faults")
            await asyncio.sleep(settings.minutes * 60)
            self._ending = True
            await faults  # a fault that has begun is undone by itself
            for task in started:
                task.cancel()

    _ending = False

    async def _all_joined(self) -> None:
        async with asyncio.timeout(READY_S):
            while any(page.cursor is None for page in self._pages):  # noqa: ASYNC110 - pages are many
                await asyncio.sleep(0.1)
        self._say(f"{len(self._pages)} clients have joined")

    async def _drop(self) -> None:
        chooser = random.Random(self._settings.seed + 3)  # noqa: S311
        while True:
            await asyncio.sleep(chooser.expovariate(1 / self._settings.drop_every_s))
            for page in chooser.sample(list(self._pages), max(1, int(len(self._pages) * DROPPED_SHARE))):
                page.drop()

    async def _do_faults(self) -> None:
        chooser = random.Random(self._settings.seed + 4)  # noqa: S311
        while not self._ending and self._settings.fault_every_s:
            for _ in range(int(self._settings.fault_every_s * 10)):
                if self._ending:
                    return
                await asyncio.sleep(0.1)
            name = chooser.choice(self._settings.only or sorted(self._faults.all))
            await self._count_metrics()
            self._say(f"fault: {name}")
            await self._faults.all[name]()
            self._done[name] += 1

    async def _report(self) -> None:
        started = asyncio.get_running_loop().time()
        noted: set[int] = set()
        while True:
            await asyncio.sleep(5)
            elapsed_s = asyncio.get_running_loop().time() - started
            for worker in self._workers:
                age_s = asyncio.get_running_loop().time() - worker.started_s
                if worker.pid and age_s >= 60 and worker.pid not in noted:  # noqa: PLR2004 - after a minute
                    noted.add(worker.pid)
                    self._memory[f"{worker.pid} after a minute"] = worker.memory_bytes() / 1e6
            self._say(
                f"{elapsed_s:5.0f} s  changes {self._world.changes}  "
                f"deliveries {sum(len(page.seen) for page in self._pages)}  "
                f"memory {sum(w.memory_bytes() for w in self._workers) / 1e6:.0f} MB"
            )

    async def settle(self) -> None:
        """Wait until every page has what its user sees, or give up waiting."""
        self._say("writers and faults have ended, the clients catch up")
        await _until_ready(self._workers, "")
        deadline_s = asyncio.get_running_loop().time() + SETTLE_S
        late = list(self._pages)
        while late and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(1)
            still = []
            for page in late:
                dialogs, messages = await self._reader.rows(page.user)
                if page.dialogs != dialogs or page.messages != messages:
                    still.append(page)
            late = still
        await self._count_metrics()
        for worker in self._workers:
            if f"{worker.pid} after a minute" in self._memory:
                self._memory[f"{worker.pid} at the end"] = worker.memory_bytes() / 1e6

    async def judge(self) -> Outcome:
        """Compare everything."""
        verdict = Verdict()
        history = History(await _journal(self._local.database_url))
        until = history.journal[-1].id if history.journal else 0
        for page in self._pages:
            verdict.duplicated += page.duplicates
            judge_events(verdict, history, page.user, page.seen, page.rereads, until=until)
            dialogs, messages = await self._reader.rows(page.user)
            judge_picture(verdict, page.user, page.dialogs, dialogs, kind="dialog")
            judge_picture(verdict, page.user, page.messages, messages, kind="message")
        for kind, example in verdict.examples.items():
            self._say(f"{kind}: {example}")
        self._say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self._done.items())))
        return Outcome(
            changes=len(history.journal),
            deliveries=sum(len(page.seen) for page in self._pages),
            faults=sum(self._done.values()),
            gaps_filled=self._metrics["gaps_filled"],
            resumes=sum(page.resumes for page in self._pages),
            verdict=verdict,
            rereads=sum(len(page.rereads) for page in self._pages) - len(self._pages),
            memory=self._memory,
        )

    async def _count_metrics(self) -> None:
        """Add up what a worker counts, before it may be killed: its counters end with it."""
        for worker in self._workers:
            count = await asyncio.to_thread(_rows_read, worker.admin_port)
            if count is not None:
                key = f"{worker.pid}"
                self._metrics["gaps_filled"] += count - self._metrics[key]
                self._metrics[key] = count


def _environment(settings: Settings, local: LocalStack, api: TcpProxy, postgres: TcpProxy) -> dict[str, str]:
    parts = urlsplit(local.database_url)
    host = parts.netloc.rpartition("@")[0]
    through = urlunsplit(parts._replace(netloc=f"{host}@127.0.0.1:{postgres.port}", query=""))
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("BRIDGE_", "SUPABASE_"))}
    return {
        **inherited,
        "SUPABASE_URL": f"http://127.0.0.1:{api.port}",
        "SUPABASE_SERVICE_ROLE_KEY": local.service_role_key,
        "SUPABASE_JWT_SECRET": local.jwt_secret,
        "SUPABASE_DB_URL": through,
        "BRIDGE_UPSTREAM": settings.upstream,
        "BRIDGE_CAPTURE": "journal",
        "BRIDGE_DRAIN_TIMEOUT_S": "2",
    }


async def _until_ready(workers: Sequence[Worker], folder: str) -> None:
    async with httpx.AsyncClient() as http:
        for worker in workers:
            for _ in range(int(READY_S / 0.2)):
                try:
                    if (
                        await http.get(f"http://127.0.0.1:{worker.admin_port}/readyz")
                    ).status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)
            else:
                raise SourceError(f"a worker is not ready after {READY_S:g} s: see its log in {folder}")


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


async def _journal(database_url: str) -> list[Recorded]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor: Any = await connection.execute(
            "select id, relation, action, coalesce(record, old_record), "
            "extract(epoch from recorded_at)::float8 from bridge.journal order by id"
        )
        rows = await cursor.fetchall()
    return recorded(
        (id_, relation, action, json.loads(record), at) for id_, relation, action, record, at in rows
    )
