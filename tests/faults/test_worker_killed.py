"""The worker ends: asked to, or not; and another one goes on."""

import asyncio
import signal

import pytest

from bridge.bench.stage import Stage
from tests.support.faults import survives


@pytest.mark.parametrize(
    ("number", "clients", "rate"), [(signal.SIGTERM, 30, 60.0), (signal.SIGKILL, 20, 20.0)]
)
async def test_who_comes_back_to_the_new_process_has_everything(
    number: signal.Signals, clients: int, rate: float
):
    """Under load, too.  The cursor means the same to it; what was committed meanwhile it has read."""

    async def fault(stage: Stage) -> None:
        await stage.workers[0].end(number)
        await stage.workers[0].start()
        await asyncio.sleep(3)

    stage = await survives(fault, clients=clients, rate=rate)
    # Whose memberships changed meanwhile reads again: not all of them, at this rate.
    assert sum(page.resumes for page in stage.pages) > 0
