"""The WAL transport in tests: a server with the journal, a source that runs, and what it tells."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from bridge.bench.proxy import TcpProxy
from bridge.capture import WalSource
from bridge.clock import SystemClock
from bridge.local.postgres import EmbeddedPostgres
from tests.support.stack import embedded_postgres, migrate

PUBLICATION = "bridge_journal"

INSERT = (
    "insert into bridge.journal (relation, action, record) values ('public.t', 'INSERT', %s) returning id"
)


@contextlib.contextmanager
def journal_postgres() -> Iterator[EmbeddedPostgres]:
    """Run a Postgres with the journal."""
    with embedded_postgres() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            migrate(connection)
        yield server


def url_through(proxy: TcpProxy, options: str = "") -> str:
    """The server's URL, with a password that nobody asks for and nobody must see."""
    return f"postgresql://postgres:s3cret@127.0.0.1:{proxy.port}/postgres?options={quote(options)}"


@contextlib.asynccontextmanager
async def running(url: str, **settings: Any) -> AsyncIterator[WalSource]:
    """Run a source while the block lasts."""
    settings = {"publication": PUBLICATION, "clock": SystemClock(), "random": lambda: 0.1} | settings
    source = WalSource(database_url=url, **settings)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(source.run())
        try:
            yield source
        finally:
            task.cancel()


async def take(source: WalSource, count: int, timeout_s: float = 20) -> list[Any]:
    """The next events."""
    async with asyncio.timeout(timeout_s):
        return [await source.next_or_woken() for _ in range(count)]


async def take_until(source: WalSource, kind: type, timeout_s: float = 20) -> list[Any]:
    """The next events, up to the first of a kind."""
    events: list[Any] = []
    async with asyncio.timeout(timeout_s):
        while not events or not isinstance(events[-1], kind):
            events.append(await source.next_or_woken())
    return events


async def insert(database: psycopg.AsyncConnection[Any], record: str = "{}") -> int:
    """Write one row of the journal; return its id."""
    row = await (await database.execute(INSERT, (record,))).fetchone()
    assert row is not None
    return int(row[0])


async def slots(database: psycopg.AsyncConnection[Any]) -> int:
    """Number of slots of the server, and of the walsenders."""
    cursor = await database.execute(
        "select (select count(*) from pg_replication_slots)"
        " + (select count(*) from pg_stat_activity where backend_type = 'walsender')"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def no_slots(database: psycopg.AsyncConnection[Any]) -> None:
    """Wait until no slot is left."""
    async with asyncio.timeout(5):
        while await slots(database):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def sockets() -> int:
    """Number of sockets that this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found
