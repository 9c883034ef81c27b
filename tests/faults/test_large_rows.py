"""Rows of more than a megabyte, which Realtime sends without their values."""

import asyncio

import psycopg

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives


async def test_they_come_whole():
    """They are read again, in their place between the others."""

    async def fault(stage: Stage) -> None:
        async with await psycopg.AsyncConnection.connect(stage.local.database_url, autocommit=True) as writer:
            for letter in "abc":
                await writer.execute(
                    "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, repeat(%s, 1500000))",
                    (stage.world.dialogs[0], stage.world.users[0], letter),
                )
                await asyncio.sleep(0.2)

    assert rereads(await survives(fault, after_s=2)) == 0
