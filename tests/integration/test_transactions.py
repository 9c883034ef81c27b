"""What a transaction does between two statements is never seen: neither by ``select`` nor here."""

import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import Client, websocket_client
from tests.support.stack import local_stack, migrate
from tests.support.worker import running_worker

SCHEMA = """
create table public.rooms (id int primary key, topic text);
create table public.seats (room int references public.rooms, person uuid, primary key (room, person));
create table public.posts (id int primary key, room int not null references public.rooms, body text, hidden boolean);
alter table public.rooms enable row level security;
alter table public.seats enable row level security;
alter table public.posts enable row level security;
create policy p on public.rooms for select to authenticated using (
    id in (select s.room from public.seats s where s.person = auth.uid()));
create policy p on public.seats for select to authenticated using (person = auth.uid());
create policy p on public.posts for select to authenticated using (
    not hidden and room in (select s.room from public.seats s where s.person = auth.uid()));
"""
CANARY = "canary-between"


@pytest.fixture(scope="module")
def rooms() -> Iterator[LocalStack]:
    """A stack with rooms, seats and posts, all of them watched."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(SCHEMA)
            migrate(connection)
            for table in ("rooms", "seats", "posts"):
                connection.execute("select public.bridge_watch(%s)", (f"public.{table}",))
            connection.execute("insert into public.rooms values (1, 'one'), (2, 'two')")
        yield stack


@pytest.fixture(params=["realtime", "wal"])
async def seated(
    request: pytest.FixtureRequest, rooms: LocalStack
) -> AsyncIterator[tuple[str, psycopg.AsyncConnection, Client]]:
    """Somebody with a seat in room 1, over each transport."""
    ann = str(uuid.uuid4())
    settings = {
        "BRIDGE_TABLES": "public.rooms,public.posts",
        "BRIDGE_UPSTREAM": request.param,
        "SUPABASE_DB_URL": rooms.database_url,
    }
    async with (
        await psycopg.AsyncConnection.connect(rooms.database_url, autocommit=True) as db,
        running_worker(rooms, **settings) as worker,
    ):
        await db.execute("delete from public.posts")
        await db.execute("update public.rooms set topic = 'one'")
        await db.execute("insert into public.posts values (1, 1, 'old', false)")
        await db.execute("insert into public.seats values (1, %s)", (ann,))
        async with websocket_client(worker.ws_url, rooms.token(ann)) as client:
            yield ann, db, client


async def test_what_is_written_before_a_member_is_removed_is_not_for_them(
    seated: tuple[str, psycopg.AsyncConnection, Client],
):
    """In one transaction: at no moment has a `select` shown it to them."""
    ann, db, client = seated
    async with db.transaction():
        await db.execute("insert into public.posts values (2, 1, %s, false)", (CANARY,))
        await db.execute("update public.posts set body = %s where id = 1", (CANARY,))
        await db.execute("update public.rooms set topic = %s", (CANARY,))
        await db.execute("delete from public.seats where person = %s", (ann,))
    await client.until(lambda m: m.get("eventType") == "DELETE" and m["table"] == "rooms")
    assert CANARY not in str(client.messages)


async def test_a_row_is_told_as_it_is_at_the_end(seated: tuple[str, psycopg.AsyncConnection, Client]):
    """A second statement hides a post, gives another its text, and a seat comes and goes."""
    _ann, db, client = seated
    async with db.transaction():
        await db.execute("insert into public.posts values (3, 1, %s, false)", (CANARY,))
        await db.execute("insert into public.posts values (4, 1, %s, false)", (CANARY,))
        await db.execute("update public.posts set hidden = true where id = 3")
        await db.execute("update public.posts set body = 'fair' where id = 4")
        await db.execute("delete from public.posts where id = 1")
    await client.until(lambda m: m.get("eventType") == "DELETE")
    posts = [(m["eventType"], m["new"].get("body")) for m in client.events if m["table"] == "posts"]
    assert posts == [("INSERT", "fair"), ("DELETE", None)]
    assert CANARY not in str(client.messages)


async def test_a_row_that_moved_to_a_room_that_is_left_is_withdrawn(
    seated: tuple[str, psycopg.AsyncConnection, Client],
):
    """That room 2 is gone does not tell: they have the post in room 1."""
    ann, db, client = seated
    await db.execute("insert into public.seats values (2, %s)", (ann,))
    await client.until(lambda m: m.get("eventType") == "INSERT" and m["table"] == "rooms")
    async with db.transaction():
        await db.execute("update public.posts set room = 2, body = %s where id = 1", (CANARY,))
        await db.execute("delete from public.seats where room = 2")
    await client.until(lambda m: m.get("eventType") == "DELETE" and m["table"] == "rooms")
    posts = [(m["eventType"], m["old"]) for m in client.events if m["table"] == "posts"]
    assert posts[-1] == ("DELETE", {"id": 1})
    assert CANARY not in str(client.messages)
