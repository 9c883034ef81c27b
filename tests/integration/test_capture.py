"""The supervised source against a Realtime that misbehaves, and against the local stack."""

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import structlog

from bridge import metrics
from bridge.capture import RealtimeSource
from bridge.clock import SystemClock
from bridge.errors import RpcError
from bridge.events import Change, Gap, Live, Row
from bridge.local.stack import LocalStack
from bridge.minting import mint_token
from bridge.rpc import ProjectRpc
from tests.support.fake_realtime import FakeRealtime, eventually, fake_realtime

SECRET = "s" * 32


async def _no_row(_table: str, _key: Row) -> Row | None:
    return None


@contextlib.asynccontextmanager
async def _source(
    url: str,
    *,
    token: Callable[[], str] = lambda: "key",
    tables: tuple[str, ...] = ("public.t",),
    read_row: Any = _no_row,
    **settings: Any,
) -> AsyncIterator[RealtimeSource]:
    source = RealtimeSource(
        url=url,
        token=token,
        tables=tables,
        primary_key=lambda table: ("dialog_id", "user_id") if "participants" in table else ("id",),
        read_columns=lambda _table: ("price", "code"),
        read_row=read_row,
        clock=SystemClock(),
        random=lambda: 0.5,
        **settings,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run())
        try:
            yield source
        finally:
            running.cancel()


async def _next(source: RealtimeSource, timeout_s: float = 10) -> Any:
    async with asyncio.timeout(timeout_s):
        return await source.next_event()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRealtime]:
    """A Realtime that does as it is told."""
    async with fake_realtime() as running:
        yield running


async def test_live_is_what_the_system_message_says(fake: FakeRealtime):
    """The reply to the join means nothing: no Live until `Subscribed to PostgreSQL`."""
    fake.answers_joins = False
    async with _source(fake.url) as source:
        await eventually(lambda: fake.joins)
        with pytest.raises(TimeoutError):
            await _next(source, 0.3)
        assert source.state == "down"
        await fake.system("ok", "Subscribed to PostgreSQL")
        assert isinstance(await _next(source), Live)
        await fake.change()
        assert (await _next(source)).new == {"id": 1}
    assert fake.joins[0]["config"]["postgres_changes"][0]["table"] == "t"


async def _cut(fake: FakeRealtime) -> None:
    fake.sockets[-1].transport.abort()


async def _close(fake: FakeRealtime) -> None:
    await fake.sockets[-1].close(1000)


async def _system_error(fake: FakeRealtime) -> None:
    await fake.system("error", "Unable to subscribe to changes with given parameters.")


async def _phx_close(fake: FakeRealtime) -> None:
    await fake.send({"event": "phx_close", "payload": {}, "ref": "1", "topic": "realtime:bridge"})


async def _huge(fake: FakeRealtime) -> None:
    await fake.change(record={"id": 1, "blob": "x" * (17 * 1024 * 1024)})


@pytest.mark.parametrize(
    ("mishap", "reason"),
    [
        (_cut, "upstream_disconnected"),
        (_close, "upstream_disconnected"),
        (_system_error, "upstream_restarted"),
        (_phx_close, "upstream_restarted"),
        (_huge, "upstream_disconnected"),
    ],
)
async def test_every_loss_is_a_gap_and_then_live_again(fake: FakeRealtime, mishap: Any, reason: str):
    """The client is rebuilt, at once, whatever happened to it."""
    async with _source(fake.url) as source:
        assert isinstance(await _next(source), Live)
        await mishap(fake)
        assert await _next(source) == Gap(reason=reason)  # type: ignore[arg-type]
        assert isinstance(await _next(source), Live)
        await fake.change(record={"id": 2})
        assert (await _next(source)).new == {"id": 2}


async def test_silence_is_a_loss(fake: FakeRealtime):
    """A socket that is open and says nothing, not even to heartbeats, is given up."""
    async with _source(fake.url, silence_s=1.0) as source:
        assert isinstance(await _next(source), Live)
        fake.answers_heartbeats = False
        assert await _next(source) == Gap(reason="upstream_silent")
        assert isinstance(await _next(source), Live)
        assert fake.heartbeats >= 1


async def test_frames_that_nobody_understands_are_counted_and_skipped(fake: FakeRealtime):
    """Garbage, an unknown event, a table without a key: the listener lives on, the log quotes nothing."""
    before = metrics.FRAMES_SKIPPED.labels("undecodable")._value.get()
    with structlog.testing.capture_logs() as logged:
        async with _source(fake.url) as source:
            assert isinstance(await _next(source), Live)
            await fake.send("{canary-1")
            await fake.send(
                {
                    "event": "presence_state",
                    "payload": {"canary-2": []},
                    "ref": None,
                    "topic": "realtime:bridge",
                }
            )
            await fake.change(type="canary-3")
            await fake.change(
                columns=[],
                commit_timestamp=None,
                record={},
                errors=["Error 400: Bad Request, no primary key"],
            )
            await fake.change(record={"id": 7})
            assert (await _next(source)).new == {"id": 7}
    assert metrics.FRAMES_SKIPPED.labels("undecodable")._value.get() == before + 3
    said = " ".join(str(entry) for entry in logged)
    assert "canary-1" not in said
    assert "canary-2" not in said
    assert "public.t has no primary key" in said


async def test_no_logger_of_the_package_shows_a_frame(fake: FakeRealtime, caplog: pytest.LogCaptureFixture):
    """At debug level for every logger of the standard library, a row and the key leave no trace."""
    with caplog.at_level(logging.DEBUG):
        async with _source(fake.url, token=lambda: "canary-key") as source:
            assert isinstance(await _next(source), Live)
            await fake.change(record={"id": 1, "body": "canary-row"})
            await _next(source)
            await fake.send(
                {
                    "event": "postgres_changes",
                    "payload": "canary-frame",
                    "ref": None,
                    "topic": "realtime:bridge",
                }
            )
            await _cut(fake)
            await _next(source)
    ours = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("websockets.server"))
    for canary in ("canary-row", "canary-frame"):
        assert canary not in ours


async def test_an_overflow_is_a_gap_in_place_of_what_waited(fake: FakeRealtime):
    """Memory stays bounded: what nobody takes is dropped, said, and the source joins again."""
    async with _source(fake.url, queue_limit=10) as source:
        await eventually(lambda: source.state == "live")
        for n in range(12):
            await fake.change(record={"id": n})
        await eventually(lambda: len(fake.joins) == 2)
        assert await _next(source) == Gap(reason="queue_overflow")
        assert isinstance(await _next(source), Live)


async def test_other_tables_are_joined_anew(fake: FakeRealtime):
    """`set_tables` leaves and joins: Gap, Live; the same tables again change nothing."""
    async with _source(fake.url) as source:
        assert isinstance(await _next(source), Live)
        source.set_tables(["public.t"])
        source.set_tables(["public.t", "public.u"])
        assert await _next(source) == Gap(reason="tables_changed")
        assert isinstance(await _next(source), Live)
        assert [b["table"] for b in fake.joins[-1]["config"]["postgres_changes"]] == ["t", "u"]


async def test_a_token_is_refreshed_before_it_expires_without_a_gap(fake: FakeRealtime):
    """A new token is sent ahead of `exp`; the stream goes on."""
    lifetimes = iter([3, 3600])
    minted: list[str] = []

    def token() -> str:
        ttl_s = next(lifetimes)
        now = dt.datetime.now(dt.UTC)
        minted.append(mint_token(SECRET, user_id=None, role="service_role", ttl_s=ttl_s, now=now))
        return minted[-1]

    async with _source(fake.url, token=token) as source:
        assert isinstance(await _next(source), Live)
        await eventually(lambda: fake.tokens == [minted[1]] if len(minted) > 1 else False, timeout_s=5)
        await fake.change()
        assert isinstance(await _next(source), Change)
        assert len(fake.joins) == 1


async def test_a_row_that_cannot_be_read_again_is_a_gap(fake: FakeRealtime):
    """The change would be lost: it is said, and everything is read anew."""

    async def failing(_table: str, _key: Row) -> Row | None:
        raise RpcError("the project is away: try again")

    async with _source(fake.url, read_row=failing) as source:
        assert isinstance(await _next(source), Live)
        await fake.change(record={"id": 1}, errors=["Error 413: Payload Too Large"])
        assert await _next(source, 20) == Gap(reason="row_unreadable")


async def test_a_row_that_is_gone_is_skipped(fake: FakeRealtime):
    """Its DELETE will follow; the changes after it come."""
    async with _source(fake.url) as source:
        assert isinstance(await _next(source), Live)
        await fake.change(record={"id": 1}, errors=["Error 413: Payload Too Large"])
        await fake.change(record={"id": 2})
        assert (await _next(source)).new == {"id": 2}


async def test_what_upstream_does_not_tell_is_read_again_where_policies_read_it(fake: FakeRealtime):
    """A number that is no JSON, a text of fixed length; of the old row it stays out.  Bytes are written as Postgres does."""
    asked: list[Row] = []

    async def read(_table: str, key: Row) -> Row | None:
        asked.append(key)
        return {"id": 1, "price": "NaN", "code": "ch   ", "tax": None, "hash": "\\x00ff"}

    types = {"id": "int4", "price": "numeric", "code": "bpchar", "tax": "numeric", "hash": "bytea"}
    columns = [{"name": name, "type": type_} for name, type_ in types.items()]
    told = {"id": 1, "price": 1, "code": None, "tax": None, "hash": "00ff"}
    async with _source(fake.url, read_row=read) as source:
        assert isinstance(await _next(source), Live)
        await fake.change(columns=columns, record=told)
        assert (await _next(source)).new == {**told, "hash": "\\x00ff"}
        assert asked == []

        await fake.change(columns=columns, record={**told, "price": None})
        assert (await _next(source)).new["price"] == "NaN"
        await fake.change(
            columns=columns, type="UPDATE", record={**told, "code": "c"}, old_record={**told, "price": None}
        )
        change = await _next(source)
        assert (change.new["code"], change.old) == (
            "ch   ",
            {"id": 1, "code": None, "tax": None, "hash": "\\x00ff"},
        )
        assert asked == [{"id": 1}] * 2
        await fake.change(columns=columns, type="DELETE", record=None, old_record={**told, "code": "c"})
        assert "code" not in (await _next(source)).old


@contextlib.asynccontextmanager
async def _real(stack: LocalStack, *tables: str) -> AsyncIterator[tuple[RealtimeSource, Any]]:
    rpc = await ProjectRpc.connect(stack.url, stack.service_role_key)
    try:
        async with (
            await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db,
            _source(
                stack.url, token=lambda: stack.service_role_key, tables=tables, read_row=rpc.row
            ) as source,
        ):
            for table in tables:
                await db.execute(f"drop table if exists {table}")
                await db.execute(
                    f"create table {table} (id int primary key, big bigint, exact numeric, body text, n int)"
                )
                await db.execute("select public.bridge_publish(%s)", (table,))
            assert isinstance(await _next(source, 20), Live)
            yield source, db
    finally:
        await rpc.close()


async def test_rows_arrive_whole_and_exact(stack: LocalStack):
    """Large integers and numerics keep their digits; a 2 MB value, and one that an UPDATE did not touch, are read again."""
    async with _real(stack, "public.wide") as (source, db):
        await db.execute(
            "insert into public.wide values (1, 9007199254740993, 0.1234567890123456789012, 'x', 1)"
        )
        change = await _next(source)
        assert (change.action, change.new["big"]) == ("INSERT", 9007199254740993)
        assert change.new["exact"] == Decimal("0.1234567890123456789012")
        blob = "(select string_agg(md5(g::text), '') from generate_series(1, 64000) g)"
        await db.execute(f"insert into public.wide values (2, 1, 1.5, {blob}, 1)")
        change = await _next(source)
        assert (len(change.new["body"]), change.new["exact"]) == (2_048_000, 1.5)
        await db.execute(f"insert into public.wide values (3, 1, 1.5, left({blob}, 700000), 1)")
        assert len((await _next(source)).new["body"]) == 700_000
        await db.execute("update public.wide set n = 2 where id = 3")
        change = await _next(source)
        assert (change.action, change.new["n"], len(change.new["body"]), change.old) == (
            "UPDATE",
            2,
            700_000,
            {"id": 3},
        )
        await db.execute("alter table public.wide replica identity full")
        await db.execute("update public.wide set n = 3 where id = 3")
        change = await _next(source)
        assert (change.new["n"], change.old["n"], len(change.new["body"])) == (3, 2, 700_000)
        await db.execute("delete from public.wide where id = 2")
        change = await _next(source)
        assert (change.action, change.new, change.old["id"]) == ("DELETE", None, 2)


async def test_a_killed_api_is_live_again_within_five_seconds(stack: LocalStack):
    """Killed, back after a moment on the same port: Gap, Live, and changes again."""
    async with _real(stack, "public.killed") as (source, db):
        stack.kill_api()
        assert await _next(source) == Gap(reason="upstream_disconnected")
        await stack.start_api()
        assert isinstance(await _next(source, 5), Live)
        await db.execute("insert into public.killed (id) values (1)")
        assert (await _next(source)).new["id"] == 1


async def test_postgres_restarting_does_not_end_it(stack: LocalStack):
    """Realtime stays, its database goes and comes: the source stays live or comes back, and changes arrive."""
    async with _real(stack, "public.restarted") as (source, _db):
        await stack.restart_postgres()
        async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as again:
            async with asyncio.timeout(20):
                n = 0
                while True:  # what is written before Realtime has a slot again is lost, as with the real one
                    n += 1
                    await again.execute("insert into public.restarted (id) values (%s)", (n,))
                    with contextlib.suppress(TimeoutError):
                        if isinstance(await _next(source, 0.5), Change):
                            break


async def test_a_wrong_key_is_said_and_tried_again(stack: LocalStack):
    """HTTP 401 at the handshake: a log line with what to do, without the key, and another attempt."""
    with structlog.testing.capture_logs() as logged:
        async with _source(stack.url, token=lambda: "canary-key") as source:
            await eventually(lambda: sum(e["event"] == "upstream_lost" for e in logged) >= 2, timeout_s=10)
            assert source.state == "down"
    lost = [e for e in logged if e["event"] == "upstream_lost"]
    assert "the key does not belong to this project" in lost[0]["reason"]
    assert "canary-key" not in str(logged)
