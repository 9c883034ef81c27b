"""``bridge check`` finds what was broken on purpose, and what it prints mends it."""

import asyncio
import contextlib
import datetime as dt
import json
import re
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from bridge.checking.command import _OF_DATABASE, run_check
from bridge.checking.report import Check, as_json, lines
from bridge.clock import SystemClock
from bridge.local.stack import LocalStack
from bridge.migration.command import run_migrate
from bridge.minting import mint_key, mint_token
from tests.support.gateway import gateway
from tests.support.stack import ROOT, local_stack
from tests.support.worker import environment

CANARY = "canary-7f3a"
OTHER_SECRET = "s" * 40

WORLD = f"""
create table public.rooms (id uuid primary key default gen_random_uuid(), owner_id uuid not null, title text);
create table public.posts (id uuid primary key default gen_random_uuid(), room_id uuid not null references public.rooms,
    author_id uuid, body text);
alter table public.rooms enable row level security;
alter table public.posts enable row level security;
create policy mine on public.rooms for select to authenticated using (owner_id = (select auth.uid()));
create policy mine on public.posts for select to authenticated using (author_id = (select auth.uid()));
create table public.teams (id int, room_id uuid, user_id uuid, primary key (id, user_id));
alter table public.teams enable row level security;
create policy own on public.teams for select to authenticated using (user_id = (select auth.uid()));
insert into public.rooms (owner_id, title) values ('{uuid.uuid4()}', '{CANARY}');
select public.bridge_watch('public.rooms'), public.bridge_watch('public.posts');
select public.bridge_publish('public.rooms'), public.bridge_publish('public.posts');
update public.rooms set title = '{CANARY} again';
"""

OURS = {"BRIDGE_TABLES": "public.rooms,public.posts", "BRIDGE_MAX_CONNECTIONS": "100"}
TABLES = {"BRIDGE_CAPTURE": "tables"}


class Case(NamedTuple):
    """A misconfiguration, and what has to be found.

    Attributes:
        check: The finding's name and subject.
        fix: A part of the fix.
        status: The finding's status.
        sql: What breaks the database.
        settings: What breaks the settings; of a value ``None`` the setting is not set.
        undo: What brings the database back where the fix does not.
        mends: Whether pasting the fix mends it; not where a secret has to be put in.
    """

    check: str
    fix: str
    status: str = "fail"
    sql: str = ""
    settings: dict[str, str | None] = {}  # noqa: RUF012 - never changed
    undo: str = ""
    mends: bool = True


CASES = {
    "a misspelt setting": Case(
        "settings BRIDGE_PING_INTERVALL_S",
        "export BRIDGE_PING_INTERVAL_S=",
        settings={"BRIDGE_PING_INTERVALL_S": "20"},
    ),
    "an origin with a path": Case(
        "origins BRIDGE_ALLOWED_ORIGINS",
        "export BRIDGE_ALLOWED_ORIGINS=https://app.example.com",
        settings={"BRIDGE_ALLOWED_ORIGINS": "https://app.example.com/chat"},
    ),
    "an origin with the default port": Case(
        "origins BRIDGE_ALLOWED_ORIGINS",
        "export BRIDGE_ALLOWED_ORIGINS=https://app.example.com",
        settings={"BRIDGE_ALLOWED_ORIGINS": "https://app.example.com:443"},
    ),
    "origins with spaces between them": Case(
        "origins BRIDGE_ALLOWED_ORIGINS",
        "export BRIDGE_ALLOWED_ORIGINS=https://a.example.com,https://b.example.com",
        settings={"BRIDGE_ALLOWED_ORIGINS": "https://a.example.com https://b.example.com"},
    ),
    "the issuer of another project": Case(
        "jwt_issuer",
        "export BRIDGE_JWT_ISSUER=http",
        status="warning",
        settings={"BRIDGE_JWT_ISSUER": "https://other.supabase.co/auth/v1"},
    ),
    "an admin port for everybody": Case(
        "port BRIDGE_ADMIN_PORT",
        "export BRIDGE_ADMIN_HOST=127.0.0.1",
        status="warning",
        settings={"BRIDGE_ADMIN_HOST": "0.0.0.0"},  # noqa: S104 - that is what is wrong
    ),
    "the URL of one API": Case(
        "settings SUPABASE_URL", "export SUPABASE_URL=", settings={"SUPABASE_URL": "{url}/rest/v1"}
    ),
    "a URL where nobody answers": Case(
        "url", "export SUPABASE_URL=", settings={"SUPABASE_URL": "http://127.0.0.1:1"}, mends=False
    ),
    "the anon key": Case(
        "key",
        "export SUPABASE_SERVICE_ROLE_KEY=",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "{anon_key}"},
        mends=False,
    ),
    "the publishable key": Case(
        "key",
        "export SUPABASE_SERVICE_ROLE_KEY=",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "sb_publishable_canary-7f3a"},
        mends=False,
    ),
    "an expired key": Case(
        "key",
        "export SUPABASE_SERVICE_ROLE_KEY=",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "{expired_key}"},
        mends=False,
    ),
    "the key of another project": Case(
        "functions",
        "export SUPABASE_SERVICE_ROLE_KEY=",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "{other_key}"},
        mends=False,
    ),
    "the JWT secret of another project": Case(
        "jwt_secret",
        "export SUPABASE_JWT_SECRET=",
        settings={"SUPABASE_JWT_SECRET": OTHER_SECRET},
        mends=False,
    ),
    "no JWT secret, and no public keys": Case(
        "jwks", "export SUPABASE_JWT_SECRET=", settings={"SUPABASE_JWT_SECRET": None}, mends=False
    ),
    "public keys that cannot be read": Case(
        "jwks",
        "/auth/v1/.well-known/jwks.json",
        settings={"SUPABASE_URL": "{no_auth}", "SUPABASE_JWT_SECRET": None},
        mends=False,
    ),
    "no Realtime behind the gateway": Case(
        "realtime", "docker compose up -d realtime", settings={"SUPABASE_URL": "{no_realtime}"}, mends=False
    ),
    "something else than Supabase": Case(
        "functions", "export SUPABASE_URL=", settings={"SUPABASE_URL": "{no_rest}"}, mends=False
    ),
    "Realtime without the journal": Case(
        "realtime",
        "select public.bridge_publish('bridge.journal');",
        sql="alter publication supabase_realtime drop table bridge.journal",
    ),
    "Realtime without the inserts into the journal": Case(
        "captured bridge.journal",
        "set (publish = 'insert, update, delete, truncate');",
        sql="alter publication supabase_realtime set (publish = 'update, delete')",
    ),
    "Realtime with a part of the journal": Case(
        "captured bridge.journal",
        "alter publication supabase_realtime add table bridge.journal;",
        sql="alter publication supabase_realtime drop table bridge.journal;"
        "alter publication supabase_realtime add table bridge.journal (id, txid)",
    ),
    "a journal without its table": Case(
        "journal",
        "_journal.sql",
        sql="alter table bridge.journal rename to journal_of_before",
        undo="drop table bridge.journal; alter table bridge.journal_of_before rename to journal",
    ),
    "a table that does not exist": Case(
        "table public.room",
        "export BRIDGE_TABLES=public.rooms,public.posts",
        settings={"BRIDGE_TABLES": "public.room,public.posts"},
    ),
    "tables without their schema": Case(
        "table posts",
        "export BRIDGE_TABLES=public.rooms,public.posts",
        settings={"BRIDGE_TABLES": "rooms,posts"},
    ),
    "dialogs and messages in each other's place": Case(
        "dialogs",
        "export BRIDGE_DIALOG_TABLE=public.rooms",
        settings={"BRIDGE_TABLES": "public.posts,public.rooms"},
    ),
    "a view": Case(
        "table public.latest",
        "export BRIDGE_TABLES=",
        sql="create view public.latest as select * from public.posts",
        settings={"BRIDGE_TABLES": "public.rooms,public.latest"},
        undo="drop view public.latest",
        mends=False,
    ),
    "a table that is not published": Case(
        "captured public.posts",
        "select public.bridge_publish('public.posts');",
        sql="alter publication supabase_realtime drop table public.posts",
        settings=TABLES,
    ),
    "a table of which only some rows are published": Case(
        "captured public.posts",
        "alter publication supabase_realtime add table public.posts;",
        sql="alter publication supabase_realtime drop table public.posts;"
        "alter publication supabase_realtime add table public.posts where (id is not null)",
        settings=TABLES,
    ),
    "a table that is not journalled": Case(
        "captured public.posts",
        "select public.bridge_watch('public.posts');",
        sql="select public.bridge_unwatch('public.posts')",
        settings={"BRIDGE_CAPTURE": "journal"},
    ),
    "one of the tables is not journalled": Case(
        "capture",
        "select public.bridge_watch('public.posts');",
        status="warning",
        sql="select public.bridge_unwatch('public.posts')",
    ),
    "a journal trigger that is disabled": Case(
        "triggers public.posts",
        "select public.bridge_watch('public.posts');",
        sql='alter table public.posts disable trigger "!bridge_journal"',
    ),
    "journal triggers that are not enabled always": Case(
        "triggers public.posts",
        "select public.bridge_watch('public.posts');",
        sql="alter table public.posts disable trigger user; alter table public.posts enable trigger user",
    ),
    "a TRUNCATE that goes untold": Case(
        "triggers public.posts",
        "select public.bridge_watch('public.posts');",
        status="warning",
        sql='drop trigger "!bridge_journal_truncate" on public.posts',
    ),
    "a journal that service_role may not read": Case(
        "journal", "grant select on bridge.journal", sql="revoke all on bridge.journal from service_role"
    ),
    "a journal that is not pruned": Case(
        "journal",
        "select public.bridge_prune_journal(86400);",
        status="warning",
        sql="update bridge.journal set recorded_at = recorded_at - interval '5 days'",
    ),
    "a table without a primary key": Case(
        "primary_key public.posts",
        'alter table public.posts add primary key ("id");',
        sql="alter table public.posts drop constraint posts_pkey",
    ),
    "replica identity default": Case(
        "replica_identity public.posts",
        "alter table public.posts replica identity full;",
        status="warning",
        settings=TABLES,
        undo="alter table public.posts replica identity default",
    ),
    "replica identity nothing": Case(
        "replica_identity public.posts",
        "alter table public.posts replica identity full;",
        sql="alter table public.posts replica identity nothing",
        undo="alter table public.posts replica identity default",
    ),
    "no SELECT for service_role": Case(
        "readable public.posts",
        "grant select on public.posts to service_role;",
        sql="revoke select on public.posts from service_role",
    ),
    "no SELECT for authenticated": Case(
        "policies public.posts",
        "grant select on public.posts to authenticated;",
        sql="revoke select on public.posts from anon, authenticated",
        undo="grant select on public.posts to anon",
    ),
    "SELECT of some columns, and not of the primary key": Case(
        "grants public.posts",
        "grant select (id) on public.posts to authenticated;",
        status="warning",
        sql="revoke select on public.posts from authenticated; "
        "grant select (room_id, author_id, body) on public.posts to authenticated",
        undo="grant select on public.posts to authenticated",
    ),
    "row-level security is off": Case(
        "rls public.posts",
        "alter table public.posts enable row level security;",
        status="warning",
        sql="alter table public.posts disable row level security",
    ),
    "a table that no policy lets anybody pass": Case(
        "policies public.posts",
        "create policy bridge_select on public.posts for select to authenticated using",
        sql="drop policy mine on public.posts",
        undo="drop policy bridge_select on public.posts; create policy mine on public.posts for select"
        " to authenticated using (author_id = (select auth.uid()))",
    ),
    "a circle of policies": Case(
        "policies public.posts",
        "security definer",
        sql="select public.bridge_watch('public.teams');"
        "create policy circle on public.teams for select to authenticated using ("
        " exists (select from public.teams t where t.id = teams.id and t.user_id = (select auth.uid())));"
        "create policy team on public.posts for select to authenticated using ("
        " exists (select from public.teams t where t.room_id = posts.room_id))",
        undo="drop policy team on public.posts; drop policy circle on public.teams;"
        " drop function bridge_private.teams_circle; select public.bridge_unwatch('public.teams')",
    ),
    "a policy reads a table that users may not read": Case(
        "policies public.posts",
        "security definer",
        sql="select public.bridge_watch('public.teams'); alter table public.teams disable row level security;"
        "revoke select on public.teams from anon, authenticated;"
        "create policy team on public.posts for select to authenticated using (exists ("
        " select from public.teams t where t.room_id = posts.room_id and t.user_id = (select auth.uid())))",
        undo="drop policy team on public.posts; drop function bridge_private.posts_team;"
        " select public.bridge_unwatch('public.teams'); alter table public.teams enable row level security;"
        " grant select on public.teams to anon, authenticated",
    ),
    "a policy reads the users of Supabase Auth": Case(
        "policies public.posts",
        "security definer",
        sql="create policy known on public.posts for select to authenticated using (exists ("
        " select from auth.users u where u.id = posts.author_id and u.email like '%@example.com'))",
        undo="drop policy known on public.posts",
        mends=False,  # what it comes to is asked of Postgres
    ),
    "a policy that asks Postgres": Case(
        "policies public.posts",
        "bridge explain public.posts",
        status="warning",
        sql="create policy words on public.posts for select to authenticated using (body ~ '^public')",
        undo="drop policy words on public.posts",
        mends=False,
    ),
    "a policy that asks Postgres, of a table whose name needs quotes": Case(
        "policies public.Weird.name",
        """bridge explain 'public."Weird.name"'""",
        status="warning",
        sql='create table public."Weird.name" (id int primary key, body text);'
        'alter table public."Weird.name" enable row level security;'
        "create policy words on public.\"Weird.name\" for select using (body ~ '^public');"
        """select public.bridge_watch('public."Weird.name"')""",
        settings={"BRIDGE_TABLES": 'public.rooms,public.posts,public."Weird.name"'},
        undo='drop table public."Weird.name"',
        mends=False,
    ),
    "a policy reads a table whose changes do not arrive": Case(
        "policies public.posts",
        "select public.bridge_watch('public.teams');",
        status="warning",
        sql="create policy team on public.posts for select to authenticated using (exists ("
        " select from public.teams t where t.room_id = posts.room_id and t.user_id = (select auth.uid())))",
        undo="drop policy team on public.posts; select public.bridge_unwatch('public.teams')",
    ),
    "messages that lead to no dialog": Case(
        "dialogs",
        "export BRIDGE_DIALOG_COLUMN=room_id",
        sql="alter table public.posts drop constraint posts_room_id_fkey",
        undo="alter table public.posts add foreign key (room_id) references public.rooms",
    ),
    "the bridge's functions are missing": Case(
        "functions", "bridge_functions.sql", sql="drop function public.bridge_catalog()"
    ),
    "the journal's functions are missing": Case(
        "journal",
        "_journal.sql",
        sql="drop function public.bridge_journal_since(bigint, jsonb, integer)",
    ),
    "service_role may not call the functions": Case(
        "functions",
        "grant execute on function public.bridge_catalog()",
        sql="revoke execute on function public.bridge_catalog() from service_role",
    ),
    "a function that the worker calls and may not": Case(
        "role",
        "grant execute on function public.bridge_visible(text, text, jsonb) to service_role;",
        sql="revoke execute on function public.bridge_visible(text, text, jsonb) from service_role",
    ),
    "a worker that may write": Case(
        "role",
        "revoke insert, update, delete, truncate on public.rooms from bridge_worker;",
        status="warning",
        sql="grant insert on public.rooms to bridge_worker",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "{worker_key}"},
    ),
    "a worker that may what others may": Case(
        "role",
        "revoke authenticated from bridge_worker;",
        status="warning",
        sql="grant authenticated to bridge_worker",
        settings={"SUPABASE_SERVICE_ROLE_KEY": "{worker_key}"},
    ),
    "a connection string in quotes": Case(
        "database", "write postgresql://", settings={"SUPABASE_DB_URL": '"{other_database}"'}, mends=False
    ),
    "the database of another project": Case(
        "database", "export SUPABASE_DB_URL=", settings={"SUPABASE_DB_URL": "{other_database}"}, mends=False
    ),
    "a database where nobody answers": Case(
        "database",
        "check host and port",
        status="warning",
        settings={"SUPABASE_DB_URL": "postgresql://postgres:canary-7f3a@127.0.0.1:1/postgres"},
        mends=False,
    ),
    "no replication slot is free": Case(
        "wal",
        "select pg_drop_replication_slot('idle_1');",
        sql="do $$ begin for n in 1..40 loop"
        " perform pg_create_physical_replication_slot('idle_' || n); end loop;"
        " exception when configuration_limit_exceeded then null; end $$",
        settings={"BRIDGE_UPSTREAM": "wal"},
    ),
    "a publication of the slot without the journal": Case(
        "wal",
        "alter publication bridge_journal add table bridge.journal;",
        sql="alter publication bridge_journal drop table bridge.journal",
        settings={"BRIDGE_UPSTREAM": "wal"},
    ),
    "no publication for the slot": Case(
        "wal",
        "create publication bridge_journal for table bridge.journal with (publish = 'insert');",
        sql="drop publication bridge_journal",
        settings={"BRIDGE_UPSTREAM": "wal"},
    ),
    "a port that is taken": Case(
        "port BRIDGE_PORT", "export BRIDGE_PORT=", settings={"BRIDGE_PORT": "{taken_port}"}
    ),
    "an address of another machine": Case(
        "port BRIDGE_PORT", "export BRIDGE_HOST=127.0.0.1", settings={"BRIDGE_HOST": "192.0.2.1"}
    ),
    "fewer open files than connections": Case(
        "open_files",
        "nofile",
        status="warning",
        settings={"BRIDGE_MAX_CONNECTIONS": "100000000"},
        mends=False,
    ),
}


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """A stack with tables of somebody's own, a row in them, and the record of the migrations."""
    with local_stack(migrations=False) as stack:
        asyncio.run(
            run_migrate({"SUPABASE_DB_URL": stack.database_url}, "up", reapply=False, show=lambda _: None)
        )
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(WORLD)
        stack.postgres.create_database("other")
        yield stack
        # What was broken has been mended, each time.
        assert [one for one in asyncio.run(check(settings_of(stack))) if one.status != "ok"] == []


@pytest.fixture(autouse=True)
def no_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stack speaks plain HTTP: the system's certificates need not be read two hundred times."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
async def places(project: LocalStack) -> AsyncIterator[dict[str, str]]:
    """What stands in braces in the settings of a case."""
    now = SystemClock().now()
    async with contextlib.AsyncExitStack() as stack:
        other = stack.enter_context(socket.socket())
        other.bind(("127.0.0.1", 0))
        other.listen()

        async def without(path: str) -> str:
            return await stack.enter_async_context(gateway(project.url, {path: "404 Not Found"}))

        yield {
            "url": project.url,
            "anon_key": project.anon_key,
            "other_key": mint_key(OTHER_SECRET, role="service_role", now=now),
            "worker_key": mint_key(project.jwt_secret, role="bridge_worker", now=now),
            "expired_key": mint_token(
                project.jwt_secret, user_id=None, role="service_role", ttl_s=-5, now=now, iss="supabase"
            ),
            "no_auth": await without("/auth"),
            "no_realtime": await without("/realtime"),
            "no_rest": await without("/rest"),
            "taken_port": str(other.getsockname()[1]),
            "other_database": project.postgres.url("other"),
        }


async def check(environ: dict[str, str]) -> list[Check]:
    """Check in this process, and hold everything that is said to the canaries."""
    checks = await run_check(environ, clock=SystemClock())
    said = as_json(checks) + "\n".join(lines(checks))
    secrets = ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET")
    for secret in (CANARY, OTHER_SECRET, *(environ[name] for name in secrets if name in environ)):
        assert secret not in said
    return checks


def finding(checks: list[Check], name: str) -> Check | None:
    """The worst finding of this name."""
    order = ("fail", "warning", "not_checked", "ok")
    found = [one for one in checks if f"{one.check} {one.subject}".strip() == name]
    return min(found, key=lambda one: order.index(one.status), default=None)


def settings_of(project: LocalStack) -> dict[str, str]:
    inherited = environment(project, SUPABASE_DB_URL=project.database_url, **OURS)
    return {name: value for name, value in inherited.items() if name.startswith(("BRIDGE_", "SUPABASE_"))}


async def test_nothing_is_wrong_to_begin_with(project: LocalStack) -> None:
    """Every check passes, and says what it has looked at."""
    checks = await check(settings_of(project))
    assert [one for one in checks if one.status != "ok"] == []
    assert {"url", "key", "functions", "realtime", "journal", "triggers", "policies"} <= {
        c.check for c in checks
    }


@pytest.mark.parametrize("name", CASES)
async def test_it_is_found_and_the_fix_mends_it(
    project: LocalStack, places: dict[str, str], name: str
) -> None:
    """The finding has the fix; once that is pasted, the check passes."""
    case = CASES[name]
    environ = settings_of(project)
    for setting, value in case.settings.items():
        if value is None:
            del environ[setting]
        else:
            environ[setting] = value.format(**places) if "{" in value else value
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as database:
        if case.sql:
            await database.execute(case.sql)
        try:
            found = finding(await check(environ), case.check)
            assert found is not None
            assert (found.status, case.fix in found.fix) == (case.status, True), found
            if case.mends:
                await paste(found, environ, database, project.postgres.binary("psql"))
                after = finding(await check(environ), case.check)
                assert after is None or after.status == "ok", after
        finally:
            if case.undo:
                await database.execute(case.undo)


async def paste(
    found: Check, environ: dict[str, str], database: psycopg.AsyncConnection[Any], binary: Path
) -> None:
    """Do what an operator does with a fix."""
    if found.paste == "sql":
        await database.execute(found.fix)
        return
    assert found.paste == "shell"
    if found.fix.startswith("psql "):
        command = found.fix.replace("psql", str(binary), 1)
        process = await asyncio.create_subprocess_shell(
            command, env=environ, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0
        return
    for part in found.fix.partition("   #")[0].split("; "):
        command, _, rest = part.partition(" ")
        setting, _, value = rest.partition("=")
        if command == "unset":
            environ.pop(rest)
        else:
            environ[setting] = re.sub(r'"?\$(\w+)"?', lambda m: environ[m[1]], value)


def test_twenty_misconfigurations_and_more() -> None:
    """Each is found; the fixes that are SQL or settings are pasted, the others need somebody's secret or hand."""
    assert len(CASES) >= 20
    assert sum(case.mends for case in CASES.values()) >= 20


async def test_a_clock_that_is_wrong_is_found(project: LocalStack) -> None:
    """Beside the project's and the database's."""

    class Ahead(SystemClock):
        def now(self) -> dt.datetime:
            return super().now() + dt.timedelta(minutes=10)

    checks = await run_check(settings_of(project), clock=Ahead())
    for name in ("clock project", "clock database"):
        found = finding(checks, name)
        assert found is not None
        assert (found.status, found.fix) == ("fail", "sudo timedatectl set-ntp true")


async def test_without_the_database_it_says_what_it_cannot_know(project: LocalStack) -> None:
    """Everything else is checked over the API."""
    environ = settings_of(project)
    del environ["SUPABASE_DB_URL"]
    checks = await check(environ)
    assert {one.check for one in checks if one.status != "ok"} == set(_OF_DATABASE)
    assert all("SUPABASE_DB_URL is not set" in one.says for one in checks if one.status == "not_checked")


async def test_what_completes_the_journal_is_printed_once(project: LocalStack) -> None:
    """With the tables that policies read, so that one paste is enough; what follows from it refers to it."""
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as database:
        await database.execute(
            "select public.bridge_unwatch('public.rooms'), public.bridge_unwatch('public.posts');"
            "alter publication supabase_realtime drop table public.rooms, public.posts;"
            "create policy team on public.posts for select to authenticated using (exists ("
            " select from public.teams t where t.room_id = posts.room_id and t.user_id = (select auth.uid())))"
        )
        try:
            checks = await check(settings_of(project))
            (found,) = [one for one in checks if "bridge_watch" in one.fix]
            assert found.check == "capture"
            assert all(f"bridge_watch('public.{name}')" in found.fix for name in ("rooms", "posts", "teams"))
            referring = [one for one in checks if one.fix.startswith("see capture, above")]
            assert {one.check for one in referring} == {"captured", "policies"}
            assert checks.index(found) < min(map(checks.index, referring))
            await database.execute(found.fix.encode())
            assert [one for one in await check(settings_of(project)) if one.status != "ok"] == []
        finally:
            await database.execute(
                "drop policy team on public.posts; select public.bridge_unwatch('public.teams');"
                "select public.bridge_publish('public.rooms'), public.bridge_publish('public.posts')"
            )


KEYLESS = """
create table public.keyless (a int);
alter table public.keyless enable row level security;
create policy all_of_it on public.keyless for select using (true);
"""


@pytest.mark.parametrize(
    ("name", "check_name", "sql", "undo"),
    [
        ("public.elsewhere", "table", "", ""),
        ("public.latest", "table", "create view public.latest as select 1 as id", "drop view public.latest"),
        ("auth.users", "captured", "", ""),
        (
            "public.keyless",
            "primary_key",
            KEYLESS,
            "drop table public.keyless",
        ),
    ],
)
async def test_a_table_that_cannot_be_watched_is_one_finding(
    project: LocalStack, name: str, check_name: str, sql: str, undo: str
) -> None:
    """Nothing is said to be wrong that only follows from it: of the other tables, or of itself."""
    environ = settings_of(project) | {"BRIDGE_TABLES": f"{OURS['BRIDGE_TABLES']},{name}"}
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as database:
        await database.execute(sql.encode())
        try:
            checks = await check(environ)
        finally:
            await database.execute(undo.encode())
    wrong = [(one.check, one.subject, one.status) for one in checks if one.status != "ok"]
    assert wrong == [(check_name, name, "fail")]
    chosen = finding(checks, "capture")
    assert chosen is not None
    assert chosen.says.startswith("the journal,")  # as soon as that one is mended


async def test_without_the_functions_realtime_is_tried_all_the_same(project: LocalStack) -> None:
    """Before `bridge migrate`, with tables that are published."""
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as database:
        await database.execute("revoke execute on function public.bridge_catalog() from service_role")
        try:
            found = finding(await check(settings_of(project)), "realtime")
        finally:
            await database.execute("grant execute on function public.bridge_catalog() to service_role")
    assert found is not None
    assert found.status == "ok"


async def run(project: LocalStack, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and both streams."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "check", *arguments),
        env={**environment(project), **settings_of(project), **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_ends_with_what_it_found(project: LocalStack, tmp_path: Path) -> None:
    """Exit 0 where nothing fails and 1 where something does; JSON is a list and nothing else."""
    code, out, err = await run(project)
    assert (code, err) == (0, "")
    assert re.search(r"\d+ checks: 0 failed, 0 warnings, 0 not checked\n$", out)
    conf = tmp_path / "nginx.conf"
    conf.write_text("location /ws { proxy_read_timeout 10s; proxy_pass http://127.0.0.1:3002; }")
    code, out, err = await run(project, "--json", "--nginx-conf", str(conf), BRIDGE_LOG_LEVEL="debug")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert {key for one in found for key in one} == {"check", "subject", "status", "says", "fix", "paste"}
    assert [one["check"] for one in found if one["status"] == "fail"] == ["nginx", "nginx"]


async def test_no_secret_is_shown_whatever_is_wrong(project: LocalStack) -> None:
    """Keys, tokens, secrets, passwords and rows, on both streams, in both forms, at debug level."""
    secret = f"{CANARY}-secret-of-more-than-32-bytes-in-length"
    token = mint_token(
        secret, user_id=str(uuid.uuid4()), role="authenticated", ttl_s=60, now=SystemClock().now()
    )
    wrong = {
        "BRIDGE_LOG_LEVEL": "debug",
        "BRIDGE_LOGG_LEVEL": CANARY,
        "SUPABASE_SERVICE_ROLE_KEY": token,
        "SUPABASE_JWT_SECRET": secret,
        "SUPABASE_DB_URL": f"postgresql://postgres:{CANARY}@127.0.0.1:1/postgres",
    }
    malformed = {"SUPABASE_DB_URL": f"postgresql://me:{CANARY}%zz@x/y", "BRIDGE_LOG_LEVEL": "debug"}
    async with asyncio.TaskGroup() as tasks:
        runs = [
            tasks.create_task(run(project, *form, **settings))
            for form, settings in (((), wrong), (("--json",), wrong), (("--json",), malformed))
        ]
    for _, out, err in (one.result() for one in runs):
        for shown in (CANARY, token, project.service_role_key, project.jwt_secret):
            assert shown not in out + err


async def test_the_documented_output_is_that_of_the_command(project: LocalStack) -> None:
    """docs/check.md shows a run; numbers may differ."""
    document = (ROOT / "docs" / "check.md").read_text()
    shown = re.search(r"```text\n(.*?)```", document, re.DOTALL)
    assert shown is not None
    async with await psycopg.AsyncConnection.connect(project.database_url, autocommit=True) as database:
        await database.execute("revoke select on public.messages from service_role")
        try:
            _, out, _ = await run(
                project,
                BRIDGE_TABLES="public.dialogs,public.messages",
                BRIDGE_PING_INTERVALL_S="20",
                BRIDGE_PORT="0",
            )
        finally:
            await database.execute("grant select on public.messages to service_role")

    def without_numbers(text: str) -> str:
        return re.sub(r"\d+", "N", re.sub(r"(?m)^(ok +journal +).*$", r"\1...", text))

    assert without_numbers(out) == without_numbers(shown[1]), out


def test_every_check_is_documented() -> None:
    """docs/check.md has a row for each."""
    document = (ROOT / "docs" / "check.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "bridge" / "checking").glob("*.py"))
    names = set(re.findall(r'\b(?:ok|bad|told|unchecked)\(\s*"(\w+)"', sources))
    assert len(names) > 20
    assert {name for name in names if f"`{name}`" not in document} == set()
