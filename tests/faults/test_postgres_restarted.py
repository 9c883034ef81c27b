"""Postgres is stopped and started again, with its data."""

import pytest

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
async def test_what_was_committed_comes(upstream: str):
    """Over both transports, and nobody has to read again."""

    async def fault(stage: Stage) -> None:
        await stage.local.restart_postgres()

    assert rereads(await survives(fault, after_s=2, BRIDGE_UPSTREAM=upstream)) == 0
