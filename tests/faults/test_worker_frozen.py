"""The worker stands still and goes on."""

from bridge.bench.stage import Stage
from tests.support.faults import survives


async def test_it_goes_on_where_it_stood():
    """Its connections may have been given up on both sides; what it missed it reads."""

    async def fault(stage: Stage) -> None:
        await stage.workers[0].freeze(6)

    await survives(fault)
