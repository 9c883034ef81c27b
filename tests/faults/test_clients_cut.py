"""Clients lose their connections all the time."""

import asyncio

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives


async def test_they_resume_and_never_read_again():
    """Over WebSocket and long poll."""

    async def fault(stage: Stage) -> None:
        for _ in range(5):
            for page in stage.pages:
                page.drop()
            await asyncio.sleep(0.8)

    stage = await survives(fault)
    assert rereads(stage) == 0
    assert sum(page.resumes for page in stage.pages) >= 20
