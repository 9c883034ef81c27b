"""Several machines: two workers with ports of their own behind one nginx, without sticky sessions."""

import asyncio

from bridge.bench.balancer import Nginx
from bridge.bench.stage import Stage
from tests.support.faults import survives


async def test_who_is_answered_by_another_worker_has_everything():
    """WebSocket and polling.  No worker knows of the other; a cursor may be ahead of who is shown it."""

    async def fault(stage: Stage) -> None:
        assert stage.balancer is not None
        both = [worker.port for worker in stage.workers]
        for ports in ([both[0]], [both[1]], both):
            await stage.balancer.use(ports)
            for page in stage.pages:
                page.drop()
            await asyncio.sleep(0.5)

    stage = await survives(fault, workers=2, balanced=True)
    assert sum(page.resumes for page in stage.pages) > 10
    if isinstance(stage.balancer, Nginx):  # a proxy that passes bytes cannot say whose they are
        assert all(page.moves for page in stage.pages)
