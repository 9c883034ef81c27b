"""The functions do not answer while Realtime lives."""

import asyncio

from bridge.bench.stage import Stage
from tests.support.faults import rereads, run_sql, survives

NAME = "function public.bridge_journal_since(bigint, jsonb, integer)"


async def test_what_streams_in_order_comes_and_the_rest_waits():
    """Rows that may have gaps before them are held; clients are told, and lose nothing."""

    async def fault(stage: Stage) -> None:
        await run_sql(stage, f"revoke execute on {NAME} from service_role")
        await asyncio.sleep(4)
        await run_sql(stage, f"grant execute on {NAME} to service_role")

    assert rereads(await survives(fault, logged="journal_unreadable")) == 0
