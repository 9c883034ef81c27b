"""A client is away, for a moment or for longer than anything is kept."""

import asyncio

import psycopg
import pytest

from bridge.bench.stage import Stage, running_stage
from tests.support.clients import websocket_client


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
            assert await _missing(stage, user, cursor, [event["id"] for event in client.events]) == []


async def _missing(stage: Stage, user: str, cursor: str, got: list[str]) -> list[str]:
    """What another page of the user, never away, got since then of dialogs that are its own for good."""
    async with await psycopg.AsyncConnection.connect(stage.local.database_url) as connection:
        found = await connection.execute("select id::text from public.dialogs where owner_id = %s", (user,))
        own = {dialog for (dialog,) in await found.fetchall()}
    page = next(page for page in stage.pages if page.user == user)
    first, last = _number(cursor), max(map(_number, got))
    wanted = [one.id for one in page.seen if one.dialog in own and first < _number(one.id) <= last]
    return [id_ for id_ in wanted if id_ not in got and "." not in id_]


def _number(text: str) -> int:
    """The row of the journal that an id or a cursor names."""
    return int(text.partition("-")[2].partition(".")[0])
