"""A table loses all its rows at once."""

from bridge.bench.stage import Stage
from tests.support.faults import rereads, run_sql, survives


async def test_everybody_reads_again():
    """There is no row that says so; the journal does."""

    async def fault(stage: Stage) -> None:
        await run_sql(stage, "truncate public.messages")

    assert rereads(await survives(fault, after_s=2)) >= 12
