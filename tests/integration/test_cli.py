"""The commands, run as a user runs them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import psycopg
import pytest

from bridge.local.stack import LocalStack
from bridge.minting import KEY_TTL_S
from tests.support.clients import websocket_client
from tests.support.worker import environment, running_worker

BRIDGE = [sys.executable, "-m", "bridge"]


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_"))}
    return subprocess.run(
        [*BRIDGE, *arguments],
        env={**inherited, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@asynccontextmanager
async def _started(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command until the block ends, then send what Ctrl-C sends."""
    process = await asyncio.create_subprocess_exec(
        *BRIDGE,
        *arguments,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await process.communicate()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode()


def _api_of(local: int) -> int:
    children = map(int, Path(f"/proc/{local}/task/{local}/children").read_text().split())
    return next(p for p in children if b"bridge.local.api" in Path(f"/proc/{p}/cmdline").read_bytes())


async def test_run_serves_a_stack_that_local_started_in_another_process():
    """`bridge local --json` in one process, `bridge run` in another: a message arrives."""
    async with _started("local", "--json") as local:
        facts = json.loads(await _line(local))
        stack = LocalStack(jwt_secret=facts["jwt_secret"])  # only for its tokens and names: it is not started
        stack.service_role_key = facts["service_role_key"]
        ann = facts["users"][0]
        async with (
            running_worker(stack, SUPABASE_URL=facts["supabase_url"]) as worker,
            websocket_client(worker.ws_url, ann["token"]) as client,
            await psycopg.AsyncConnection.connect(facts["database_url"], autocommit=True) as connection,
        ):
            await connection.execute(
                "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'hello')",
                (facts["dialogs"][0]["id"], ann["id"]),
            )
            await client.until(lambda m: m.get("new", {}).get("body") == "hello")
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(facts["database_url"])


async def test_local_prints_exports_and_ends_with_its_api():
    """The lines can be pasted into a shell; what is left without the API would be of no use, and says so."""
    async with _started("local") as local:
        lines = [await _line(local) for _ in range(4)]
        api = _api_of(local.pid)
        os.kill(api, signal.SIGKILL)
        async with asyncio.timeout(20):
            said = (await local.communicate())[1].decode().splitlines()[-1]
        assert local.returncode == 2
        assert said.startswith(f"bridge: the local API has ended (process {api}, code -9)")
    names = [line.removeprefix("export ").split("=", 1)[0] for line in lines]
    assert names == ["SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL"]


async def test_demo_serves_the_page_and_its_requests():
    """`bridge demo` answers `/`, lists its users, reads rows as one of them, and writes a message."""
    import httpx

    async with _started("demo", "--port", "0", "--json", "--quiet") as demo:
        facts = json.loads(await _line(demo))
        ann, bob, cara, dan = facts["users"]
        async with (
            httpx.AsyncClient(base_url=facts["url"]) as http,
            websocket_client(facts["ws_url"], bob["token"]) as client,
        ):
            assert "<title>" in (await http.get("/")).text
            assert [u["id"] for u in (await http.get("/demo/users")).json()] == [
                u["id"] for u in facts["users"]
            ]
            rows = await http.get("/demo/rows", headers={"Authorization": f"Bearer {dan['token']}"})
            assert [d["title"] for d in rows.json()["dialogs"]] == ["Release planning", "Lunch"]
            id_ = str(uuid.uuid4())
            body = {"id": id_, "dialog_id": facts["dialogs"][0]["id"], "body": "typed in the page"}
            said = await http.post(
                "/demo/messages", json=body, headers={"Authorization": f"Bearer {ann['token']}"}
            )
            assert said.status_code == 201
            await client.until(lambda m: m.get("new", {}).get("id") == id_)
            again = await http.post(
                "/demo/messages", json=body, headers={"Authorization": f"Bearer {ann['token']}"}
            )
            assert again.status_code == 201  # sent twice, because the answer got lost: written once
            for path in ("/demo/page.js", "/demo/view.js", "/demo/page.css", "/client.js", "/client.d.ts"):
                assert (await http.get(path)).status_code == 200
            strange = await http.post(
                "/demo/messages", json=body, headers={"Authorization": f"Bearer {dan['token']}"}
            )
            assert strange.status_code == 403
            rows = await http.get("/demo/rows", headers={"Authorization": f"Bearer {ann['token']}"})
            assert sum(m["id"] == id_ for m in rows.json()["messages"]) == 1
            assert (await http.get("/demo/rows")).status_code == 401
            assert cara["email"] == "cara@example.com"


async def test_tail_shows_what_one_user_gets_and_what_upstream_sends(stack: LocalStack):
    """`bridge tail --as` prints the user's events, `bridge tail` the changes themselves."""
    owner, dialog = str(uuid.uuid4()), str(uuid.uuid4())
    async with (
        running_worker(stack) as worker,
        _started("tail", "--as", owner, "--url", worker.ws_url, **environment(stack)) as as_user,
        _started("tail", **environment(stack)) as upstream,
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
    ):
        while json.loads(await _line(as_user))["type"] != "subscribed":
            pass
        assert json.loads(await _line(upstream))["event"] == "live"
        await connection.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (dialog, owner))
        event = json.loads(await _line(as_user))
        assert (event["type"], event["new"]["id"]) == ("dialog_update", dialog)
        change = json.loads(await _line(upstream))
        assert (change["event"], change["action"], change["new"]["id"]) == ("change", "INSERT", dialog)


def test_token_is_one_that_the_project_accepts():
    """The printed token has the user as sub, and the asked lifetime."""
    user = str(uuid.uuid4())
    result = _run("token", "--user", user, "--ttl", "15m", SUPABASE_JWT_SECRET="s" * 32)
    claims = jwt.decode(result.stdout.strip(), "s" * 32, algorithms=["HS256"], audience="authenticated")
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == (user, "authenticated", 900)


@pytest.mark.parametrize(("ttl", "lasts_s"), [((), KEY_TTL_S), (("--ttl", "90d"), 90 * 86_400)])
def test_the_workers_key_is_nobodys_token(ttl: tuple[str, ...], lasts_s: int):
    """Without `sub`, and for ten years unless told otherwise."""
    result = _run("token", "--role", "bridge_worker", *ttl, SUPABASE_JWT_SECRET="s" * 32)
    claims = jwt.decode(result.stdout.strip(), "s" * 32, algorithms=["HS256"], audience="bridge_worker")
    assert ("sub" in claims, claims["role"], claims["exp"] - claims["iat"]) == (
        False,
        "bridge_worker",
        lasts_s,
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (["run"], {}, "SUPABASE_URL is not set"),
        (["run"], {"SUPABASE_URL": "http://x", "SUPABASE_SERVICE_ROLE_KEY": "k", "BRIDGE_PROT": "1"}, "did you mean BRIDGE_PORT?"),
        (["run"], {"SUPABASE_URL": "x", "SUPABASE_SERVICE_ROLE_KEY": "k"}, "SUPABASE_URL is not an http(s) URL"),
        (["run"], {"SUPABASE_URL": "http://x", "SUPABASE_SERVICE_ROLE_KEY": "k", "BRIDGE_PORT": "99999"}, "BRIDGE_PORT='99999' is not valid"),
        (["demo", "--port", "99999"], {}, "99999 is not in the range"),
        (["tail", "--as", "11111111-1111-1111-1111-111111111111", "--url", "foo"], {"SUPABASE_URL": "http://x", "SUPABASE_SERVICE_ROLE_KEY": "k", "SUPABASE_JWT_SECRET": "s" * 32}, "foo is no WebSocket URL"),
        (["token", "--user", "11111111-1111-1111-1111-111111111111"], {}, "SUPABASE_JWT_SECRET is not set"),
        (["token", "--user", "me"], {}, "is not a valid UUID"),
        (["token"], {}, "--user is missing"),
        (["token", "--role", "postgres"], {}, "'postgres' is not one of 'authenticated', 'anon', 'bridge_worker'"),
        (["token", "--user", "11111111-1111-1111-1111-111111111111", "--ttl", "0s"], {}, "is not a duration"),
        (["token", "--role", "bridge_worker", "--user", "11111111-1111-1111-1111-111111111111"], {}, "no user's"),
        (["tail", "--as", "11111111-1111-1111-1111-111111111111"], {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "SUPABASE_JWT_SECRET": "s" * 32, "BRIDGE_PORT": "1"}, "no bridge answers"),
    ],
)  # fmt: skip
def test_a_wrong_start_ends_with_one_line_that_says_what_to_do(arguments, environ, says):
    """Exit code 2 and no traceback."""
    result = _run(*arguments, **environ)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_short_secret_is_one_line_of_the_log():
    """With a hint; nothing that is no JSON is printed among the lines, whatever is signed or verified."""
    user, secret = str(uuid.uuid4()), "short"
    minted = await asyncio.to_thread(_run, "token", "--user", user, SUPABASE_JWT_SECRET=secret)
    assert minted.stderr == ""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with _started(
        "run",
        SUPABASE_URL="http://127.0.0.1:1",
        SUPABASE_SERVICE_ROLE_KEY="k",
        SUPABASE_JWT_SECRET=secret,
        BRIDGE_PORT=str(port),
        BRIDGE_ADMIN_PORT="0",
        BRIDGE_DRAIN_TIMEOUT_S="1",
    ) as worker:
        assert worker.stderr is not None
        async with asyncio.timeout(30):
            lines = [json.loads(await worker.stderr.readline())]
            while lines[-1]["event"] != "project_unreachable":  # it listens by now
                lines.append(json.loads(await worker.stderr.readline()))
            async with websocket_client(f"ws://127.0.0.1:{port}/ws", minted.stdout.strip()) as client:
                await client.until(lambda m: m["type"] == "connected")
            worker.send_signal(signal.SIGTERM)
            lines += [json.loads(line) for line in (await worker.stderr.read()).splitlines()]
    said = [line for line in lines if line["event"] == "jwt_secret_short"]
    assert [(line["bytes"], line["level"]) for line in said] == [(5, "warning")]
    assert "32 bytes" in said[0]["hint"]


def test_a_taken_port_is_named():
    """Somebody else listens there: the message names the port, and no traceback follows."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = _run(
            "run",
            SUPABASE_URL="http://127.0.0.1:1",
            SUPABASE_SERVICE_ROLE_KEY="k",
            BRIDGE_PORT=port,
            BRIDGE_ADMIN_PORT="0",
        )
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "set BRIDGE_PORT" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_hang_up_has_the_worker_leave_in_order(stack: LocalStack):
    """SIGHUP drains as SIGTERM does, also when the terminal is gone that it logs to; a second one changes nothing."""
    terminal, its_end = os.openpty()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = await asyncio.create_subprocess_exec(
        *BRIDGE,
        "run",
        env=environment(stack, BRIDGE_PORT=str(port)),
        stderr=its_end,
        # These tests may be run under nohup, which has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    os.close(its_end)
    said = b""
    try:
        async with asyncio.timeout(60):
            while b"service_ready" not in said:
                said += await asyncio.to_thread(os.read, terminal, 10_000)
            async with websocket_client(
                f"ws://127.0.0.1:{port}/ws", stack.token(str(uuid.uuid4()))
            ) as client:
                os.close(terminal)
                worker.send_signal(signal.SIGHUP)
                worker.send_signal(signal.SIGHUP)
                await client.until_type("reconnect")
                worker.send_signal(signal.SIGHUP)
                await client.socket.wait_closed()
                assert client.socket.close_code == 1012
            await worker.wait()
    finally:
        if worker.returncode is None:
            worker.kill()
    assert worker.returncode in (0, 120)  # Python's word for a stderr that is gone


async def test_a_database_url_that_is_none_ends_the_start():
    """Trying again would not make it one: one line, without what may be a password."""
    result = await asyncio.to_thread(
        _run,
        "run",
        SUPABASE_URL="http://127.0.0.1:1",
        SUPABASE_SERVICE_ROLE_KEY="k",
        BRIDGE_UPSTREAM="wal",
        SUPABASE_DB_URL="postgresql://postgres:s3cret@x@y:z/postgres",
        BRIDGE_PORT="0",
        BRIDGE_ADMIN_PORT="0",
    )
    assert result.returncode == 2
    assert "SUPABASE_DB_URL is no connection string: write postgresql://" in result.stderr
    assert not {"s3cret", "Traceback"} & set(result.stderr.replace("/", " ").replace(":", " ").split())


def test_an_address_of_another_machine_is_advised_on():
    """The message names the settings to look at."""
    for host in ("192.0.2.1", "nowhere.invalid"):
        result = _run(
            "run",
            SUPABASE_URL="http://127.0.0.1:1",
            SUPABASE_SERVICE_ROLE_KEY="k",
            BRIDGE_HOST=host,
            BRIDGE_PORT="0",
            BRIDGE_ADMIN_PORT="0",
        )
        assert result.returncode == 1
        assert f"cannot listen on {host}" in result.stderr
        assert "set BRIDGE_HOST" in result.stderr


async def test_tail_of_something_else_says_so():
    """A web server that is no bridge: one line, no traceback."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        result = await asyncio.to_thread(
            _run,
            *("tail", "--as", str(uuid.uuid4()), "--url", url),
            SUPABASE_URL="http://x",
            SUPABASE_SERVICE_ROLE_KEY="k",
            SUPABASE_JWT_SECRET="s" * 32,
        )
    assert result.returncode == 2
    assert "does not answer as a bridge does" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_table_that_cannot_be_watched_ends_the_start(stack: LocalStack):
    """A table that is not there, or not published, is named with the fix; the exit code is 2."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        await connection.execute("create table if not exists public.unpublished (id int primary key)")
    for table, says in (
        ("public.nowhere", "does not exist"),
        ("public.unpublished", "public.bridge_watch('public.unpublished')"),
    ):
        settings = environment(stack, BRIDGE_TABLES=f"public.dialogs,public.messages,{table}")
        result = await asyncio.to_thread(
            _run, "run", **{k: v for k, v in settings.items() if k.startswith(("BRIDGE", "SUPA"))}
        )
        assert result.returncode == 2
        assert says in result.stderr
        assert "Traceback" not in result.stderr
