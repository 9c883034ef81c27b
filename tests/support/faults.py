"""A small stage that writes while something fails, and is judged afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from bridge.bench.stage import Stage, running_stage

Fault = Callable[[Stage], Awaitable[None]]

SETTLE_S = 45.0


async def survives(
    fault: Fault,
    *,
    workers: int = 1,
    clients: int = 12,
    rate: float = 40.0,
    after_s: float = 1.0,
    by_journal: bool = True,
    **settings: str,
) -> Stage:
    """Have the fault happen while others write; assert that nothing was lost, doubled or leaked."""
    async with running_stage(clients=clients, polling=clients // 3, workers=workers, **settings) as stage:
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(stage.world.write(stage.local.database_url, rate))
            await asyncio.sleep(1)
            await fault(stage)
            await asyncio.sleep(after_s)
            writing.cancel()
        await judged(stage, by_journal=by_journal)
        return stage


async def judged(stage: Stage, *, by_journal: bool = True) -> None:
    """Assert that every page has what its user sees, and was sent it once."""
    settled = await stage.settle(SETTLE_S)
    verdict, changes = await stage.judge(by_journal=by_journal)
    found = (verdict.lost, verdict.duplicated, verdict.leaked)
    assert found == (0, 0, 0), f"{verdict.examples}, logs in {stage.folder}"
    assert settled
    assert changes > 0


async def run_sql(stage: Stage, sql: str) -> None:
    """Run a statement as the superuser."""
    async with await psycopg.AsyncConnection.connect(stage.local.database_url, autocommit=True) as connection:
        await connection.execute(sql.encode())


def rereads(stage: Stage) -> int:
    """How often clients had to read their rows again."""
    return sum(len(page.rereads) - 1 for page in stage.pages)


async def worker_log(stage: Stage, number: int = 0) -> str:
    """What a worker has logged."""
    return await asyncio.to_thread((stage.folder / f"worker-{number}.log").read_text)
