"""What upstream sends comes twice, and in another order."""

import asyncio

from bridge.bench.stage import Stage
from tests.support.disorder import DisorderingProxy
from tests.support.faults import rereads, survives


async def test_clients_are_told_once_and_in_order():
    """Doubled and overtaken frames between Realtime and the worker reach nobody as such."""

    async def fault(stage: Stage) -> None:
        await asyncio.sleep(3)

    stage = await survives(fault, rate=150, proxy=DisorderingProxy)
    assert rereads(stage) == 0
    assert isinstance(stage.api, DisorderingProxy)
    assert stage.api.doubled > 50
    assert stage.api.overtaken > 50
