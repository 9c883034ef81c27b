"""A row that is larger than what may wait for a client still reaches those who see it."""

import asyncio

from tests.support.bridge import running_bridge, token
from tests.support.clients import websocket_client

LIMIT_BYTES = 64 * 1024
LARGE = "x" * (4 * LIMIT_BYTES)


async def test_a_row_above_the_outbox_limit_arrives_live_and_on_resume():
    """It cuts nobody off: else it would do so again each time they resume."""
    async with running_bridge(outbox_limit_bytes=LIMIT_BYTES) as bridge:
        async with websocket_client(bridge.ws_url, token()) as client:
            start = client.messages[-1]["cursor"]
            bridge.publish(1)
            bridge.publish(2, body=LARGE)
            bridge.publish(3)
            await client.until(lambda m: m.get("new", {}).get("id") == 3)
        async with websocket_client(bridge.ws_url, token(), since=start) as client:
            await client.until(lambda m: m.get("new", {}).get("id") == 3)
            assert [event["new"]["id"] for event in client.events] == [1, 2, 3]


async def test_several_large_rows_arrive_one_after_the_other_on_resume():
    """Whoever was away gets each of them, as fast as it reads."""
    async with running_bridge(outbox_limit_bytes=LIMIT_BYTES) as bridge:
        start = bridge.hub.cursor
        for n in range(1, 9):
            bridge.publish(n, body=LARGE)
            await asyncio.sleep(0)
        async with websocket_client(bridge.ws_url, token(), since=start) as client:
            await client.until(lambda m: m.get("new", {}).get("id") == 8)
            assert [event["new"]["id"] for event in client.events] == list(range(1, 9))
