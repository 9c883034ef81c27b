"""The stack as a whole: what it hands out, and that nothing outlives it."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import jwt
import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.stack import ROOT, alive

_PARENT = """
import asyncio
from bridge.local.stack import LocalStack

async def main():
    async with LocalStack() as stack:
        await stack.restart_postgres()
        print(stack.postgres.pid, stack.api_pid, stack.postgres.folder, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_nothing_outlives_the_process_that_started_it(ending: signal.Signals):
    """However that ends: no Postgres, no API, no temporary folder."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        postgres, api, folder = parent.stdout.readline().split()
        assert alive(int(postgres))
        assert alive(int(api))
        parent.send_signal(ending)

    give_up_s = time.monotonic() + 20
    while alive(int(postgres)) or alive(int(api)) or Path(folder).exists():
        assert time.monotonic() < give_up_s, "something is left"
        time.sleep(0.05)


async def test_it_starts_and_stops_in_a_running_loop(tmp_path: Path):
    """Without blocking it, and runs the SQL it is given, in order."""
    first, second = tmp_path / "1.sql", tmp_path / "2.sql"
    first.write_text("create table public.t (id int); insert into public.t values (1);")
    second.write_text("update public.t set id = 2;")
    longest_s, started_s = 0.0, time.perf_counter()

    async def watch() -> None:
        nonlocal longest_s
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, time.perf_counter() - began_s)

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        async with LocalStack() as stack:
            await stack.apply_sql([first, second])
            async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
                cursor = await connection.execute("select id from public.t")
                assert await cursor.fetchone() == (2,)
        watching.cancel()

    # A part of the whole, because a busy machine stretches both.
    assert longest_s < 0.5 * (time.perf_counter() - started_s)


def test_keys_and_tokens_are_those_of_a_project():
    """Signed with its secret: a role, ten years; a user, an hour."""
    stack = LocalStack(jwt_secret="a secret of at least thirty-two bytes")

    for key, role in ((stack.anon_key, "anon"), (stack.service_role_key, "service_role")):
        claims = jwt.decode(key, stack.jwt_secret, algorithms=["HS256"], audience=role)
        assert (claims["role"], claims["iss"]) == (role, "supabase")
        assert claims["exp"] - claims["iat"] > 9 * 365 * 24 * 3600
    claims = jwt.decode(
        stack.token("u", email="u@x.test"), stack.jwt_secret, algorithms=["HS256"], audience="authenticated"
    )
    assert (claims["sub"], claims["role"], claims["email"]) == ("u", "authenticated", "u@x.test")
    assert claims["exp"] - claims["iat"] == 3600


def test_projects_do_not_share_a_secret():
    """A token of one is none of another."""
    assert LocalStack().jwt_secret != LocalStack().jwt_secret
