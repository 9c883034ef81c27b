"""The worker's wall clock is set, by an hour ahead or back."""

import asyncio
import os
import signal
from typing import Any

from websockets.asyncio.client import connect

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives

HALF_AN_HOUR_S = 1800
CLOCK = "tests.support.jumping_worker"


def held(stage: Stage) -> Any:
    """Connect with a token that is good for half an hour."""
    token = stage.local.token(stage.pages[0].user, ttl_s=HALF_AN_HOUR_S)
    url = f"ws://127.0.0.1:{stage.workers[0].port}/ws"
    return connect(url, subprotocols=["bridge.v1", f"bearer.{token}"], ping_interval=None)  # type: ignore[list-item]


async def is_accepted(stage: Stage) -> bool:
    """Whether a new connection with such a token is taken; if not, its token has expired."""
    async with held(stage) as socket, asyncio.timeout(10):
        if '"connected"' in str(await socket.recv()):
            return True
        await socket.wait_closed()
        assert socket.close_code == 4409
        return False


async def test_only_tokens_notice():
    """Those that have expired by the new clock end, and are good again by the old one; windows are not of that clock.

    Nobody reads again, also not who comes back: how long events are kept goes by the time that has passed.
    """

    async def fault(stage: Stage) -> None:
        jumps = (
            (signal.SIGUSR1, False),
            (signal.SIGUSR2, True),
            (signal.SIGUSR2, True),
            (signal.SIGUSR1, True),
        )
        for number, accepted in jumps:
            async with held(stage) as socket:
                await socket.recv()
                os.kill(stage.workers[0].pid, number)
                if not accepted:
                    async with asyncio.timeout(10):
                        await socket.wait_closed()
                    assert socket.close_code == 4409
            assert await is_accepted(stage) is accepted
            for page in stage.pages:
                page.drop()
            await asyncio.sleep(0.7)

    stage = await survives(fault, command=(CLOCK,), BRIDGE_PING_INTERVAL_S="1")
    assert rereads(stage) == 0
    assert sum(page.resumes for page in stage.pages) > 20
