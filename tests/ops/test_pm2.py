"""ops/pm2/ecosystem.config.cjs: a real PM2 runs real workers."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.nginx import Nginx, running_nginx
from tests.support.pm2 import CONFIG, Pm2, running_pm2
from tests.support.stack import alive
from tests.support.worker import environment

CLIENTS = int(os.environ.get("PM2_CLIENTS", "200"))
"""PM2_CLIENTS=500 where there is time: every one of them makes its TLS connection twice."""
USERS = [str(uuid.uuid4()) for _ in range(10)]


def _ports() -> list[int]:
    """Return four free ports in a row: public and admin of two workers.

    Below those that the kernel gives to connections: one of these could have the port while a worker restarts.
    """
    while True:
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            first = random.randrange(20_000, 32_000)
            for port in range(first, first + 4):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return list(range(first, first + 4))


def _settings(stack: LocalStack, port: int, **more: str) -> dict[str, str]:
    settings = environment(stack, BRIDGE_PORT=str(port), BRIDGE_ADMIN_PORT=str(port + 1), **more)
    return {k: v for k, v in settings.items() if k.startswith(("BRIDGE_", "SUPABASE_"))}


@pytest.fixture
async def pm2(tmp_path: Path) -> AsyncIterator[Pm2]:
    """PM2 without processes."""
    async with running_pm2(tmp_path) as running:
        yield running


async def test_it_starts_drains_and_comes_back(stack: LocalStack, pm2: Pm2):
    """Start, reload with SIGINT and a drain, restart after a crash, stop; all in the log."""
    port = _ports()[0]
    await pm2.start(**_settings(stack, port))
    await pm2.logged("service_ready")
    first = await pm2.facts()
    url = f"ws://127.0.0.1:{port}/ws"
    async with websocket_client(url, stack.token(USERS[0])) as client:
        await pm2.run("reload", "websocket-server")
        assert (await client.until_type("reconnect"))["after_ms"] >= 0
        await client.socket.wait_closed()
        assert client.socket.close_code == 1012
    await pm2.logged("service_ready", count=2)
    events = [line["event"] for line in pm2.log()]
    assert events.index("drain_started") < events.index("service_stopped")
    second = await pm2.facts()
    assert second["pid"] != first["pid"]
    os.kill(second["pid"], signal.SIGKILL)
    await pm2.logged("service_ready", count=3)
    # By its file it takes what was changed in the settings, by its name it keeps the former ones.
    changed = _settings(stack, port, BRIDGE_PING_INTERVAL_S="20")
    await pm2.run("reload", "websocket-server", **changed)
    await pm2.logged("service_ready", count=4)
    assert "BRIDGE_PING_INTERVAL_S" not in (await pm2.facts())["pm2_env"]
    await pm2.run("reload", str(CONFIG), **changed)
    await pm2.logged("service_ready", count=5)
    assert (await pm2.facts())["pm2_env"]["BRIDGE_PING_INTERVAL_S"] == "20"
    third = await pm2.facts()
    assert third["pm2_env"]["status"] == "online"
    assert not alive(second["pid"])
    await pm2.run("stop", "websocket-server")
    assert not alive(third["pid"])
    assert [line["event"] for line in pm2.log()].count("service_stopped") == 4


async def test_the_keys_that_it_saves_are_nobody_elses(stack: LocalStack, pm2: Pm2):
    """`pm2 save`, for the next boot, writes all settings, into a file that its folder keeps from others."""
    await pm2.start(**_settings(stack, _ports()[0]))
    await pm2.run("save")
    assert stack.service_role_key in (pm2.home / "dump.pm2").read_text()
    assert pm2.home.stat().st_mode & 0o077 == 0


async def test_a_wrong_setting_is_not_tried_again(stack: LocalStack, pm2: Pm2):
    """Exit code 2: PM2 stops it, and the log says why."""
    await pm2.start(**_settings(stack, _ports()[0], BRIDGE_PROT="1"))
    async with asyncio.timeout(20):
        while (await pm2.facts())["pm2_env"]["status"] != "stopped":  # noqa: ASYNC110 - of PM2
            await asyncio.sleep(0.1)
    assert (await pm2.facts())["pm2_env"]["restart_time"] <= 1
    assert "did you mean BRIDGE_PORT?" in (pm2.home / "logs" / "websocket-server-error.log").read_text()


class _Page:
    """A client that comes back with its cursor, as the browser client does."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._cursor: str | None = None
        self.bodies: list[str] = []
        self.subscribed = asyncio.Event()
        self.connects = 0
        self.unrecovered = 0

    async def follow(self, nginx: Nginx) -> None:
        """Follow until cancelled."""
        while True:
            with contextlib.suppress(WebSocketException, OSError):
                await self._once(nginx)
            await asyncio.sleep(0.2)

    async def _once(self, nginx: Nginx) -> None:
        protocols = ["bridge.v1", f"bearer.{self._token}"]
        async with connect(nginx.ws_url, ssl=nginx.tls, subprotocols=protocols, open_timeout=30) as socket:  # type: ignore[arg-type]
            self.connects += 1
            since = {} if self._cursor is None else {"since": self._cursor}
            await socket.send(json.dumps({"type": "subscribe", **since}))
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "subscribed":
                    self.unrecovered += bool(since) and not message["recovered"]
                    self.subscribed.set()
                self._cursor = message.get("cursor", self._cursor)
                if message["type"] == "new_message":
                    self.bodies.append(message["new"]["body"])


async def test_nobody_loses_an_event_while_two_workers_are_reloaded(
    stack: LocalStack, pm2: Pm2, tmp_path: Path
):
    """Behind nginx, one worker after the other, under clients that come back with their cursors and a writer."""
    ports = _ports()
    settings = _settings(stack, ports[0], BRIDGE_MAX_CONNECTIONS_PER_USER="1000")
    await pm2.start(**settings, WORKERS="2")
    names = ("websocket-server", "websocket-server-2")
    for name in names:
        await pm2.logged("service_ready", name=name)
    written: list[str] = []
    reloaded = asyncio.Event()

    async def write(connection: psycopg.AsyncConnection[object]) -> None:
        while not reloaded.is_set():  # who is cancelled may have committed what it has not noted
            body = f"event {len(written)}"
            # No new dialogs: what changes who sees what, a client cannot be told afterwards (docs/protocol.md).
            await connection.execute(
                "insert into public.messages (dialog_id, sender_id, body) "
                "select id, owner_id, %s from public.dialogs where owner_id::text = any (%s)",
                (body, USERS),
            )
            written.append(body)
            await asyncio.sleep(0.1)

    folder = tmp_path / "nginx"
    folder.mkdir()
    async with (
        running_nginx(folder, ports[0], ports[2]) as nginx,
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        asyncio.TaskGroup() as tasks,
    ):
        await connection.execute(
            "insert into public.dialogs (owner_id) select u::uuid from unnest(%s::text[]) u", (USERS,)
        )
        pages = [_Page(stack.token(USERS[n % len(USERS)])) for n in range(CLIENTS)]
        following = [tasks.create_task(page.follow(nginx)) for page in pages]
        async with asyncio.timeout(60):
            for page in pages:
                await page.subscribed.wait()
        writing = tasks.create_task(write(connection))
        for name in names:
            await pm2.run("reload", name)
            await pm2.logged("service_ready", count=2, name=name)
        reloaded.set()
        await writing
        async with asyncio.timeout(40):
            while any(len(page.bodies) < len(written) for page in pages):  # noqa: ASYNC110 - on all of them
                await asyncio.sleep(0.1)
        for task in following:
            task.cancel()
    assert len(written) > 20
    assert {tuple(page.bodies) for page in pages} == {tuple(written)}
    assert sum(page.connects for page in pages) >= 2 * CLIENTS
    assert sum(page.unrecovered for page in pages) == 0
