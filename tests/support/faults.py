"""A small stage that writes while something fails, and is judged afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

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
    logged: str = "",
    **settings: Any,
) -> Stage:
    """Have the fault happen while others write; assert that nothing was lost, doubled or leaked.

    ``logged`` is an event that the first worker has to have logged.
    """
    async with running_stage(clients=clients, polling=clients // 3, workers=workers, **settings) as stage:
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(stage.world.write(stage.local.database_url, rate))
            await asyncio.sleep(1)
            await fault(stage)
            await asyncio.sleep(after_s)
            writing.cancel()
        await judged(stage, by_journal=by_journal)
        assert not logged or logged in await _log(stage)
        return stage


async def judged(stage: Stage, *, by_journal: bool = True) -> None:
    """Assert that every page has what its user sees, and was sent it once."""
    settled = await stage.settle(SETTLE_S)
    verdict, changes = await stage.judge(by_journal=by_journal)
    assert not verdict.failed, verdict
    assert settled
    assert changes > 0


async def run_sql(stage: Stage, sql: str) -> None:
    """Run a statement as the superuser."""
    async with await psycopg.AsyncConnection.connect(stage.local.database_url, autocommit=True) as connection:
        await connection.execute(sql.encode())


def rereads(stage: Stage) -> int:
    """How often clients had to read their rows again."""
    return sum(len(page.rereads) - 1 for page in stage.pages)


async def _log(stage: Stage) -> str:
    """What the first worker has logged."""
    return await asyncio.to_thread((stage.folder / "worker-0.log").read_text)


async def missing(stage: Stage, user: str, cursor: str, got: list[str]) -> list[str]:
    """What another page of the user, never away, got since then of dialogs that are its own for good."""
    async with await psycopg.AsyncConnection.connect(stage.local.database_url) as connection:
        found = await connection.execute("select id::text from public.dialogs where owner_id = %s", (user,))
        own = {dialog for (dialog,) in await found.fetchall()}
    page = next(page for page in stage.pages if page.user == user)
    first, last = _number(cursor), max(map(_number, got))
    wanted = [one.id for one in page.seen if one.dialog in own and first < _number(one.id) <= last]
    return [id_ for id_ in wanted if id_ not in got and "." not in id_]


def _number(text: str) -> int:
    """The row of the journal that an id or a cursor names."""
    return int(text.partition("-")[2].partition(".")[0])
