"""The journal by logical replication, from a real Postgres."""

import asyncio
from typing import Any

import psycopg

from bridge.capture import RealtimeSource
from bridge.capture.journal_rows import streamed_row
from bridge.clock import SystemClock
from bridge.events import Change, Live
from bridge.journal import JournalRow
from bridge.local.postgres import EmbeddedPostgres
from bridge.local.stack import LocalStack
from tests.support.wal import (
    insert,
    running,
    take,
)


async def test_a_change_is_what_realtime_makes_of_it(stack: LocalStack):
    """The two transports differ in nothing but the time of arrival."""
    realtime = RealtimeSource(
        url=stack.url,
        token=lambda: stack.service_role_key,
        tables=["bridge.journal"],
        primary_key=lambda _table: ("id",),
        read_columns=lambda _table: (),
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
                assert [await realtime.next_event(), await wal.next_or_woken()] == [Live(), Live()]
                async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
                    await connection.execute(
                        "insert into bridge.journal (relation, action, record, old_record) values"
                        " ('public.t', 'UPDATE', '{\"n\": 1.50, \"s\": \"é\\n\"}', '{}'), ('public.t', 'DELETE', null, '{}')"
                    )
                for _ in range(2):
                    theirs, ours = await realtime.next_event(), await wal.next_or_woken()
                    assert isinstance(theirs, Change)
                    assert isinstance(ours, JournalRow)
                    row = streamed_row(theirs)
                    told = ("id", "relation", "action", "record", "old_record", "recorded_at", "txid")
                    assert [getattr(ours, n) for n in told] == [getattr(row, n) for n in told]
        finally:
            task.cancel()


async def test_changes_come_in_the_order_of_their_commits(journal_server: EmbeddedPostgres, database: Any):
    """A smaller id that is committed later comes later."""
    async with (
        running(journal_server.url()) as source,
        await psycopg.AsyncConnection.connect(journal_server.url()) as early,
    ):
        assert await take(source, 1) == [Live()]
        first = await insert(early)
        second = await insert(database)
        await early.commit()

        assert [change.id for change in await take(source, 2)] == [second, first]
        assert source.state == "live"


async def test_what_was_committed_before_live_is_not_told(journal_server: EmbeddedPostgres, database: Any):
    """The stream starts at the present; the past is the journal's to tell."""
    await insert(database)
    async with running(journal_server.url()) as source:
        assert await take(source, 1) == [Live()]
        id_ = await insert(database)
        assert (await take(source, 1))[0].id == id_


async def test_a_transaction_of_40000_rows_arrives_whole(journal_server: EmbeddedPostgres, database: Any):
    """With one commit timestamp, in order."""
    async with running(journal_server.url()) as source:
        await take(source, 1)
        await database.execute(
            "insert into bridge.journal (relation, action, record)"
            " select 'public.t', 'INSERT', n::text from generate_series(1, 40000) as n"
        )
        changes = await take(source, 40_000, 60)

    assert [change.record for change in changes] == [str(n) for n in range(1, 40_001)]
    assert len({change.recorded_at for change in changes}) == 1


async def test_rows_of_several_megabytes_arrive_whole(journal_server: EmbeddedPostgres, database: Any):
    """There is no limit as Realtime's."""
    record = "é" * 3_000_000
    async with running(journal_server.url()) as source:
        await take(source, 1)
        await insert(database, record)
        await insert(database, "after")

        changes = await take(source, 2)
    assert [change.record for change in changes] == [record, "after"]


async def test_other_tables_and_actions_are_skipped(journal_server: EmbeddedPostgres, database: Any):
    """A publication that is shared, and rows that are pruned, cost reading only."""
    await database.execute("create table public.noise (id bigint primary key, body text)")
    await database.execute("create publication noisy for table public.noise, bridge.journal")
    async with running(journal_server.url(), publication="noisy") as source:
        await take(source, 1)
        await database.execute("insert into public.noise select n, 'x' from generate_series(1, 1000) as n")
        await database.execute("delete from bridge.journal")
        await database.execute("truncate public.noise")
        id_ = await insert(database)

        assert (await take(source, 1))[0].id == id_


async def test_confirmed_wal_is_not_held(journal_server: EmbeddedPostgres, database: Any):
    """What has arrived is confirmed within seconds, so that Postgres can remove it."""
    async with running(journal_server.url(), silence_s=0.4) as source:
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
