"""A project with tables of its own: other names, bigint keys, column privileges, further tables."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.stack import local_stack, migrate
from tests.support.worker import running_worker

SCHEMA = """
create table public.rooms (id bigint primary key, topic text, is_open boolean not null default false);
create table public.seats (room bigint references public.rooms, person uuid, left_at timestamptz, primary key (room, person));
create table public.posts (
    id bigint primary key, room bigint not null references public.rooms, price numeric, meta jsonb, secret text
);
create table public.notices (id int primary key, body text);
create table public.ledgers (id int primary key, total numeric);
alter table public.rooms enable row level security;
alter table public.seats enable row level security;
alter table public.posts enable row level security;
alter table public.notices enable row level security;
alter table public.ledgers enable row level security;
create policy p on public.rooms for select to authenticated using (
    is_open or id in (select s.room from public.seats s where s.person = auth.uid() and s.left_at is null));
create policy p on public.seats for select to authenticated using (person = auth.uid());
create policy p on public.posts for select to authenticated using (
    exists (select 1 from public.rooms r where r.id = posts.room));
create policy p on public.notices for select using (true);
create policy p on public.ledgers for select to authenticated using (total > 1.5 * 2);
revoke all on public.posts from anon, authenticated;
grant select (id, room, price, meta) on public.posts to authenticated;
"""
TABLES = "public.rooms,public.posts,public.notices,public.ledgers"


@pytest.fixture(scope="module")
def own() -> Iterator[LocalStack]:
    """A stack with the project's own schema, brought under the bridge as sql/README.md says."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(SCHEMA)
            migrate(connection)
            for table in ("rooms", "seats", "posts", "notices", "ledgers"):
                connection.execute("select public.bridge_publish(%s)", (f"public.{table}",))
        yield stack


async def test_rows_of_own_tables_reach_those_who_see_them(own: LocalStack):
    """Names and keys come from the catalog: bigint ids, a soft-deleted membership, an open room, inner RLS."""
    ann, bob = str(uuid.uuid4()), str(uuid.uuid4())
    async with (
        await psycopg.AsyncConnection.connect(own.database_url, autocommit=True) as db,
        running_worker(own, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, own.token(ann)) as a,
        websocket_client(worker.ws_url, own.token(bob)) as b,
    ):
        await db.execute("insert into public.rooms values (9007199254740993, 'big')")
        await db.execute("insert into public.seats values (9007199254740993, %s)", (ann,))
        shown = await a.until(lambda m: m["type"] == "dialog_update")
        assert shown["dialog_id"] == shown["new"]["id"] == "9007199254740993"
        await db.execute(
            "insert into public.posts values (1, 9007199254740993, 12345678901234567890.123456789, %s, 'canary-99')",
            ('{"n": 9007199254740993, "f": 1.5}',),
        )
        post = await a.until(lambda m: m["type"] == "new_message")
        assert post["dialog_id"] == "9007199254740993"
        assert post["new"] == {
            "id": 1,
            "room": "9007199254740993",
            "price": "12345678901234567890.123456789",
            "meta": {"n": 9007199254740993, "f": 1.5},
        }
        assert b.events == []
        await db.execute("update public.seats set left_at = now() where person = %s", (ann,))
        gone = await a.until(lambda m: m.get("eventType") == "DELETE")
        assert gone["old"] == {"id": "9007199254740993"}
        # Open to everybody: the room itself comes into sight by its own change, and its posts with it.
        await db.execute("update public.rooms set is_open = true")
        for client in (a, b):
            opened = await client.until(
                lambda m: m["type"] == "dialog_update" and m.get("new", {}).get("is_open")
            )
            assert opened["eventType"] == "INSERT"
        await db.execute("insert into public.posts values (2, 9007199254740993, 0.10, null, 'canary-99')")
        post = await b.until(lambda m: m["type"] == "new_message")
        assert (post["new"]["price"], post["new"]["meta"]) == (0.1, None)
    assert "canary-99" not in worker.raw_log


async def test_further_tables_come_as_row_change(own: LocalStack):
    """A policy for everybody: authenticated and anon get it, as `row_change`, without a dialog."""
    async with (
        await psycopg.AsyncConnection.connect(own.database_url, autocommit=True) as db,
        running_worker(own, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, own.token(str(uuid.uuid4()))) as user,
        websocket_client(worker.ws_url, own.anon_key) as anon,
    ):
        await db.execute("insert into public.notices values (1, 'for all')")
        for client in (user, anon):
            event = await client.until_type("row_change")
            assert (event["table"], event["dialog_id"], event["new"]["body"]) == ("notices", None, "for all")


async def test_a_policy_that_is_not_compiled_is_said_and_asked_about(own: LocalStack):
    """Arithmetic on numerics is not compiled: the log names the policy, and Postgres decides."""
    async with (
        await psycopg.AsyncConnection.connect(own.database_url, autocommit=True) as db,
        running_worker(own, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, own.token(str(uuid.uuid4()))) as user,
    ):
        asked = await worker.logged("policy_asked")
        assert (asked["table"], asked["role"]) == ("public.ledgers", "authenticated")
        assert 'policy "p" on public.ledgers' in asked["reason"]
        await db.execute("insert into public.ledgers values (1, 2), (2, 100)")
        await db.execute("insert into public.notices values (2, 'after it')")
        await user.until(lambda m: m.get("new", {}).get("body") == "after it")
        assert [(e["table"], e["new"]["id"]) for e in user.events] == [("ledgers", 2), ("notices", 2)]
        assert await worker.metric("bridge_visibility_asked_total") == 2
