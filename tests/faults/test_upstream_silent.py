"""The connection to the project stays open and says nothing."""

import asyncio

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives


async def test_what_was_said_meanwhile_comes():
    """No FIN, no RST: bytes are held back, and flow again."""

    async def fault(stage: Stage) -> None:
        for proxy in (stage.api, stage.postgres):
            proxy.freeze()
        await asyncio.sleep(4)
        for proxy in (stage.api, stage.postgres):
            proxy.thaw()

    assert rereads(await survives(fault)) == 0


async def test_a_connection_that_is_cut_again_and_again():
    """The worker joins again, and reads what it missed."""

    async def fault(stage: Stage) -> None:
        for _ in range(6):
            stage.api.cut()
            await asyncio.sleep(0.7)

    assert rereads(await survives(fault)) == 0
