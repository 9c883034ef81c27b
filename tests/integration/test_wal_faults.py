"""The WAL transport under faults: restarts, cuts, silence, a slow reader, an open transaction."""

import asyncio
from typing import Any

import psycopg
import pytest
import uvloop
from structlog.testing import capture_logs

from bridge.bench.proxy import TcpProxy, tcp_proxy
from bridge.capture import slot as slot_module
from bridge.events import Gap, Live
from bridge.local.postgres import EmbeddedPostgres
from tests.support.fake_realtime import eventually
from tests.support.wal import (
    insert,
    journal_postgres,
    no_slots,
    running,
    slots,
    sockets,
    take,
    take_until,
    url_through,
)


async def test_a_server_that_restarts_is_a_gap_and_then_live(database: Any):
    """Nothing lies between the Gap and the next Live, whatever was committed meanwhile."""
    with journal_postgres() as own:
        with capture_logs() as logs:
            async with running(own.url()) as source:
                await take(source, 1)
                await asyncio.to_thread(own.restart)
                assert await take(source, 2) == [Gap(reason="upstream_restarted"), Live()]
                async with await psycopg.AsyncConnection.connect(own.url(), autocommit=True) as connection:
                    id_ = await insert(connection)
                assert (await take(source, 1))[0].id == id_
        lost = [entry for entry in logs if entry["event"] == "upstream_lost"]
        assert lost
        assert all(entry["reason"] and entry["advice"] for entry in lost)


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

    numbers = [int(change.record.rstrip("x")) for change in before]
    assert numbers == list(range(1, len(before) + 1))
    assert 0 < len(before) < 5000
    assert (gap, live, after.id) == (Gap(reason="upstream_disconnected"), Live(), id_)


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

    assert [int(change.record.rstrip("x")) for change in changes] == list(range(1, 20_001))
    assert proxy.connections == 1


async def test_the_size_of_what_waits_is_bounded_too(proxy: TcpProxy, database: Any):
    """One row may always wait, however large."""
    async with running(url_through(proxy), queue_limit_bytes=1_000_000) as source:
        await take(source, 1)
        for n in range(8):
            await insert(database, str(n) * 800_000)
        await eventually(lambda: source.waiting == 2)
        assert [change.record[0] for change in await take(source, 8)] == list("01234567")


async def test_a_cancelled_source_leaves_no_socket_and_no_slot(
    journal_server: EmbeddedPostgres, database: Any
):
    """The slot is temporary, and the connection is closed before the task has ended."""
    before = sockets()
    async with running(journal_server.url()) as source:
        await take(source, 1)
        assert await slots(database) == 2
        assert sockets() == before + 1
    assert sockets() == before
    await no_slots(database)


async def test_an_open_transaction_is_named_and_its_wait_can_be_cancelled(
    journal_server: EmbeddedPostgres, database: Any, monkeypatch: pytest.MonkeyPatch
):
    """Postgres makes no slot before it ends; whoever leaves meanwhile leaves no walsender behind."""
    monkeypatch.setattr(slot_module, "WAITING_S", 0.05)
    with capture_logs() as logs:
        async with await psycopg.AsyncConnection.connect(journal_server.url()) as writer:
            await insert(writer)
            async with running(journal_server.url()):
                await eventually(lambda: any(entry["event"] == "upstream_waiting" for entry in logs))
            await no_slots(database)
            monkeypatch.setattr(slot_module, "SLOT_TIMEOUT_S", 0.2)
            async with running(journal_server.url()) as source:
                await eventually(lambda: any("no slot within" in entry.get("reason", "") for entry in logs))
                await writer.commit()
                assert await take(source, 1) == [Live()]
    advice = next(entry["advice"] for entry in logs if entry["event"] == "upstream_waiting")
    assert "pg_stat_activity" in advice


async def test_a_database_that_is_away_at_first_is_tried_until_it_is_there(proxy: TcpProxy):
    """As Realtime being away; attempts are counted, and what is the same is not said each time."""
    proxy.refusing, before = True, proxy.connections
    with capture_logs() as logs:
        async with running(url_through(proxy)) as source:
            await eventually(lambda: proxy.connections > before + 3, timeout_s=10)
            proxy.refusing = False
            assert await take(source, 1) == [Live()]
    attempts = [entry["attempt"] for entry in logs if entry["event"] == "upstream_lost"]
    assert attempts[0] == 1
    assert len(attempts) <= 3 < proxy.connections - before


def test_production_s_loop_is_served_as_well(journal_server: EmbeddedPostgres):
    """Uvloop takes a socket that libpq has closed under it differently from asyncio."""

    async def scenario() -> None:
        async with (
            tcp_proxy("127.0.0.1", journal_server.port) as proxy,
            await psycopg.AsyncConnection.connect(journal_server.url(), autocommit=True) as database,
        ):
            before = sockets()
            await test_a_cut_in_the_middle_is_one_gap(proxy, database)
            await test_a_frozen_connection_is_given_up_after_silence(proxy, database)
            await test_a_database_that_is_away_at_first_is_tried_until_it_is_there(proxy)
            async with running(url_through(proxy)) as source:
                await take(source, 1)
                for _ in range(10):
                    proxy.cut()
                    assert await take(source, 2) == [Gap(reason="upstream_disconnected"), Live()]
            await no_slots(database)
            await eventually(lambda: sockets() == before)

    uvloop.run(scenario())
