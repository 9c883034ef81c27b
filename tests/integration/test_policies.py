"""Policies of all kinds under a running worker: asked ones, claims, and changes while it runs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from bridge.local.stack import LocalStack
from tests.support.clients import Client, websocket_client
from tests.support.stack import local_stack, migrate
from tests.support.worker import Worker, running_worker

SCHEMA = """
create table public.rooms (id bigint primary key, title text, org uuid, owner_id uuid);
create table public.posts (id bigint primary key, room bigint references public.rooms, body text);
create table public.staff (user_id uuid primary key, rank int);
alter table public.rooms enable row level security;
alter table public.posts enable row level security;
alter table public.staff enable row level security;
create function public.ranks_above(lowest int) returns boolean language plpgsql stable security definer as $$
    declare found_rank int;
    begin
        for found_rank in select rank from public.staff where user_id = auth.uid() loop
            return found_rank > lowest;
        end loop;
        return false;
    end $$;
create policy own on public.rooms for select to authenticated using (owner_id = auth.uid());
create policy org on public.rooms for select to authenticated using (
    org = (auth.jwt() -> 'app_metadata' ->> 'org')::uuid);
"""
SEEN = """
drop policy if exists seen on public.posts;
create policy seen on public.posts for select to authenticated using (
    exists (select 1 from public.rooms r where r.id = posts.room) or public.ranks_above(3));
"""
TABLES = "public.rooms,public.posts"


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """A project whose posts are seen through its rooms, and by staff of a rank that a loop finds."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(SCHEMA)
            migrate(connection)
            for table in ("rooms", "posts", "staff"):
                connection.execute("select public.bridge_publish(%s)", (f"public.{table}",))
        yield stack


@pytest_asyncio.fixture
async def db(project: LocalStack) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as connection:
        await connection.execute(SEEN)  # a test may have taken it away
        yield connection


def posts(client: Client) -> list[int]:
    return [m["new"]["id"] for m in client.events if m["table"] == "posts"]


async def room(db: psycopg.AsyncConnection[Any], number: int, **columns: object) -> None:
    names = ", ".join(("id", *columns))
    places = ", ".join(["%s"] * (1 + len(columns)))
    await db.execute(f"insert into public.rooms ({names}) values ({places})", (number, *columns.values()))  # type: ignore[arg-type]


async def post(db: psycopg.AsyncConnection[Any], number: int, in_room: int) -> None:
    await db.execute("insert into public.posts values (%s, %s, 'x')", (number, in_room))


async def until_post(client: Client, number: int) -> None:
    await client.until(lambda m: m.get("table") == "posts" and m["new"].get("id") == number)


async def test_what_memory_cannot_decide_postgres_is_asked(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """A loop in plpgsql: whom it lets through gets the row, others do not, and the owner is not asked about."""
    owner, boss, clerk = (str(uuid.uuid4()) for _ in range(3))
    await db.execute("insert into public.staff values (%s, 5), (%s, 1)", (boss, clerk))
    async with (
        running_worker(project, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, project.token(owner)) as owners,
        websocket_client(worker.ws_url, project.token(boss)) as bosss,
        websocket_client(worker.ws_url, project.token(clerk)) as clerks,
    ):
        asked = await worker.logged("policy_asked")
        assert "ranks_above" in asked["reason"]
        await room(db, 1, owner_id=owner)
        await post(db, 10, 1)
        await until_post(owners, 10)
        await until_post(bosss, 10)
        assert await worker.metric("bridge_visibility_asked_total") == 2
        await db.execute("update public.staff set rank = 4 where user_id = %s", (clerk,))
        await post(db, 11, 1)
        await until_post(clerks, 11)
        assert posts(clerks) == [11]
        said = [(e["table"], e["role"], e["reason"]) for e in worker.log if e["event"] == "policy_asked"]
        assert len(said) == len(set(said))


async def test_nobody_gets_an_old_version_by_what_the_table_holds_now(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """A helper reads the row itself: who owns it now gets no text of before, and a DELETE is said and counted."""
    ann, bob = str(uuid.uuid4()), str(uuid.uuid4())
    await db.execute(
        "create function public.may_read(room bigint) returns boolean language plpgsql security definer as $$"
        " declare found boolean; begin execute 'select owner_id = auth.uid() from public.rooms where id = $1'"
        " into found using room; return found; end $$; drop policy own on public.rooms;"
        "create policy own on public.rooms for select to authenticated using (public.may_read(id))"
    )
    try:
        async with (
            running_worker(project, BRIDGE_TABLES=TABLES) as worker,
            websocket_client(worker.ws_url, project.token(ann)) as anns,
            websocket_client(worker.ws_url, project.token(bob)) as bobs,
        ):
            for number in range(20, 30):
                await room(db, number, owner_id=ann, title="ann's secret")
                await db.execute(
                    "update public.rooms set owner_id = %s, title = 'given' where id = %s", (bob, number)
                )
            await bobs.until(lambda m: m.get("table") == "rooms" and m["new"].get("id") == 29)
            assert {(m["eventType"], m["new"]["title"]) for m in bobs.events} <= {
                ("INSERT", "given"),
                ("UPDATE", "given"),
            }
            assert len({m["new"]["id"] for m in bobs.events}) == 10
            await anns.until_type("resync")
            told = len(bobs.messages)
            await db.execute("delete from public.rooms where id = 29")
            again = await bobs.until(lambda m: m["type"] == "resync" and bobs.messages.index(m) >= told)
            assert again["reason"] == "visibility_changed"
            assert await worker.metric("bridge_changes_undeliverable_total") >= 11
    finally:
        await db.execute(
            "drop policy own on public.rooms; drop function public.may_read(bigint);"
            "create policy own on public.rooms for select to authenticated using (owner_id = auth.uid())"
        )


async def test_members_of_an_organisation_are_found_by_their_claim(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """The claim is in the token, not in a table."""
    org, user, other = (str(uuid.uuid4()) for _ in range(3))
    token = project.token(user, app_metadata={"org": org})
    async with (
        running_worker(project, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, token) as member,
        websocket_client(worker.ws_url, project.token(other, app_metadata={"org": user})) as stranger,
    ):
        await room(db, 2, org=org)
        await room(db, 3, org=user)
        shown = await member.until(lambda m: m.get("table") == "rooms")
        assert shown["new"]["id"] == 2
        await stranger.until(lambda m: m.get("table") == "rooms" and m["new"]["id"] == 3)
        assert [m["new"]["id"] for m in member.events] == [2]
        assert [m["new"]["id"] for m in stranger.events] == [3]


async def _changed(worker: Worker, client: Client, db: psycopg.AsyncConnection[Any], statement: str) -> None:
    """Make a change of the catalog and wait until the client is told to read again."""
    before = sum(m["type"] == "resync" for m in client.messages)
    await db.execute(statement)  # type: ignore[arg-type]  # the test's own text
    await client.until(lambda _: sum(m["type"] == "resync" for m in client.messages) > before)
    assert [m["reason"] for m in client.messages if m["type"] == "resync"][-1] == "policies_changed"
    assert (await worker.logged("policies_changed"))["tables"]


async def test_changes_of_policies_take_effect_without_a_restart(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """A dropped policy, a changed helper, a revoked grant: the next change is decided by the new ones."""
    user = str(uuid.uuid4())
    async with (
        running_worker(project, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, project.token(user)) as client,
    ):
        await room(db, 4, owner_id=user)
        await post(db, 40, 4)
        await until_post(client, 40)

        await _changed(worker, client, db, "drop policy seen on public.posts")
        await post(db, 41, 4)
        await _changed(
            worker,
            client,
            db,
            "create function public.opens(post bigint) returns boolean language sql as $$ select post > 42 $$;"
            "create policy by_helper on public.posts for select using (public.opens(id))",
        )
        await post(db, 42, 4)
        await post(db, 43, 4)
        await until_post(client, 43)
        await _changed(
            worker,
            client,
            db,
            "create or replace function public.opens(post bigint) returns boolean language sql"
            " as $$ select post = 44 $$",
        )
        await post(db, 45, 4)
        await post(db, 44, 4)
        await until_post(client, 44)
        await _changed(worker, client, db, "revoke select on public.posts from authenticated")
        await db.execute("update public.posts set body = 'y' where id = 44")
        await _changed(worker, client, db, "grant select on public.posts to authenticated")
        await db.execute("update public.posts set body = 'z' where id = 44")
        await client.until(lambda m: m.get("table") == "posts" and m["new"].get("body") == "z")
        assert posts(client) == [40, 43, 44, 44]
        await db.execute("drop policy by_helper on public.posts; drop function public.opens(bigint)")


async def test_a_change_that_means_nothing_to_the_policies_disturbs_nobody(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """Another table, an index: no reload, no resync."""
    user = str(uuid.uuid4())
    async with (
        running_worker(project, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, project.token(user)) as client,
    ):
        await room(db, 5, owner_id=user)
        await client.until(lambda m: m.get("table") == "rooms")
        await db.execute(
            "create table public.else_where (id int primary key); create index on public.posts (room)"
        )
        # A policy that does count, made later, is noticed later.
        await _changed(worker, client, db, "create policy more on public.rooms for select using (id = 6)")
        assert [m["type"] for m in client.messages].count("resync") == 1
        await db.execute("drop policy more on public.rooms; drop table public.else_where")


async def test_why_a_worker_is_not_ready_is_what_its_log_says(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """A watched table was renamed: which one, and what to do; ready again once it is back."""
    async with running_worker(project, BRIDGE_TABLES=TABLES) as worker, httpx.AsyncClient() as http:
        url = f"{worker.admin_url}/readyz"
        assert (await http.get(url)).status_code == httpx.codes.OK
        await db.execute("alter table public.rooms rename to halls")
        try:
            failed = await worker.logged("load_failed")
            answer = await http.get(url)
        finally:
            await db.execute("alter table public.halls rename to rooms")
        assert "public.rooms does not exist" in failed["reason"]
        assert answer.json() == {"ready": False, "reasons": [f"upstream is not live: {failed['reason']}"]}
        async with asyncio.timeout(20):
            while (await http.get(url)).status_code != httpx.codes.OK:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_truncated_look_up_table_is_noticed(
    project: LocalStack, db: psycopg.AsyncConnection[Any]
) -> None:
    """Realtime does not tell it: the rows are read again, and who saw by them sees no more."""
    user = str(uuid.uuid4())
    await room(db, 7, owner_id=user)
    async with (
        running_worker(project, BRIDGE_TABLES=TABLES) as worker,
        websocket_client(worker.ws_url, project.token(user)) as client,
    ):
        await post(db, 70, 7)
        await until_post(client, 70)
        await _changed(worker, client, db, "truncate public.rooms cascade")
        assert await worker.metric("bridge_lookup_rows") == 0
