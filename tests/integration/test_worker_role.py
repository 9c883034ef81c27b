"""A worker whose key is that of bridge_worker: it delivers, and the key is good for nothing else."""

import asyncio
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from bridge.checking.command import run_check
from bridge.checking.report import Check
from bridge.clock import SystemClock
from bridge.local.stack import LocalStack
from bridge.minting import mint_key
from tests.support.clients import websocket_client
from tests.support.gateway import gateway
from tests.support.stack import ROOT, local_stack
from tests.support.worker import environment, running_worker

ANN, BOB = str(uuid.uuid4()), str(uuid.uuid4())

# Only Postgres knows what this policy answers.
WORLD = """
create schema app;
grant usage on schema app to authenticated;
create table app.notes (id int primary key, owner_id uuid, body text);
alter table app.notes enable row level security;
create function app.mood(body text) returns boolean language plpgsql volatile as $$ begin perform pg_sleep(0); return true; end $$;
create policy own on app.notes for select to authenticated using (owner_id = auth.uid() and app.mood(body));
grant select on app.notes to authenticated;
select public.bridge_watch('app.notes'), public.bridge_publish('app.notes');
"""
GUIDE = (ROOT / "docs" / "security.md").read_text()
TABLES = "public.dialogs,public.messages,app.notes"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """The reference schema, and a table of a schema that service_role may not even name."""
    with local_stack() as running:
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            connection.execute(WORLD.encode())
            for statement in re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL):
                connection.execute(statement.encode())
        yield running


@pytest.fixture
async def settings(stack: LocalStack) -> AsyncIterator[dict[str, str]]:
    """What a worker is given, before a gateway that knows the project's own two keys."""
    async with gateway(stack.url, {}, keys=(stack.anon_key, stack.service_role_key)) as url:
        key = mint_key(stack.jwt_secret, role="bridge_worker", now=SystemClock().now())
        yield {
            "SUPABASE_URL": url,
            "SUPABASE_SERVICE_ROLE_KEY": key,
            "SUPABASE_ANON_KEY": stack.anon_key,
            "BRIDGE_TABLES": TABLES,
        }


async def _checks(stack: LocalStack, settings: dict[str, str]) -> dict[str, Check]:
    found = await run_check(environment(stack, **settings), clock=SystemClock())
    return {f"{check.check} {check.subject}".strip(): check for check in found}


WAYS = {
    "the journal": {"BRIDGE_CAPTURE": "journal"},
    "the tables": {"BRIDGE_CAPTURE": "tables"},
    "the wal": {"BRIDGE_CAPTURE": "journal", "BRIDGE_UPSTREAM": "wal"},  # with the login of docs/security.md
}


@pytest.mark.parametrize("way", WAYS)
async def test_it_delivers(stack: LocalStack, settings: dict[str, str], way: str):
    """What memory decides and what Postgres is asked, of each way to capture; a member who goes hears no more."""
    login = {"SUPABASE_DB_URL": stack.database_url.replace("//postgres@", "//bridge_stream@")}
    async with (
        running_worker(stack, **settings, **login, **WAYS[way]) as worker,
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db,
    ):
        async with (
            websocket_client(worker.ws_url, stack.token(ANN)) as ann,
            websocket_client(worker.ws_url, stack.token(BOB)) as bob,
        ):
            dialog, number = str(uuid.uuid4()), list(WAYS).index(way)
            await db.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (dialog, ANN))
            join = "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)"
            await db.execute(join, (dialog, BOB))
            write = "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, %s)"
            await db.execute(write, (dialog, ANN, "one"))
            await bob.until(lambda m: m.get("new", {}).get("body") == "one")
            await db.execute("delete from public.dialog_participants where user_id = %s", (BOB,))
            await db.execute(write, (dialog, ANN, "two"))
            await db.execute("insert into app.notes values (%s, %s, 'hers')", (2 * number, ANN))
            await db.execute("insert into app.notes values (%s, %s, 'his')", (2 * number + 1, BOB))
            await ann.until(lambda m: m.get("new", {}).get("body") == "hers")
            await bob.until(lambda m: m.get("new", {}).get("body") == "his")
        bodies = [[e["new"].get("body") for e in c.events if "body" in e["new"]] for c in (ann, bob)]
        assert bodies == [["one", "two", "hers"], ["one", "his"]]
        await worker.logged("capture_chosen")
        assert not [line for line in worker.log if line.get("level") == "error"]


async def test_check_says_which_role_is_in_use(stack: LocalStack, settings: dict[str, str]):
    """Everything is in order with it; service_role lacks what it was never granted."""
    checks = await _checks(stack, settings)
    assert [str(c) for c in checks.values() if c.status == "fail"] == []
    assert "bridge_worker, which reads what is relayed and does nothing else" in checks["key"].says
    assert checks["readable app.notes"].says == "bridge_worker reads it"
    checks = await _checks(stack, {"BRIDGE_TABLES": TABLES})
    assert "bridge token --role bridge_worker" in checks["key"].says
    assert checks["readable app.notes"].status == "fail"


async def test_check_names_what_it_lacks(stack: LocalStack, settings: dict[str, str]):
    """A key that the gateway knows; SELECT on a table, with the statement that mends it; the role itself."""
    without = {name: value for name, value in settings.items() if name != "SUPABASE_ANON_KEY"}
    checks = await _checks(stack, without)
    assert checks["functions"].fix.startswith("export SUPABASE_ANON_KEY=")
    assert checks["realtime"].fix.startswith("export SUPABASE_ANON_KEY=")
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db:
        await db.execute("revoke select on public.dialog_participants from bridge_worker")
        found = (await _checks(stack, settings))["readable public.dialog_participants"]
        assert found.fix == "grant select on public.dialog_participants to bridge_worker;"
        await db.execute(found.fix.encode())
        await db.execute("revoke bridge_worker from authenticator")
        found = (await _checks(stack, settings))["functions"]
        assert found.fix == "bridge migrate"
        await db.execute("grant bridge_worker to authenticator")
    assert [str(c) for c in (await _checks(stack, settings)).values() if c.status == "fail"] == []


async def test_its_key_is_good_for_nothing_else(stack: LocalStack, settings: dict[str, str]):
    """Whoever steals it changes nothing, by no function, and becomes nobody else."""
    key, refused = settings["SUPABASE_SERVICE_ROLE_KEY"], []
    headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {key}"}
    as_service = {"role": "service_role", "claims": "{}"}
    async with httpx.AsyncClient(base_url=f"{stack.url}/rest/v1/rpc/", headers=headers) as http:
        for function, arguments in (
            ("bridge_watch", {"table": "public.messages"}),
            ("bridge_unwatch", {"table": "public.messages"}),
            ("bridge_publish", {"table": "public.messages"}),
            ("bridge_rows", {"table": "auth.users"}),
            ("bridge_answer", {"given": [], "principal": as_service}),
            ("bridge_visible", {"table": "public.messages", "rows": "[]", "principals": [as_service]}),
        ):
            answer = await http.post(function, json=arguments)
            refused.append((function, answer.json().get("code") if answer.status_code >= 400 else None))
    assert refused == [
        *((name, "42501") for name in ("bridge_watch", "bridge_unwatch", "bridge_publish", "bridge_rows")),
        *((name, "22023") for name in ("bridge_answer", "bridge_visible")),
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
async def test_the_guide_is_typed_in(stack: LocalStack, settings: dict[str, str]):
    """docs/security.md: the commands in it make a worker's key, which `bridge check` is content with."""
    [block] = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    typed = block.replace("SUPABASE_ANON_KEY=...", f"SUPABASE_ANON_KEY={stack.anon_key}")
    given = {
        "SUPABASE_URL": settings["SUPABASE_URL"],
        "SUPABASE_SERVICE_ROLE_KEY": "",
        "BRIDGE_TABLES": TABLES,
    }
    environ = environment(stack, **given)
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    result = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-ec", typed],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "role bridge_worker, which reads" in result.stdout
