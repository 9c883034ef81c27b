"""A client's machine is gone, without a FIN: its network lets nothing through any more, in either direction."""

import asyncio

import httpx
import psycopg

from bridge.bench.proxy import tcp_proxy
from bridge.bench.stage import Stage, running_stage
from tests.support.clients import websocket_client
from tests.support.faults import judged, missing


async def connections(stage: Stage, user: str) -> int:
    """How many connections of the user the first worker holds."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{stage.workers[0].admin_port}/connections")
    return sum(one["user_id"] == user for one in answer.json())


async def talk(stage: Stage) -> None:
    """Write messages, and nothing that changes who sees what: after that a worker that is new to a user has it read again."""
    async with await psycopg.AsyncConnection.connect(stage.local.database_url, autocommit=True) as connection:
        while True:
            await stage.world._say(connection)
            await asyncio.sleep(0.02)


async def test_the_worker_lets_go_of_it_and_it_resumes_elsewhere():
    """Two pings without an answer; another worker has all that it was not sent, once."""
    async with running_stage(clients=4, polling=0, workers=2, BRIDGE_PING_INTERVAL_S="0.5") as stage:
        user, token = stage.pages[0].user, stage.local.token(stage.pages[0].user)
        first, second = (worker.port for worker in stage.workers)
        held = await connections(stage, user)
        async with asyncio.TaskGroup() as tasks, tcp_proxy("127.0.0.1", first) as proxy:
            writing = tasks.create_task(talk(stage))
            async with websocket_client(f"ws://127.0.0.1:{proxy.port}/ws", token) as client:
                await client.until_type("new_message")
                assert await connections(stage, user) == held + 1
                proxy.freeze()
                async with asyncio.timeout(5):
                    while await connections(stage, user) > held:  # noqa: ASYNC110 - asked over HTTP
                        await asyncio.sleep(0.1)
                assert client.socket.close_code is None  # it has heard nothing of that
                before = list(client.events)
                client.socket.transport.abort()
            cursor = before[-1]["cursor"]
            async with websocket_client(f"ws://127.0.0.1:{second}/ws", token, since=cursor) as client:
                assert (await client.until_type("subscribed"))["recovered"] is True
                await asyncio.sleep(1)
                writing.cancel()
        assert {event["id"] for event in before}.isdisjoint(event["id"] for event in client.events)
        assert await missing(stage, user, cursor, [event["id"] for event in client.events]) == []
        await judged(stage)
