"""ops/nginx/bridge.conf: a real nginx before a real worker."""

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect

from bridge.config import Config
from bridge.connection.poll import MAX_TIMEOUT_S
from bridge.local.stack import LocalStack
from tests.support.clients import Client, Poller, websocket_client
from tests.support.nginx import CONF, Nginx, running_nginx
from tests.support.worker import Worker, running_worker

PING_S = "0.4"
READ_TIMEOUT = "1200ms"
"""The same three pings as in the file."""


@contextlib.asynccontextmanager
async def _site(
    stack: LocalStack, folder: Path, ping_s: str = PING_S, **edits: str
) -> AsyncIterator[tuple[Nginx, Worker]]:
    async with (
        running_worker(stack, BRIDGE_PING_INTERVAL_S=ping_s, BRIDGE_COMPRESSION="deflate") as worker,
        running_nginx(folder, worker.port, **{"proxy_read_timeout": READ_TIMEOUT, **edits}) as nginx,
    ):
        yield nginx, worker


async def _say(stack: LocalStack, owner: str, title: str) -> None:
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        await connection.execute(
            "insert into public.dialogs (owner_id, title) values (%s, %s)", (owner, title)
        )


async def _hears(client: Client, title: str) -> None:
    await client.until(lambda m: m.get("new", {}).get("title") == title)


def _seconds(directive: str) -> float:
    found = re.search(rf"^\s*{directive} (\d+)s;", CONF.read_text(), re.MULTILINE)
    assert found is not None, directive
    return float(found[1])


def test_no_time_out_is_shorter_than_a_silence_that_is_meant():
    """Two pings may come late, and the longest poll answers."""
    silence_s = max(3 * Config(supabase_url="http://x", service_role_key="k").ping_interval_s, MAX_TIMEOUT_S)
    assert _seconds("proxy_read_timeout") >= silence_s
    assert _seconds("proxy_send_timeout") >= silence_s


async def test_a_websocket_goes_through_and_survives_silence(stack: LocalStack, tmp_path: Path):
    """Over TLS, compressed, silent for many pings and for several read timeouts."""
    owner = str(uuid.uuid4())
    async with (
        _site(stack, tmp_path) as (nginx, worker),
        websocket_client(nginx.ws_url, stack.token(owner), tls=nginx.tls) as client,
    ):
        assert [e.name for e in client.socket.protocol.extensions] == ["permessage-deflate"]
        await _say(stack, owner, "early")
        await _hears(client, "early")
        await asyncio.sleep(12 * float(PING_S))  # the silence is what is tested
        await _say(stack, owner, "late")
        await _hears(client, "late")
        assert await worker.metric("bridge_compression_saved_bytes_total") > 0


async def test_without_pings_the_same_silence_ends_the_connection(stack: LocalStack, tmp_path: Path):
    """So that the test before is one."""
    async with (
        _site(stack, tmp_path, ping_s="60") as (nginx, _),
        connect(nginx.ws_url, ssl=nginx.tls, subprotocols=["bridge.v1", f"bearer.{stack.token(str(uuid.uuid4()))}"]) as socket,  # type: ignore[list-item]
    ):  # fmt: skip
        started_s = time.monotonic()
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert time.monotonic() - started_s > 1


async def test_a_reload_drops_nobody(stack: LocalStack, tmp_path: Path):
    """Who was there still hears, over the process that was replaced; who comes is served by a new one."""
    owner = str(uuid.uuid4())
    async with (
        _site(stack, tmp_path, ping_s="25", proxy_read_timeout="60s") as (nginx, _),  # a busy machine is late
        contextlib.AsyncExitStack() as clients,
    ):
        there = [
            await clients.enter_async_context(
                websocket_client(nginx.ws_url, stack.token(owner), tls=nginx.tls)
            )
            for _ in range(10)
        ]
        await nginx.reload()
        async with websocket_client(nginx.ws_url, stack.token(owner), tls=nginx.tls) as newcomer:
            await _say(stack, owner, "after the reload")
            for client in (*there, newcomer):
                await _hears(client, "after the reload")
                assert client.socket.close_code is None


async def test_a_long_poll_waits_and_is_not_buffered(stack: LocalStack, tmp_path: Path):
    """It answers when the event is there, with a cursor that goes on."""
    owner = str(uuid.uuid4())
    async with (
        _site(stack, tmp_path, proxy_read_timeout="20s") as (nginx, _),
        httpx.AsyncClient(base_url=nginx.url, verify=nginx.tls) as http,
    ):
        poller = Poller(http, stack.token(owner))
        await poller.poll(timeout_s=0)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(poller.poll(timeout_s=15))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            await _say(stack, owner, "polled")
        assert [e["new"]["title"] for e in poller.events] == ["polled"]
        assert (await http.get("/poll")).status_code == 401


async def test_large_headers_reach_the_worker(stack: LocalStack, tmp_path: Path):
    """A token of 7 kB as subprotocol, one of 12 kB for a poll; a header that is too long is answered by the worker."""
    user = str(uuid.uuid4())
    async with (
        _site(stack, tmp_path) as (nginx, _),
        httpx.AsyncClient(base_url=nginx.url, verify=nginx.tls) as http,
    ):
        async with websocket_client(nginx.ws_url, stack.token(user, note="x" * 5000), tls=nginx.tls):
            pass
        large = stack.token(user, note="x" * 9000)
        assert len(large) > 12_000
        answer = await http.get(
            "/poll", params={"timeout_s": "0"}, headers={"Authorization": f"Bearer {large}"}
        )
        assert answer.status_code == 200
        upgrade = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"bridge.v1, bearer.{large}",
        }
        refused = await http.get("/ws", headers=upgrade)
        assert (refused.status_code, "send the token in `auth`" in refused.text) == (431, True)


async def test_what_it_serves_and_what_not(stack: LocalStack, tmp_path: Path):
    """The paths of the public port over TLS; plain HTTP is sent there; the log has no query."""
    async with (
        _site(stack, tmp_path) as (nginx, _),
        httpx.AsyncClient(verify=nginx.tls) as http,
    ):
        plain = await http.get(f"http://localhost:{nginx.http_port}/poll?since=1")
        assert (plain.status_code, plain.headers["location"]) == (301, "https://localhost/poll?since=1")
        assert (await http.get(f"{nginx.url}/healthz")).json() == {"status": "ok"}
        assert (await http.get(f"{nginx.url}/ws")).status_code == 426
        assert (await http.get(f"{nginx.url}/poll?since=canary")).status_code == 401
        for path in ("/", "/metrics", "/connections", "/ws/", "/readyz"):
            assert (await http.get(nginx.url + path)).status_code == 404, path
        log = (nginx.folder / "access.log").read_text()
        assert " GET /poll 401 " in log
        assert "canary" not in log


async def test_too_many_requests_of_one_address_are_refused(stack: LocalStack, tmp_path: Path):
    """With 429, beyond the burst."""
    async with (
        _site(stack, tmp_path, limit_req="zone=bridge_requests burst=5 nodelay") as (nginx, _),
        httpx.AsyncClient(verify=nginx.tls) as http,
    ):
        codes = [(await http.get(f"{nginx.url}/healthz")).status_code for _ in range(60)]
    assert codes[:6] == [200] * 6
    assert 429 in codes


async def _seen_address(tmp_path: Path, source: str, **edits: str) -> str:
    """Return whom nginx says that a request from ``source`` is of, which claims to be of another."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        [address] = re.findall(r"X-Forwarded-For: (.*)\r", head)
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(address)}\r\nConnection: close\r\n\r\n{address}".encode()
        )
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        running_nginx(tmp_path, server.sockets[0].getsockname()[1], **edits) as nginx,
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=source, verify=nginx.tls)) as http,
    ):
        headers = {"X-Forwarded-For": "203.0.113.9"}
        return (await http.get(f"{nginx.url}/healthz", headers=headers)).text


@pytest.mark.parametrize(
    ("source", "edits", "address"),
    [
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", {"set_real_ip_from": "127.0.0.2", "real_ip_header": "X-Forwarded-For"}, "127.0.0.1"),
        ("127.0.0.2", {"set_real_ip_from": "127.0.0.2", "real_ip_header": "X-Forwarded-For"}, "203.0.113.9"),
    ],
    ids=["no proxy", "not the proxy", "the proxy"],
)
async def test_only_a_trusted_proxy_says_who_the_client_is(
    tmp_path: Path, source: str, edits: dict[str, str], address: str
):
    """What others write into X-Forwarded-For counts for nothing."""
    assert await _seen_address(tmp_path, source, **edits) == address
