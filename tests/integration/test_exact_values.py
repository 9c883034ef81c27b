"""Values that Realtime does not tell as the table has them: nobody is shown a row that only another value would show."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from bridge.local.stack import LocalStack
from tests.support.clients import Client, websocket_client
from tests.support.stack import local_stack, migrate
from tests.support.worker import running_worker

# What a policy says of a value, and the value: each is true of it, and not of what arrives.
TOLD = {
    "NaN": ("price is not null", "price", "NaN"),
    "NaN, asked": ("price::text = 'NaN'", "price", "NaN"),
    "infinity": ("price > 5", "price", "Infinity"),
    "a float's infinity": ("score is not null", "score", "-Infinity"),
    "a text of fixed length": ("code = 'ch'", "code", "ch"),
    "bits": ("bits = '101'", "bits", "101"),
    "bytes": ("hash = '\\xdeadbeef'", "hash", "\\xdeadbeef"),
    "the null of json": ("js is not null", "js", "null"),
    "the null of jsonb": ("data is not null", "data", "null"),
    "the text of json": ('js::text = \'{"b":1,  "a":2}\'', "js", '{"b":1,  "a":2}'),
    "the first position": ("ints[0] = 1", "ints", "[0:1]={1,2}"),
}
SHOWN, HIDDEN = ([f"public.{kind}_{n}" for n in range(len(TOLD))] for kind in ("shown", "hidden"))


def of_a_case(table: str, condition: str) -> str:
    """Return what makes a table whose rows are seen under ``condition``."""
    return f"""
        create table {table} (
            id bigint primary key, room bigint references public.rooms, price numeric, score real, code char(5),
            bits bit(3), hash bytea, js json, ints int[], data jsonb);
        alter table {table} enable row level security;
        create policy seen on {table} for select using (id = 2 or {condition});
        """


SCHEMA = "".join(
    [
        "create table public.rooms (id bigint primary key, budget numeric);",
        "alter table public.rooms enable row level security;",
        "create policy seen on public.rooms for select using (true);",
        *(of_a_case(table, condition) for table, (condition, _, _) in zip(SHOWN, TOLD.values(), strict=True)),
        *(
            of_a_case(table, f"({condition}) is not true")
            for table, (condition, _, _) in zip(HIDDEN, TOLD.values(), strict=True)
        ),
        of_a_case("public.posts", "exists (select from public.rooms r where r.id = room and r.budget > 5)"),
    ]
)
TABLES = ("public.rooms", "public.posts", *SHOWN, *HIDDEN)


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """A project with a table for each such value."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(SCHEMA)  # type: ignore[arg-type]  # the test's own text
            migrate(connection)
            for table in TABLES:
                connection.execute("select public.bridge_publish(%s)", (table,))
                connection.execute("select public.bridge_watch(%s)", (table,))
            connection.execute("insert into public.rooms values (1, 'NaN')")
        yield stack


@pytest_asyncio.fixture
async def db(project: LocalStack) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as connection:
        yield connection


def ids(client: Client, table: str) -> list[int]:
    return [m["new"]["id"] for m in client.events if f"public.{m['table']}" == table]


@pytest.mark.parametrize("capture", ["tables", "journal"])
async def test_who_sees_a_row_is_decided_by_what_the_table_has(
    project: LocalStack, db: psycopg.AsyncConnection[Any], capture: str
) -> None:
    """Whatever arrived: who should see the row does, and nobody sees one that only the other value would show."""
    async with (
        running_worker(project, BRIDGE_TABLES=",".join(TABLES), BRIDGE_CAPTURE=capture) as worker,
        websocket_client(worker.ws_url, project.token(str(uuid.uuid4()))) as client,
    ):
        for tables in (SHOWN, HIDDEN):
            for table, (_, column, value) in zip(tables, TOLD.values(), strict=True):
                await db.execute(
                    f"insert into {table} (id, room, {column}) values (1, 1, %s)",  # type: ignore[arg-type]
                    (value,),
                )
                await db.execute(f"insert into {table} (id, room) values (2, 1)")  # type: ignore[arg-type]
        await client.until(
            lambda m: m.get("table") == HIDDEN[-1].removeprefix("public.") and m["new"]["id"] == 2
        )
        assert [ids(client, table) for table in SHOWN] == [[1, 2]] * len(TOLD)
        assert [ids(client, table) for table in HIDDEN] == [[2]] * len(TOLD)
        for table in (*SHOWN, *HIDDEN):
            await db.execute(f"delete from {table}")  # type: ignore[arg-type]


@pytest.mark.parametrize(("capture", "read_again"), [("tables", 2), ("journal", 0)])
async def test_a_look_up_row_has_the_number_of_the_table(
    project: LocalStack, db: psycopg.AsyncConnection[Any], capture: str, read_again: int
) -> None:
    """Read again when it changes, as it was at the start; not what no policy reads, nor what the journal tells."""
    await db.execute("delete from public.posts; update public.rooms set budget = 'NaN'")
    async with (
        running_worker(project, BRIDGE_TABLES="public.rooms,public.posts", BRIDGE_CAPTURE=capture) as worker,
        websocket_client(worker.ws_url, project.token(str(uuid.uuid4()))) as client,
    ):
        for number, budget in enumerate(("1", "Infinity", "2", "NaN"), start=3):
            await db.execute("update public.rooms set budget = %s", (budget,))
            await db.execute("insert into public.posts (id, room) values (%s, 1)", (number,))
        await client.until(lambda m: m.get("table") == "posts" and m["new"].get("id") == 6)
        assert ids(client, "public.posts") == [4, 6]
        assert await worker.metric("bridge_rows_reread_total") == read_again
