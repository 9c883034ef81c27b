"""The journal is pruned under a client that sleeps, and under the worker."""

import asyncio

from bridge.bench.stage import Stage
from tests.support.faults import rereads, run_sql, survives


async def test_who_was_away_for_too_long_reads_again():
    """A worker that starts when the rows are gone refuses the cursor, clearly: never a partial answer."""

    async def fault(stage: Stage) -> None:
        await stage.workers[0].end(9)
        await asyncio.sleep(1)
        await run_sql(stage, "select public.bridge_prune_journal(0)")
        await stage.workers[0].start()
        await asyncio.sleep(3)

    stage = await survives(fault, by_journal=False)
    assert rereads(stage) >= len(stage.pages)
