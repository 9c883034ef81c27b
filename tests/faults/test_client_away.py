"""A client is away, for a moment or for longer than anything is kept."""

import asyncio

import pytest

from bridge.bench.stage import running_stage
from tests.support.clients import websocket_client
from tests.support.faults import missing


@pytest.mark.parametrize(("away_s", "recovered"), [(1.0, True), (5.0, False)])
async def test_it_gets_everything_or_is_told_to_read_again(away_s: float, recovered: bool):  # noqa: FBT001
    """Under 50 changes a second, with a history of two seconds: never a partial answer."""
    async with running_stage(clients=4, polling=0, BRIDGE_HISTORY_S="2") as stage:
        user, token = stage.pages[0].user, stage.local.token(stage.pages[0].user)
        url = f"ws://127.0.0.1:{stage.workers[0].port}/ws"
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(stage.world.write(stage.local.database_url, 50))
            async with websocket_client(url, token) as client:
                cursor = (await client.until_type("new_message"))["cursor"]
            await asyncio.sleep(away_s)
            async with websocket_client(url, token, since=cursor) as client:
                subscribed = await client.until_type("subscribed")
                await asyncio.sleep(1)
                writing.cancel()
        assert subscribed["recovered"] is recovered
        if not recovered:
            assert subscribed["cursor"] != cursor
        else:
            assert await missing(stage, user, cursor, [event["id"] for event in client.events]) == []
