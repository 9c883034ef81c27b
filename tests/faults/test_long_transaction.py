"""A transaction takes an early id and commits when many later ones have been told."""

import asyncio

import pytest

from bridge.bench.stage import Stage
from bridge.bench.world import hold_transaction
from tests.support.faults import rereads, survives


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
async def test_its_change_comes_and_cursors_from_before_know_that_it_is_missing(upstream: str):
    """Clients come and go meanwhile; so does the worker's connection."""

    async def fault(stage: Stage) -> None:
        async with asyncio.TaskGroup() as tasks:
            for commit in (True, False):
                holding = hold_transaction(stage.local.database_url, stage.world, for_s=4, commit=commit)
                tasks.create_task(holding)
            for _ in range(3):
                await asyncio.sleep(1)
                stage.api.cut()
                for page in stage.pages:
                    page.drop()

    assert rereads(await survives(fault, BRIDGE_UPSTREAM=upstream)) == 0
