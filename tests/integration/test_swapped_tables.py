"""A table that has another one's name by now, or one that is written the same: the old policies are not its own."""

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import Client, websocket_client
from tests.support.stack import MIGRATIONS, local_stack
from tests.support.worker import Worker, running_worker

TABLES = ("public.rooms", "public.seats", "public.posts", "public.seats_new", "public.posts_new")
TWINS = ('a."b.c"', '"a.b".c')

SCHEMA = """
drop table if exists public.posts, public.posts_old, public.posts_new, public.seats, public.seats_old, public.seats_new, public.rooms;
drop schema if exists a, "a.b" cascade;
create table public.rooms (id int primary key, topic text);
create table public.seats (room int, person uuid, primary key (room, person));
create table public.seats_new (like public.seats including all);
create table public.posts (id int primary key, room int not null references public.rooms, body text, author uuid);
create table public.posts_new (like public.posts including all);
alter table public.posts_new add foreign key (room) references public.rooms;
create schema a;
create schema "a.b";
create table a."b.c" (id int primary key, body text);
create table "a.b".c (like a."b.c" including all);
alter table public.rooms enable row level security;
alter table public.posts enable row level security;
alter table public.posts_new enable row level security;
alter table a."b.c" enable row level security;
alter table "a.b".c enable row level security;
grant usage on schema a, "a.b" to authenticated, service_role;
grant select on all tables in schema a to authenticated, service_role;
grant select on all tables in schema "a.b" to authenticated, service_role;
create policy p on public.rooms for select to authenticated using (true);
create policy p on public.posts for select to authenticated using (
    exists (select from public.seats s where s.room = posts.room and s.person = auth.uid()));
create policy p on public.posts_new for select to authenticated using (author = auth.uid());
create policy p on a."b.c" for select to authenticated using (true);
insert into public.rooms values (1, 'one');
"""
SWAP = "alter table public.{0} rename to {0}_old; alter table public.{0}_new rename to {0}"
CANARY = "canary-swapped"


def older(text: str) -> str:
    """Return SQL as it was before the journal had the oid of a table."""
    text = re.sub(r"do \$oid\$.*?end \$oid\$;\n.*?;\n", "", text, flags=re.DOTALL)
    text = re.sub(r",\s+(?:false, 0, r\.)?relation_oid( bigint)?", "", text)
    return re.sub(r"\n +'oid', r\.oid::bigint,", "", text)


class Scene(NamedTuple):
    """Ann, who has a seat in room 1, and all that is around her."""

    ann: str
    db: psycopg.AsyncConnection
    client: Client
    worker: Worker

    @property
    def resyncs(self) -> list[str]:
        """Why she has had to read again."""
        return [m["reason"] for m in self.client.messages if m["type"] == "resync"]

    async def post(self, id_: int, body: str, *, author: str | None = None) -> None:
        """Write into room 1."""
        await self.db.execute(
            "insert into public.posts values (%s, 1, %s, %s)", (id_, body, author or str(uuid.uuid4()))
        )

    async def told(self, body: str) -> None:
        """Wait until she has been told of a row."""
        await self.client.until(lambda m: m.get("eventType") == "INSERT" and m["new"].get("body") == body)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """With the bridge's functions, without the reference schema."""
    with local_stack(migrations=False) as made:
        with psycopg.connect(made.database_url, autocommit=True) as connection:
            connection.execute("create table public.other (id int primary key)")
            for path in MIGRATIONS:
                connection.execute(path.read_bytes())
        yield made


@pytest.fixture(params=["realtime", "wal"])
async def scene(request: pytest.FixtureRequest, stack: LocalStack) -> AsyncIterator[Scene]:
    """Over each transport; with SQL of before the journal had the oid where the test says so."""
    ann = str(uuid.uuid4())
    upstream, _, is_older = request.param.partition(" ")
    settings = {
        "BRIDGE_TABLES": 'public.rooms,public.posts,a."b.c"',
        "BRIDGE_UPSTREAM": upstream,
        "SUPABASE_DB_URL": stack.database_url,
    }
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db:
        await db.execute(SCHEMA)
        for table in (*TABLES, *TWINS):
            await db.execute("select public.bridge_watch(%s)", (table,))
        await db.execute("insert into public.seats values (1, %s)", (ann,))
        if is_older:
            await db.execute("alter table bridge.journal drop column if exists relation_oid")
            for path in MIGRATIONS:
                await db.execute(older(path.read_text()).encode())
        else:
            for path in MIGRATIONS:
                await db.execute(path.read_bytes())
        async with (
            running_worker(stack, **settings) as worker,
            websocket_client(worker.ws_url, stack.token(ann)) as client,
        ):
            yield Scene(ann, db, client, worker)


async def test_a_table_that_takes_the_name_of_another_is_judged_by_its_own_policies(scene: Scene):
    """From its first row on: what only the other one's policies show is not told."""
    await scene.post(1, "before")
    await scene.told("before")
    await scene.db.execute(SWAP.format("posts"))
    await scene.post(2, CANARY)  # ann has a seat there, and is not its author
    await scene.client.until_type("resync")
    await scene.post(3, CANARY)
    await scene.post(4, "hers", author=scene.ann)
    await scene.told("hers")

    assert CANARY not in str(scene.client.messages)
    assert scene.resyncs == ["catalog_changed"]


async def test_a_look_up_table_that_was_renamed_goes_on_to_count(scene: Scene):
    """Policies follow the table, not its name: who loses the seat in the old one sees nothing any more."""
    await scene.db.execute(SWAP.format("seats"))
    await scene.db.execute("delete from public.seats_old")
    await scene.db.execute("insert into public.seats values (1, %s)", (scene.ann,))  # which no policy reads
    await scene.post(1, CANARY)
    await scene.db.execute("insert into public.seats_old values (1, %s)", (scene.ann,))
    await scene.post(2, "after")
    await scene.client.until_type("resync")
    await scene.post(3, "later")
    await scene.told("later")

    assert CANARY not in str(scene.client.messages)
    assert scene.resyncs == ["catalog_changed"]


async def test_a_swap_and_what_is_written_around_it_in_one_transaction(scene: Scene):
    """Rows of both tables have one name and one key there, and are never taken for one row."""
    async with scene.db.transaction():
        await scene.post(1, CANARY)
        await scene.db.execute(SWAP.format("posts"))
        await scene.post(1, CANARY)
        await scene.db.execute("update public.posts set author = %s where id = 1", (str(uuid.uuid4()),))
    await scene.client.until_type("resync")
    await scene.post(2, "hers", author=scene.ann)
    await scene.told("hers")

    assert CANARY not in str(scene.client.messages)


async def test_tables_that_are_written_the_same_without_quotes_are_two(scene: Scene):
    """Rows of the one are not the other's, neither alone nor in one transaction, and nothing is read again."""
    await scene.db.execute('insert into "a.b".c values (1, %s)', (CANARY,))
    async with scene.db.transaction():
        await scene.db.execute('insert into a."b.c" values (1, %s)', ("one",))
        await scene.db.execute('insert into "a.b".c values (2, %s)', (CANARY,))
        await scene.db.execute('update "a.b".c set body = %s where id = 1', (CANARY,))
    await scene.db.execute('delete from "a.b".c where id = 1')
    await scene.db.execute('update a."b.c" set body = %s', ("two",))
    await scene.db.execute('insert into a."b.c" values (2, %s)', ("three",))
    await scene.told("three")

    told = [(m["eventType"], m["new"].get("body")) for m in scene.client.events]
    assert told == [("INSERT", "one"), ("UPDATE", "two"), ("INSERT", "three")]
    assert scene.resyncs == []


@pytest.mark.parametrize("scene", ["realtime older", "wal older"], indirect=True)
async def test_a_database_that_is_older_works_and_may_be_migrated_meanwhile(scene: Scene):
    """Names are all there is until then; afterwards a swap is noticed, by the same worker over the same stream."""
    await scene.post(1, "older")
    await scene.told("older")
    answers = await scene.db.execute("select public.bridge_journal_since(0), public.bridge_catalog()")
    told = str(await answers.fetchone())
    assert ("false, 0" in told, '"oid"' in told) == (False, False)

    for path in MIGRATIONS:
        await scene.db.execute(path.read_bytes())
    await scene.worker.logged("policies_changed")
    await scene.client.until_type("resync")
    await scene.post(2, "newer")
    await scene.told("newer")
    await scene.db.execute(SWAP.format("posts"))
    await scene.post(3, CANARY)
    await scene.client.until(lambda m: m.get("reason") == "catalog_changed")
    await scene.post(4, "hers", author=scene.ann)
    await scene.told("hers")
    assert CANARY not in str(scene.client.messages)
