"""The primary dies, and a standby that was behind is promoted in its place."""

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path

from bridge.bench.stage import Stage
from bridge.local.postgres import EmbeddedPostgres
from tests.support.faults import rereads, survives


def open_to_all(folder: Path) -> None:
    """Postgres runs as another user than the tests."""
    for each in (folder, *list(folder.parents)[:2]):
        each.chmod(0o755)


def standby_of(primary: EmbeddedPostgres, folder: Path) -> EmbeddedPostgres:
    """Copy the primary into ``folder`` and start the copy, which follows it."""
    standby = EmbeddedPostgres(folder)
    folder.mkdir(exist_ok=True)
    standby._permit()
    subprocess.run(
        [
            primary.binary("pg_basebackup"),
            f"--dbname={primary.url()}",
            f"--pgdata={folder / 'data'}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        user=standby._user,
        cwd="/",
    )
    standby.start()
    return standby


def promote(standby: EmbeddedPostgres) -> None:
    """Make it a primary on a timeline of its own, then stop it."""
    assert standby.folder is not None
    arguments = [standby.binary("pg_ctl"), "promote", "-D", standby.folder / "data", "-w"]
    subprocess.run(arguments, check=True, capture_output=True, user=standby._user, cwd="/")
    standby.stop()


async def test_what_was_told_and_is_gone_is_forgotten(tmp_path: Path):
    """Ids are handed out again for other changes: every cursor is refused, and everybody reads again."""
    open_to_all(tmp_path)

    async def fault(stage: Stage) -> None:
        primary = stage.local.postgres
        standby = await asyncio.to_thread(standby_of, primary, tmp_path / "standby")
        await asyncio.sleep(1)
        assert standby.pid is not None
        standby._process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]  # it falls behind
        await asyncio.sleep(1.5)
        await asyncio.to_thread(primary.kill)
        standby._process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        await asyncio.to_thread(promote, standby)
        assert primary.folder is not None
        await asyncio.to_thread(shutil.rmtree, primary.folder)
        primary.folder, primary.temporary = standby.folder, False
        await asyncio.to_thread(primary.start)

    stage = await survives(fault, after_s=3, by_journal=False)
    assert rereads(stage) >= len(stage.pages)
