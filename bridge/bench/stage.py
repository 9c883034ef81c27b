"""A stack with everything that takes part: Postgres, Realtime, proxies, workers, pages and writers."""

import asyncio
import json
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec
import psycopg

from bridge.bench.balancer import Balancer, balancing
from bridge.bench.judge import History, Recorded, Verdict, judge_events, judge_picture, recorded
from bridge.bench.page import Page
from bridge.bench.proxy import TcpProxy, tcp_proxy
from bridge.bench.reader import Reader
from bridge.bench.worker import RUN, Worker
from bridge.bench.world import World, user_id
from bridge.errors import SourceError
from bridge.local.stack import LocalStack
from bridge.migration.state import files

READY_S = 60.0


class Stage(msgspec.Struct):
    """What is running.

    Attributes:
        local: Postgres and Realtime.
        api: Between the workers and Realtime and REST.
        postgres: Between the workers and Postgres, where they speak with it.
        workers: The workers.
        pages: The clients, each of another user.
        world: What is written.
        reader: Reads as a user.
        folder: Where the workers log; removed at the end, unless something went wrong.
        balancer: Between the pages and the workers, if there is one.
        keeps_folder: Set it to keep the folder all the same.
    """

    local: LocalStack
    api: TcpProxy
    postgres: TcpProxy
    workers: Sequence[Worker]
    pages: Sequence[Page]
    world: World
    reader: Reader
    folder: Path
    balancer: Balancer | None = None
    keeps_folder: bool = False

    async def settle(self, within_s: float) -> bool:
        """Wait until every page has what its user sees; False if that takes too long."""
        await until_ready(self.workers, self.folder)
        late = list(self.pages)
        try:
            async with asyncio.timeout(within_s):
                while late:
                    await asyncio.sleep(0.5)
                    late = [page for page in late if not await self._is_right(page)]
        except TimeoutError:
            return False
        return True

    async def _is_right(self, page: Page) -> bool:
        dialogs, messages = await self.reader.rows(page.user)
        return page.dialogs == dialogs and page.messages == messages

    async def delay_s(self) -> float:
        """Return the median time from the commit of a change until a page had it."""
        history = {row.id: row.at for row in await _journal(self.local.database_url)}
        delays = []
        for page in self.pages:
            for one in page.seen:
                number = one.id.partition("-")[2]
                if number.isdecimal() and int(number) in history:
                    delays.append(one.at - history[int(number)])
        return statistics.median(delays) if delays else 0.0

    async def judge(self, *, by_journal: bool = True) -> tuple[Verdict, int]:
        """Compare everything; return the verdict and the number of changes.

        Args:
            by_journal: False where the journal is not whole: then only what pages have is judged.
        """
        verdict = Verdict()
        history = History(await _journal(self.local.database_url))
        until = history.journal[-1].id if history.journal else 0
        for page in self.pages:
            verdict.duplicated += page.duplicates
            if by_journal:
                judge_events(verdict, history, page.user, page.seen, page.rereads, until=until)
            dialogs, messages = await self.reader.rows(page.user)
            judge_picture(verdict, page.user, page.dialogs, dialogs, kind="dialog")
            judge_picture(verdict, page.user, page.messages, messages, kind="message")
        return verdict, len(history.journal)


@asynccontextmanager
async def running_stage(
    *,
    clients: int,
    polling: int,
    workers: int = 1,
    processes: int = 1,
    balanced: bool = False,
    seed: int = 1,
    proxy: type[TcpProxy] = TcpProxy,
    command: Sequence[str] = RUN,
    **settings: str,
) -> AsyncIterator[Stage]:
    """Run a stage until the block ends; its clients have joined.

    Args:
        clients: Number of clients.
        polling: How many of them poll.
        workers: Number of workers.
        processes: How many share the port of each.
        balanced: True for a balancer before them; else pages choose by themselves.
        seed: Makes the choices the same again.
        proxy: What stands between the workers and Realtime.
        command: What a worker is started with, after ``python -m``.
        settings: Of the workers, as environment variables.

    Raises:
        SourceError: a part did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="bridge-bench-"))
    try:
        async with AsyncExitStack() as stack:
            local = await stack.enter_async_context(LocalStack())
            await local.apply_sql(files())
            users = [user_id(number) for number in range(clients)]
            world = World(users, random.Random(seed))  # noqa: S311 - to be the same again
            await world.found(local.database_url)
            api = await stack.enter_async_context(
                tcp_proxy("127.0.0.1", urlsplit(local.url).port or 0, kind=proxy)
            )
            postgres = await stack.enter_async_context(tcp_proxy("127.0.0.1", local.postgres.port))
            variables = environment(local, {**_through(local, api, postgres), **settings})
            started = [
                Worker(variables, folder / f"worker-{number}.log", command, processes)
                for number in range(workers)
            ]
            for worker in started:
                stack.push_async_callback(worker.end, SIGTERM)
                await worker.start()
            await until_ready(started, folder)
            reader = await stack.enter_async_context(Reader(local.database_url))
            chooser = random.Random(seed + 1)  # noqa: S311 - to be the same again
            ports = [worker.port for worker in started]
            balancer = await stack.enter_async_context(balancing(folder, ports)) if balanced else None
            ports = ports if balancer is None else [balancer.port]
            pages = [Page(user, local.token(user, ttl_s=86_400), ports, reader, chooser) for user in users]
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for number, page in enumerate(pages):
                follow = page.poll() if number < polling else page.stream()
                stack.callback(tasks.create_task(follow, name=f"page-{number}").cancel)
            async with asyncio.timeout(READY_S):
                while any(page.cursor is None for page in pages):  # noqa: ASYNC110 - pages are many
                    await asyncio.sleep(0.1)
            stage = Stage(local, api, postgres, started, pages, world, reader, folder, balancer)
            yield stage
    except BaseException as error:
        error.add_note(f"the workers' logs are in {folder}")
        raise
    if not stage.keeps_folder:
        shutil.rmtree(folder)


def _through(local: LocalStack, api: TcpProxy, postgres: TcpProxy) -> dict[str, str]:
    parts = urlsplit(local.database_url)
    host = parts.netloc.rpartition("@")[0]
    through = urlunsplit(parts._replace(netloc=f"{host}@127.0.0.1:{postgres.port}", query=""))
    return {"SUPABASE_URL": f"http://127.0.0.1:{api.port}", "SUPABASE_DB_URL": through}


def environment(local: LocalStack, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker for ``local``, with these settings beside its keys."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("BRIDGE_", "SUPABASE_"))}
    return {
        **inherited,
        "SUPABASE_SERVICE_ROLE_KEY": local.service_role_key,
        "SUPABASE_JWT_SECRET": local.jwt_secret,
        "BRIDGE_CAPTURE": "journal",
        "BRIDGE_DRAIN_TIMEOUT_S": "2",
        **settings,
    }


async def until_ready(workers: Sequence[Worker], folder: Path) -> None:
    """Wait until all workers are ready.

    Raises:
        SourceError: one takes too long.
    """
    async with httpx.AsyncClient() as http:
        for port in [port for worker in workers for port in worker.admin_ports]:
            for _ in range(int(READY_S / 0.2)):
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)
            else:
                raise SourceError(f"a worker is not ready after {READY_S:g} s: see its log in {folder}")


async def _journal(database_url: str) -> list[Recorded]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor: Any = await connection.execute(
            "select id, relation, action, coalesce(record, old_record), "
            "extract(epoch from coalesce(pg_xact_commit_timestamp(txid::xid), recorded_at))::float8, "
            "txid::text "
            "from bridge.journal where action <> 'TRUNCATE' order by id"
        )
        rows = await cursor.fetchall()
    return recorded(
        (id_, relation, action, json.loads(record), at, txid)
        for id_, relation, action, record, at, txid in rows
    )
