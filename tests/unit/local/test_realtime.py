"""The local Realtime beyond the recordings: life cycle, outages, schema changes, speed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge.local.realtime import SUBSCRIBED, Timing
from bridge.local.stack import LocalStack
from tests.support.stack import QUICK, local_stack

ANN, BOB = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
SCHEMA = b"""
drop table if exists public.notes, public.other;
create table public.notes (id bigint primary key, owner uuid, body text);
create table public.other (id bigint primary key);
alter table public.notes enable row level security;
create policy own on public.notes for select to authenticated using (owner = (select auth.uid()));
alter publication supabase_realtime set table public.notes;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalStack]:
    """A stack without migrations."""
    with local_stack(migrations=False) as stack:
        yield stack


@pytest.fixture
async def database(server: LocalStack) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection in autocommit mode to a schema of two tables, one of them published."""
    async with await psycopg.AsyncConnection.connect(server.database_url, autocommit=True) as connection:
        await connection.execute(SCHEMA)
        yield connection


def address(stack: LocalStack) -> str:
    """Where the socket is opened, with the service role's key."""
    return (
        f"{stack.url.replace('http', 'ws')}/realtime/v1/websocket?vsn=1.0.0&apikey={stack.service_role_key}"
    )


async def receive(socket: ClientConnection) -> dict[str, Any]:
    """Return the next frame."""
    async with asyncio.timeout(10):
        frame: dict[str, Any] = json.loads(await socket.recv())
        return frame


async def change(socket: ClientConnection) -> dict[str, Any]:
    """Return what the next frame says of a change."""
    frame = await receive(socket)
    assert frame["event"] == "postgres_changes", frame
    data: dict[str, Any] = frame["payload"]["data"]
    return data


@asynccontextmanager
async def subscriber(stack: LocalStack, token: str | None = None) -> AsyncIterator[ClientConnection]:
    """A client that has joined and is live, for all changes of schema public."""
    async with connect(address(stack), max_size=None, compression=None) as socket:
        payload: dict[str, Any] = {"config": {"postgres_changes": [{"event": "*", "schema": "public"}]}}
        if token is not None:
            payload["access_token"] = token
        join = {"topic": "realtime:x", "event": "phx_join", "payload": payload, "ref": "1", "join_ref": "1"}
        await socket.send(json.dumps(join))
        assert (await receive(socket))["payload"]["status"] == "ok"
        assert (await receive(socket))["payload"]["message"] == SUBSCRIBED
        yield socket


async def insert(database: psycopg.AsyncConnection[Any], id_: int, owner: str | None = None) -> None:
    """Write a note."""
    await database.execute("insert into public.notes values (%s, %s, 'x')", (id_, owner))


async def test_a_channel_without_a_token_has_that_of_its_socket(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Here the service role's, which sees every row."""
    async with subscriber(server) as socket:
        await insert(database, 1)

        assert (await change(socket))["record"] == {"id": 1, "owner": None, "body": "x"}


async def test_each_subscriber_gets_the_rows_its_policies_show(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Two users and the service role at once; a DELETE goes to all, with the key only."""
    async with (
        subscriber(server, server.token(ANN)) as ann,
        subscriber(server, server.token(BOB)) as bob,
        subscriber(server) as service,
    ):
        await insert(database, 1, ANN)
        await insert(database, 2, BOB)
        assert [(await change(service))["record"]["id"] for _ in range(2)] == [1, 2]
        assert (await change(ann))["record"]["id"] == 1
        assert (await change(bob))["record"]["id"] == 2

        await database.execute("delete from public.notes where id = 1")
        for socket in (ann, bob, service):
            deleted = await change(socket)
            assert (deleted["type"], deleted["old_record"]) == ("DELETE", {"id": 1})


async def test_values_that_do_not_survive_the_trip(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Realtime casts each text to the type's name, which is one of length 1 for char(n) and bit(n)."""
    await database.execute(
        "create table public.odd (id int primary key, code char(5), codes char(2)[], bits bit(3), hash bytea,"
        " hashes bytea[], num numeric, nums numeric[], data jsonb, js json)"
    )
    await database.execute("alter publication supabase_realtime add table public.odd")
    try:
        async with subscriber(server) as socket:
            await database.execute(
                "insert into public.odd values (1, 'ch', '{ab,NULL}', '101', '\\xdead', '{\"\\\\xdead\"}',"
                " 'NaN', '{NaN,1.50}', 'null', 'null')"
            )
            assert (await change(socket))["record"] == {
                "id": 1,
                "code": "c",
                "codes": ["a", None],
                "bits": "1",
                "hash": "dead",
                "hashes": ["\\xdead"],
                "num": None,
                "nums": ["NaN", 1.5],
                "data": None,
                "js": None,
            }
    finally:
        await database.execute("drop table public.odd")


async def test_what_is_no_message_is_ignored(server: LocalStack, database: psycopg.AsyncConnection[Any]):
    """Garbage, a binary frame, a heartbeat of nobody's: the socket lives on."""
    async with subscriber(server) as socket:
        for frame in ("", "{", "[1]", b"\x00\xff", '{"topic":"realtime:x"}'):
            await socket.send(frame)
        await insert(database, 1)

        assert (await change(socket))["record"]["id"] == 1


async def test_a_table_that_joins_or_leaves_the_publication_is_noticed(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Without a new join."""
    async with subscriber(server) as socket:
        await database.execute("insert into public.other values (1)")  # not published yet
        await database.execute("alter publication supabase_realtime add table public.other")
        await database.execute("insert into public.other values (2)")
        assert (await change(socket))["record"] == {"id": 2}

        await database.execute("alter publication supabase_realtime drop table public.other")
        await database.execute("insert into public.other values (3)")
        await insert(database, 4)
        assert (await change(socket))["record"]["id"] == 4


async def test_a_table_may_change_its_columns_between_two_polls(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """A row has the columns that it was written with and that are still there."""
    async with subscriber(server) as socket:
        await database.execute(
            "begin; insert into public.notes values (1, null, 'a'); alter table public.notes drop column body;"
            " alter table public.notes add column n int; insert into public.notes values (2, null, 3); commit"
        )

        assert (await change(socket))["record"] == {"id": 1, "owner": None}
        assert (await change(socket))["record"] == {"id": 2, "owner": None, "n": 3}


async def test_a_table_may_vanish_between_two_polls(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Its changes vanish with it, those of others arrive."""
    async with subscriber(server) as socket:
        await database.execute("alter publication supabase_realtime add table public.other")
        await database.execute("begin; insert into public.other values (1); drop table public.other; commit")
        await insert(database, 2)

        assert (await change(socket))["record"]["id"] == 2


async def test_values_that_need_quoting_arrive_as_they_are(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Quotes, backslashes, commas, parentheses, blanks, nothing at all."""
    bodies = ['"', "\\", '\\"', ",", "(a,b)", " x ", "", "\n\t", "é😀", "{}", "null"]
    async with subscriber(server) as socket:
        for id_, body in enumerate(bodies):
            await database.execute("insert into public.notes values (%s, null, %s)", (id_, body))

        assert [(await change(socket))["record"]["body"] for _ in bodies] == bodies


async def test_a_silent_socket_is_closed():
    """Without a heartbeat, after 66 s at a real server: code 1000; with one it stays."""
    timing = Timing(poll_s=0.02, heartbeat_s=0.5)
    async with (
        LocalStack(timing=timing) as stack,
        connect(address(stack)) as silent,
        connect(address(stack)) as lively,
    ):
        heartbeat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}
        async with asyncio.timeout(10):
            closing = asyncio.ensure_future(silent.wait_closed())
            while not closing.done():
                await lively.send(json.dumps(heartbeat))
                assert (await receive(lively))["payload"] == {"response": {}, "status": "ok"}
                await asyncio.wait([closing], timeout=0.1)

        assert silent.close_code == 1000
        await lively.send(json.dumps(heartbeat))
        assert (await receive(lively))["ref"] == "1"


async def test_a_restart_of_postgres_ends_no_subscription(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """What is written while the server is away may be lost, what is written later arrives."""
    async with subscriber(server) as socket:
        await database.close()
        await server.restart_postgres()
        async with await psycopg.AsyncConnection.connect(server.database_url, autocommit=True) as again:
            received = asyncio.ensure_future(change(socket))
            id_ = 0
            async with asyncio.timeout(10):
                while not received.done():
                    id_ += 1
                    await insert(again, id_)
                    await asyncio.wait([received], timeout=0.1)

        assert (await received)["record"]["id"] <= id_


async def test_the_api_comes_back_where_it_was(server: LocalStack, database: psycopg.AsyncConnection[Any]):
    """Killed, it drops its sockets; started again, it answers on the same port."""
    url, pid = server.url, server.api_pid
    async with subscriber(server) as socket:
        await asyncio.to_thread(server.kill_api)
        with pytest.raises(ConnectionClosed):
            await receive(socket)
    assert server.api_pid is None

    await server.start_api()

    assert server.url == url
    assert server.api_pid not in (None, pid)
    async with subscriber(server) as socket:
        await insert(database, 1)
        assert (await change(socket))["record"]["id"] == 1


async def test_one_subscriber_gets_thousands_of_changes_at_once(
    server: LocalStack, database: psycopg.AsyncConnection[Any]
):
    """Of a table with policies, in commit order, none missing."""
    rows, at_once = 8_000, 100
    async with subscriber(server) as socket, asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_ids(socket, rows))
        for first in range(0, rows, at_once):
            await database.execute(
                "insert into public.notes select g, null, repeat('x', 100)"
                " from generate_series(%s::int, %s::int) as g",
                (first, first + at_once - 1),
            )

    assert reading.result() == list(range(rows))


async def _ids(socket: ClientConnection, count: int) -> list[int]:
    async with asyncio.timeout(30):
        return [json.loads(await socket.recv())["payload"]["data"]["record"]["id"] for _ in range(count)]


def test_tests_wait_less_than_users_do():
    """Every delay of a real server is there, and shorter in tests."""
    real = Timing()

    assert (real.poll_s, real.refused_join_s, real.refused_apikey_s, real.heartbeat_s) == (
        0.1,
        5.0,
        2.0,
        66.0,
    )
    assert QUICK.poll_s < real.poll_s
    assert QUICK.refused_join_s < real.refused_join_s
