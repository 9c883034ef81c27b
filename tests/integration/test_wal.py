"""The journal by logical replication, from a real Postgres, with a proxy in between that misbehaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from structlog.testing import capture_logs

from bridge.capture import RealtimeSource, WalSource
from bridge.capture import slot as slot_module
from bridge.capture.refusal import POOLER, explain
from bridge.clock import SystemClock
from bridge.events import Change, Gap, Live
from bridge.local import postgres as postgres_module
from bridge.local.postgres import EmbeddedPostgres
from bridge.local.stack import LocalStack
from tests.support.fake_realtime import eventually
from tests.support.proxy import TcpProxy, tcp_proxy
from tests.support.stack import MIGRATIONS

PUBLICATION = "bridge_journal"

INSERT = (
    "insert into bridge.journal (relation, action, record) values ('public.t', 'INSERT', %s) returning id"
)


def prepare(server: EmbeddedPostgres) -> None:
    """Give the server the journal and a publication of its own."""
    server.bootstrap()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for path in MIGRATIONS:
            connection.execute(path.read_bytes())
        connection.execute(
            f"create publication {PUBLICATION} for table bridge.journal with (publish = 'insert')"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A Postgres with the journal, shared by the tests of this module."""
    running = EmbeddedPostgres()
    running.start()
    try:
        prepare(running)
        yield running
    finally:
        running.stop()


@pytest.fixture
async def proxy(server: EmbeddedPostgres) -> AsyncIterator[TcpProxy]:
    """A proxy before it."""
    async with tcp_proxy("127.0.0.1", server.port) as running:
        yield running


@pytest.fixture
async def database(server: EmbeddedPostgres) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection to write with."""
    async with await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as connection:
        yield connection


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
        return [await source.next_event() for _ in range(count)]


async def take_until(source: WalSource, kind: type, timeout_s: float = 20) -> list[Any]:
    """The next events, up to the first of a kind."""
    events: list[Any] = []
    async with asyncio.timeout(timeout_s):
        while not events or not isinstance(events[-1], kind):
            events.append(await source.next_event())
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


async def test_a_change_is_what_realtime_makes_of_it(stack: LocalStack):
    """The two transports differ in nothing but the time of arrival."""
    realtime = RealtimeSource(
        url=stack.url,
        token=lambda: stack.service_role_key,
        tables=["bridge.journal"],
        primary_key=lambda _table: ("id",),
        read_row=lambda _table, _key: asyncio.sleep(0, None),
        clock=SystemClock(),
        random=lambda: 0.1,
    )
    async with (
        asyncio.TaskGroup() as tasks,
        running(stack.database_url, publication="supabase_realtime") as wal,
    ):
        task = tasks.create_task(realtime.run())
        try:
            async with asyncio.timeout(20):
                assert [await realtime.next_event(), await wal.next_event()] == [Live(), Live()]
                async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
                    await connection.execute(
                        "insert into bridge.journal (relation, action, record, old_record) values"
                        " ('public.t', 'UPDATE', '{\"n\": 1.50, \"s\": \"é\\n\"}', '{}'), ('public.t', 'DELETE', null, '{}')"
                    )
                for _ in range(2):
                    theirs, ours = await realtime.next_event(), await wal.next_event()
                    assert isinstance(theirs, Change)
                    assert isinstance(ours, Change)
                    assert {n: getattr(ours, n) for n in ours.__struct_fields__ if n != "received_s"} == {
                        n: getattr(theirs, n) for n in theirs.__struct_fields__ if n != "received_s"
                    }
        finally:
            task.cancel()


async def test_changes_come_in_the_order_of_their_commits(server: EmbeddedPostgres, database: Any):
    """A smaller id that is committed later comes later."""
    async with running(server.url()) as source, await psycopg.AsyncConnection.connect(server.url()) as early:
        assert await take(source, 1) == [Live()]
        first = await insert(early)
        second = await insert(database)
        await early.commit()

        assert [change.new["id"] for change in await take(source, 2)] == [second, first]
        assert source.state == "live"


async def test_what_was_committed_before_live_is_not_told(server: EmbeddedPostgres, database: Any):
    """The stream starts at the present; the past is the journal's to tell."""
    await insert(database)
    async with running(server.url()) as source:
        assert await take(source, 1) == [Live()]
        id_ = await insert(database)
        assert (await take(source, 1))[0].new["id"] == id_


async def test_a_transaction_of_40000_rows_arrives_whole(server: EmbeddedPostgres, database: Any):
    """With one commit timestamp, in order."""
    async with running(server.url()) as source:
        await take(source, 1)
        await database.execute(
            "insert into bridge.journal (relation, action, record)"
            " select 'public.t', 'INSERT', n::text from generate_series(1, 40000) as n"
        )
        changes = await take(source, 40_000, 60)

    assert [change.new["record"] for change in changes] == [str(n) for n in range(1, 40_001)]
    assert len({change.commit_timestamp for change in changes}) == 1


async def test_rows_of_several_megabytes_arrive_whole(server: EmbeddedPostgres, database: Any):
    """There is no limit as Realtime's."""
    record = "é" * 3_000_000
    async with running(server.url()) as source:
        await take(source, 1)
        await insert(database, record)
        await insert(database, "after")

        changes = await take(source, 2)
    assert [change.new["record"] for change in changes] == [record, "after"]


async def test_other_tables_and_actions_are_skipped(server: EmbeddedPostgres, database: Any):
    """A publication that is shared, and rows that are pruned, cost reading only."""
    await database.execute("create table public.noise (id bigint primary key, body text)")
    await database.execute("create publication noisy for table public.noise, bridge.journal")
    async with running(server.url(), publication="noisy") as source:
        await take(source, 1)
        await database.execute("insert into public.noise select n, 'x' from generate_series(1, 1000) as n")
        await database.execute("delete from bridge.journal")
        await database.execute("truncate public.noise")
        id_ = await insert(database)

        assert (await take(source, 1))[0].new["id"] == id_


async def test_a_server_that_restarts_is_a_gap_and_then_live(database: Any):
    """Nothing lies between the Gap and the next Live, whatever was committed meanwhile."""
    own = EmbeddedPostgres()
    await asyncio.to_thread(own.start)
    try:
        await asyncio.to_thread(prepare, own)
        with capture_logs() as logs:
            async with running(own.url()) as source:
                await take(source, 1)
                await asyncio.to_thread(own.restart)
                assert await take(source, 2) == [Gap(reason="upstream_restarted"), Live()]
                async with await psycopg.AsyncConnection.connect(own.url(), autocommit=True) as connection:
                    id_ = await insert(connection)
                assert (await take(source, 1))[0].new["id"] == id_
        lost = [entry for entry in logs if entry["event"] == "upstream_lost"]
        assert lost
        assert all(entry["reason"] and entry["advice"] for entry in lost)
    finally:
        await asyncio.to_thread(own.stop)


async def test_a_cut_in_the_middle_is_one_gap(proxy: TcpProxy, database: Any):
    """What came before it is told in order; it, Live and what comes after follow."""
    async with running(url_through(proxy)) as source:
        await take(source, 1)
        await database.execute(
            "insert into bridge.journal (relation, action, record)"
            " select 'public.t', 'INSERT', n::text || repeat('x', 5000) from generate_series(1, 5000) as n"
        )
        await eventually(lambda: proxy.passed_bytes > 1_000_000, timeout_s=20)
        proxy.cut()
        *before, gap = await take_until(source, Gap)
        live = (await take(source, 1))[0]
        id_ = await insert(database)
        after = (await take(source, 1))[0]

    numbers = [int(change.new["record"].rstrip("x")) for change in before]
    assert numbers == list(range(1, len(before) + 1))
    assert 0 < len(before) < 5000
    assert (gap, live, after.new["id"]) == (Gap(reason="upstream_disconnected"), Live(), id_)


async def test_a_frozen_connection_is_given_up_after_silence(proxy: TcpProxy, database: Any):
    """No FIN and no RST tell of it; and a thawed network brings it back."""
    with capture_logs() as logs:
        async with running(url_through(proxy), silence_s=0.5) as source:
            await take(source, 1)
            proxy.freeze()
            assert await take(source, 1, 3) == [Gap(reason="upstream_silent")]
            assert source.state == "down"
            proxy.thaw()
            assert await take(source, 1) == [Live()]
    assert "nothing came for 0.5 s" in next(e["reason"] for e in logs if e["event"] == "upstream_lost")
    await no_slots(database)


async def test_an_idle_connection_is_no_silence(proxy: TcpProxy, database: Any):
    """The server answers our statuses, whatever its own time-out."""
    async with running(url_through(proxy, "-c wal_sender_timeout=0"), silence_s=0.4) as source:
        await take(source, 1)
        with pytest.raises(TimeoutError):
            await take(source, 1, 1.5)
        assert proxy.connections == 1


async def test_a_slow_reader_is_waited_for_and_loses_nothing(proxy: TcpProxy, database: Any):
    """The queue is bounded, the rest waits in Postgres, which does not give us up."""
    url = url_through(proxy, "-c wal_sender_timeout=1s")
    async with running(url, queue_limit=100, queue_limit_bytes=10_000_000, silence_s=1.0) as source:
        await take(source, 1)
        await database.execute(
            "insert into bridge.journal (relation, action, record)"
            " select 'public.t', 'INSERT', n::text || repeat('x', 2000) from generate_series(1, 20000) as n"
        )
        await eventually(lambda: source.waiting == 100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                eventually(lambda: source.waiting != 100 or source.state != "live", timeout_s=9), 2.5
            )
        assert proxy.passed_bytes < 30_000_000
        changes = await take(source, 20_000, 30)

    assert [int(change.new["record"].rstrip("x")) for change in changes] == list(range(1, 20_001))
    assert proxy.connections == 1


async def test_the_size_of_what_waits_is_bounded_too(proxy: TcpProxy, database: Any):
    """One row may always wait, however large."""
    async with running(url_through(proxy), queue_limit_bytes=1_000_000) as source:
        await take(source, 1)
        for n in range(8):
            await insert(database, str(n) * 800_000)
        await eventually(lambda: source.waiting == 2)
        assert [change.new["record"][0] for change in await take(source, 8)] == list("01234567")


async def test_a_cancelled_source_leaves_no_socket_and_no_slot(server: EmbeddedPostgres, database: Any):
    """The slot is temporary, and the connection is closed before the task has ended."""
    before = sockets()
    async with running(server.url()) as source:
        await take(source, 1)
        assert await slots(database) == 2
        assert sockets() == before + 1
    assert sockets() == before
    await no_slots(database)


async def test_confirmed_wal_is_not_held(server: EmbeddedPostgres, database: Any):
    """What has arrived is confirmed within seconds, so that Postgres can remove it."""
    async with running(server.url(), silence_s=0.4) as source:
        await take(source, 1)
        for _ in range(5):
            await insert(database, "x" * 10_000)
        await take(source, 5)
        cursor = await database.execute("select pg_current_wal_lsn()::text")
        (now,) = await cursor.fetchone()
        async with asyncio.timeout(5):
            while True:
                cursor = await database.execute(
                    "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots", (now,)
                )
                if await cursor.fetchone() == (True,):
                    break
                await asyncio.sleep(0.02)


async def test_an_open_transaction_is_named_and_its_wait_can_be_cancelled(
    server: EmbeddedPostgres, database: Any, monkeypatch: pytest.MonkeyPatch
):
    """Postgres makes no slot before it ends; whoever leaves meanwhile leaves no walsender behind."""
    monkeypatch.setattr(slot_module, "WAITING_S", 0.05)
    with capture_logs() as logs:
        async with await psycopg.AsyncConnection.connect(server.url()) as writer:
            await insert(writer)
            async with running(server.url()):
                await eventually(lambda: any(entry["event"] == "upstream_waiting" for entry in logs))
            await no_slots(database)
            monkeypatch.setattr(slot_module, "SLOT_TIMEOUT_S", 0.2)
            async with running(server.url()) as source:
                await eventually(lambda: any("no slot within" in entry.get("reason", "") for entry in logs))
                await writer.commit()
                assert await take(source, 1) == [Live()]
    advice = next(entry["advice"] for entry in logs if entry["event"] == "upstream_waiting")
    assert "pg_stat_activity" in advice


async def reason(url: str, **settings: Any) -> tuple[str, str]:
    """What is logged of the first connection to fail, reason and advice."""
    with capture_logs() as logs:
        async with running(url, **settings) as source:
            await eventually(lambda: any(entry["event"] == "upstream_lost" for entry in logs), timeout_s=25)
            assert source.state == "down"
            assert source.waiting == 0
    assert "s3cret" not in str(logs)
    entry = next(entry for entry in logs if entry["event"] == "upstream_lost")
    return entry["reason"], entry["advice"]


async def test_what_is_missing_is_named_with_what_to_do(server: EmbeddedPostgres, database: Any):
    """Each refusal says how to end it, and never shows the password."""
    await database.execute("create role reader login password 's3cret'")
    await database.execute("create publication empty")
    await database.execute("create publication deletes for table bridge.journal with (publish = 'delete')")
    at = f"127.0.0.1:{server.port}"

    refusals = {
        "role": await reason(f"postgresql://reader:s3cret@{at}/postgres"),
        "absent": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication='o\'ther "x"'),
        "empty": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication="empty"),
        "deletes": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication="deletes"),
        "table": await reason(f"postgresql://postgres:s3cret@{at}/template1"),
        "database": await reason(f"postgresql://postgres:s3cret@{at}/nowhere"),
        "port": await reason("postgresql://postgres:s3cret@127.0.0.1:1/postgres"),
        "url": await reason("postgresql://postgres:s3cret@x@y:z/postgres"),
        "host": await reason("postgresql://postgres:s3cret@no.such.host.invalid/postgres"),
    }

    expected = {
        "role": ("permission denied to start WAL sender", "with replication"),
        "absent": ('publication o\'ther "x" does not exist', "migrate"),
        "empty": ("does not have bridge.journal", "alter publication empty add table bridge.journal"),
        "deletes": ("does not publish inserts", "alter publication deletes set"),
        "table": ("no table bridge.journal", "migrate"),
        "database": ("does not exist", "SUPABASE_DB_URL"),
        "port": ("refused", "does Postgres run"),
        "url": ("no connection string", "%40"),
        "host": ("no.such.host.invalid", "name a host"),
    }
    for name, (what, todo) in expected.items():
        assert what in refusals[name][0], (name, refusals[name])
        assert todo in refusals[name][1], (name, refusals[name])
    await database.execute("drop role reader")


async def test_a_server_that_cannot_replicate_says_so(monkeypatch: pytest.MonkeyPatch):
    """No free slot, and then no logical WAL at all."""
    monkeypatch.setitem(postgres_module._SETTINGS, "max_replication_slots", "1")
    own = EmbeddedPostgres()
    await asyncio.to_thread(own.start)
    try:
        await asyncio.to_thread(prepare, own)
        async with await psycopg.AsyncConnection.connect(own.url(), autocommit=True) as connection:
            await connection.execute("select pg_create_physical_replication_slot('taken')")
            what, todo = await reason(own.url())
            assert "all replication slots are in use" in what
            assert "max_replication_slots" in todo
            await connection.execute("select pg_drop_replication_slot('taken')")
        monkeypatch.setitem(postgres_module._SETTINGS, "wal_level", "replica")
        await asyncio.to_thread(own.restart)
        assert await reason(own.url()) == (
            "wal_level is replica, not logical",
            "set wal_level = logical and restart Postgres; hosted Supabase has it so",
        )
    finally:
        await asyncio.to_thread(own.stop)


async def test_a_pooler_that_ignores_replication_is_recognized(database: Any):
    """Supavisor gives an ordinary connection, to which our first command is a syntax error."""
    with pytest.raises(psycopg.errors.SyntaxError) as caught:
        await database.execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")

    assert explain(str(caught.value)).advice == POOLER


async def test_a_database_that_is_away_at_first_is_tried_until_it_is_there(proxy: TcpProxy):
    """As Realtime being away; attempts are counted."""
    proxy.refusing = True
    with capture_logs() as logs:
        async with running(url_through(proxy)) as source:
            await eventually(lambda: proxy.connections > 3, timeout_s=10)
            proxy.refusing = False
            assert await take(source, 1) == [Live()]
    attempts = [entry["attempt"] for entry in logs if entry["event"] == "upstream_lost"]
    assert attempts == list(range(1, len(attempts) + 1))
    assert len(attempts) >= 3
