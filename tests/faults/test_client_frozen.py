"""A client reads nothing, while its connection stays open."""

import asyncio

import httpx
from structlog.testing import capture_logs

from bridge.bench.proxy import tcp_proxy
from tests.support.bridge import ANN, BOB, running_bridge, token
from tests.support.clients import websocket_client

LIMIT_BYTES = 200_000


async def test_it_is_cut_off_and_resumes_without_loss():
    """What waits for it is bounded; it comes back with its cursor, and has each event once and in order."""
    async with (
        running_bridge(outbox_limit_bytes=LIMIT_BYTES) as bridge,
        tcp_proxy("127.0.0.1", bridge.server.port) as proxy,
        httpx.AsyncClient(base_url=bridge.admin_url) as http,
        websocket_client(bridge.ws_url, token(BOB)) as neighbour,
    ):
        last = most_waiting = 0
        with capture_logs() as logs:
            async with websocket_client(f"ws://127.0.0.1:{proxy.port}/ws", token()) as client:
                bridge.publish(0)
                await client.until(lambda m: m.get("new", {}).get("id") == 0)
                proxy.freeze()
                async with asyncio.timeout(20):
                    while not any(entry["event"] == "connection_closed" for entry in logs):
                        last += 1
                        bridge.publish(last, body="x" * 50_000)
                        waiting = [one["pending_bytes"] for one in (await http.get("/connections")).json()]
                        most_waiting = max(most_waiting, *waiting)
                bridge.publish(last + 1, user=BOB)
                await neighbour.until(
                    lambda m: m.get("new", {}).get("id") == last + 1
                )  # which nobody held up
                proxy.thaw()  # what was on its way arrives
                await client.socket.wait_closed()
        [closed] = [entry for entry in logs if entry["event"] == "connection_closed"]
        assert (closed["close_code"], closed["code"], closed["user_id"]) == (4430, "slow_consumer", ANN)
        assert 0 < most_waiting < LIMIT_BYTES + 50_000
        had = [event["new"]["id"] for event in client.events]
        async with websocket_client(bridge.ws_url, token(), since=client.events[-1]["cursor"]) as again:
            assert (await again.until_type("subscribed"))["recovered"] is True
            await again.until(lambda m: m.get("new", {}).get("id") == last + 1)
            got = [event["new"]["id"] for event in again.events]
        assert had + got == list(range(last + 2))  # a resume shows everything here
        assert got
