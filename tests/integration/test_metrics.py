"""What a real worker exposes, after things have happened to it: each counted once, by what it is."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.prometheus import promtool
from tests.support.worker import Worker, running_worker

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def _scrape(worker: Worker) -> Scrape:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{worker.admin_url}/metrics")).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _of(scrape: Scrape, name: str, **labels: str) -> float:
    return scrape[name, tuple(sorted(labels.items()))]


@contextlib.asynccontextmanager
async def _connection(stack: LocalStack) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        yield connection


async def test_each_thing_that_happens_is_counted_once(stack: LocalStack):
    """Two clients of one user, a stranger, a change, a resume, a refusal, a poll, a code of the client's own."""
    owner, stranger, dialog = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    async with (
        _connection(stack) as database,
        running_worker(stack, BRIDGE_MAX_CONNECTIONS="77") as worker,
        websocket_client(worker.ws_url, stack.token(owner)) as first,
        websocket_client(worker.ws_url, stack.token(owner)) as second,
        websocket_client(worker.ws_url, stack.token(stranger)),
    ):
        before = await _scrape(worker)
        assert _of(before, "bridge_connections", transport="websocket") == 3
        assert _of(before, "bridge_connections_limit") == 77
        assert _of(before, "bridge_upstream_state", state="live") == 1
        assert _of(before, "bridge_changes_total", table="public.messages", action="INSERT") == 0
        await database.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (dialog, owner))
        await database.execute(
            "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'x')", (dialog, owner)
        )
        for client in (first, second):
            await client.until_type("new_message")
        cursor = next(m["cursor"] for m in first.messages if m["type"] == "dialog_update")
        async with websocket_client(worker.ws_url, stack.token(owner), since=cursor) as third:
            await third.until_type("new_message")
        async with httpx.AsyncClient(base_url=worker.url) as http:
            await http.get("/poll", headers={"Authorization": f"Bearer {stack.token(owner)}"})
            await http.get("/poll", headers={"Authorization": "Bearer nonsense"})
        with contextlib.suppress(ConnectionClosed):
            async with connect(worker.ws_url) as socket:
                await socket.close(4987)
        await worker.logged("connection_closed", count=2)
        after = await _scrape(worker)

        def rise(name: str, **labels: str) -> float:
            return _of(after, name, **labels) - _of(before, name, **labels)

        assert rise("bridge_changes_total", table="public.messages", action="INSERT") == 1
        assert _of(after, "bridge_deliveries_total", type="new_message") == 2
        assert _of(after, "bridge_denied_total", type="new_message") == 1
        assert rise("bridge_commit_to_receive_seconds_count") == 2
        assert 0 < rise("bridge_commit_to_receive_seconds_sum") < 10
        assert rise("bridge_receive_to_write_seconds_count") == 2
        assert 0 < rise("bridge_receive_to_write_seconds_sum") < 10
        assert rise("bridge_upstream_messages_total") == 2
        assert rise("bridge_resumes_total", recovered="true") == 1
        assert rise("bridge_replayed_events_total") == 1
        assert rise("bridge_auth_failures_total", code="invalid_token") == 1
        assert _of(after, "bridge_polls_total", code="invalid_token") == 1
        assert rise("bridge_polls_total", code="ok") == 1
        assert _of(after, "bridge_connections_closed_total", close_code="other") == 1
        assert rise("bridge_history_events") >= 2  # and who has to read again
        assert _of(after, "bridge_changes_waiting") == 0
        assert rise("bridge_gaps_total", reason="upstream_disconnected") == 0
        assert _of(after, "bridge_rpc_duration_seconds_count", function="bridge_catalog") >= 2
        assert _of(after, "process_open_fds") > 10
        async with httpx.AsyncClient() as http:
            assert (
                await promtool(
                    "check", "metrics", stdin=(await http.get(f"{worker.admin_url}/metrics")).content
                )
                == ""
            )


@pytest.mark.parametrize("capture", ["journal", "tables"])
async def test_a_lost_upstream_is_a_state_and_what_it_cost(stack: LocalStack, capture: str):
    """With the journal what was missed is filled and no gap is left; without it there is one, and everybody reads again."""
    owner = str(uuid.uuid4())
    async with (
        _connection(stack) as database,
        running_worker(stack, BRIDGE_CAPTURE=capture) as worker,
        websocket_client(worker.ws_url, stack.token(owner)) as client,
    ):
        before = await _scrape(worker)
        stack.kill_api()
        await client.until(lambda m: m == {"type": "status", "upstream": "down"})
        down = await _scrape(worker)
        states = {
            state: _of(down, "bridge_upstream_state", state=state)
            for state in ("live", "catching_up", "down")
        }
        assert states == {"live": 0, "catching_up": 0, "down": 1}
        await database.execute("insert into public.dialogs (owner_id, title) values (%s, 'missed')", (owner,))
        await stack.start_api()
        told = client.until_type("dialog_update") if capture == "journal" else client.until_type("resync")
        await told
        async with asyncio.timeout(20):
            while _of(after := await _scrape(worker), "bridge_upstream_state", state="live") != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        def rise(name: str, **labels: str) -> float:
            return _of(after, name, **labels) - _of(before, name, **labels)

        assert rise("bridge_gaps_total", reason="upstream_disconnected") == (capture == "tables")
        assert rise("bridge_upstream_connects_total", result="failed") >= 1
        if capture == "journal":
            assert rise("bridge_journal_rows_total", via="read") == 1
            assert rise("bridge_rpc_failures_total", function="bridge_journal_since") >= 1
