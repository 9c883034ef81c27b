"""The catalog cannot be read while changes flow: who sees what may have changed."""

import asyncio

import httpx

from bridge.bench.stage import Stage
from tests.support.faults import rereads, run_sql, survives

MARKER = "function public.bridge_catalog_marker()"


async def test_nothing_is_told_until_the_policies_are_known_to_hold():
    """Not ready, for a reason that is said; then everything comes, in order, and nobody reads again."""
    told: list[int] = []

    async def fault(stage: Stage) -> None:
        await run_sql(stage, f"revoke execute on {MARKER} from service_role")
        async with httpx.AsyncClient() as http, asyncio.timeout(20):
            url = f"http://127.0.0.1:{stage.workers[0].admin_port}/readyz"
            while "could not be checked" not in (await http.get(url)).text:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for _ in range(2):
            await asyncio.sleep(1)
            for page in stage.pages:
                page.drop()
            told.append(sum(len(page.seen) for page in stage.pages))
        await run_sql(stage, f"grant execute on {MARKER} to service_role")

    stage = await survives(
        fault, logged="policies_certain", command=("tests.support.impatient_worker",), BRIDGE_UPSTREAM="wal"
    )
    assert told[0] == told[1]
    assert rereads(stage) == 0
