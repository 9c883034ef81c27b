"""Realtime is killed, and is away for a moment or for longer than its client tries to join."""

import asyncio

import pytest

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives


@pytest.mark.parametrize("away_s", [1, 5])
async def test_nobody_reads_again(away_s: float):
    """REST dies with it here: changes come late, by reading, and clients notice nothing but a pause."""

    async def fault(stage: Stage) -> None:
        stage.local.kill_api()
        await asyncio.sleep(away_s)
        await stage.local.start_api()

    assert rereads(await survives(fault, logged="journal_polled")) == 0
