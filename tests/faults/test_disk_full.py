"""The database's disk is full: tables cannot grow any more.

The limit on the size of files stands for it.  Postgres cannot extend a file and says so, by the same path as with a full
disk; the write-ahead log has files of 16 MiB, so the journal is as large as that before.
"""

import asyncio
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bridge.bench.stage import Stage
from tests.support.faults import rereads, survives

WAL_SEGMENT_BYTES = 16 * 1024 * 1024


async def limit_files(stage: Stage, connection: psycopg.AsyncConnection[Any], size: str) -> None:
    """Limit the size of files for Postgres: for whoever is connected, and who will be."""
    found = await connection.execute("select pid from pg_stat_activity where backend_type = 'client backend'")
    for pid in [stage.local.postgres.pid, *(pid for (pid,) in await found.fetchall())]:
        # A process that has ended meanwhile needs no limit.  The hard one stays, so that this can be undone.
        command = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
        await asyncio.to_thread(
            subprocess.run, command, user=stage.local.postgres._user, check=False, capture_output=True
        )


async def fill(stage: Stage, connection: psycopg.AsyncConnection[Any]) -> None:
    """Leave no page of the journal with room: the file ends where it may end."""
    [path] = await (await connection.execute("select pg_relation_filepath('bridge.journal')")).fetchone() or [
        ""
    ]
    assert stage.local.postgres.folder is not None
    file = stage.local.postgres.folder / "data" / Path(path)
    with file.open("r+b") as pages:  # Postgres takes zeros at the end for pages that were never used
        pages.truncate(WAL_SEGMENT_BYTES)


async def say(stage: Stage, connection: psycopg.AsyncConnection[Any], message: str) -> None:
    """Write a message."""
    await connection.execute(
        "insert into public.messages (id, dialog_id, sender_id, body) values (%s, %s, %s, %s)",
        (message, stage.world.dialogs[0], stage.world.users[0], "is there room?"),
    )


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit (util-linux)")
async def test_what_could_not_be_journalled_is_not_told_and_then_all_goes_on():
    """The writer's change fails with its row of the journal; nobody reads again, nothing is lost."""
    said: list[str] = []

    async def fault(stage: Stage) -> None:
        async with await psycopg.AsyncConnection.connect(stage.local.database_url, autocommit=True) as own:
            await fill(stage, own)
            await limit_files(stage, own, str(WAL_SEGMENT_BYTES))
            with pytest.raises(psycopg.Error, match="could not extend file") as caught:  # noqa: PT012 - the last page has room for some
                for _ in range(1000):
                    said.append(str(uuid.uuid4()))
                    await say(stage, own, said[-1])
            assert "bridge.record_change()" in str(caught.value)
            await asyncio.sleep(2)
            await limit_files(stage, own, "unlimited")
            said.append(str(uuid.uuid4()))
            await say(stage, own, said[-1])

    stage = await survives(fault)
    assert rereads(stage) == 0
    # Of each page it has been judged that it has what its user sees, who may have come to the dialog late, or left.
    seen = set().union(*(page.messages.keys() & said for page in stage.pages))
    assert seen == {*said[:-2], said[-1]}
