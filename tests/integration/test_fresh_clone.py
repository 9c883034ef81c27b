"""The first command of a stranger: `make demo` in a fresh clone, with nothing but Python and make."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.clients import websocket_client
from tests.support.stack import ROOT

INSTALL_TIMEOUT_S = 600
READY_TIMEOUT_S = 60


@pytest.mark.slow
@pytest.mark.timeout(INSTALL_TIMEOUT_S + 2 * READY_TIMEOUT_S)
async def test_make_demo_in_a_fresh_clone_delivers_a_message(tmp_path: Path):
    """Clone, `make demo`, insert with SQL: the message arrives over a WebSocket; Ctrl-C ends everything."""
    for program in ("git", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    # As in a new terminal: what an outer make passes down would make this one print where it is.
    foreign = ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    install = await asyncio.create_subprocess_exec("make", "install", cwd=clone, env=environment)
    async with asyncio.timeout(INSTALL_TIMEOUT_S):
        assert await install.wait() == 0
    demo = await asyncio.create_subprocess_exec(
        "make",
        "demo",
        "ARGS=--port 0 --json --quiet",
        cwd=clone,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=2**20,
    )
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(READY_TIMEOUT_S):
            facts = json.loads(await demo.stdout.readline())
        first = facts["users"][0]
        async with (
            await psycopg.AsyncConnection.connect(facts["database_url"], autocommit=True) as connection,
            websocket_client(facts["ws_url"], first["token"]) as client,
        ):
            await connection.execute(
                "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'from a fresh clone')",
                (facts["dialogs"][0]["id"], first["id"]),
            )
            await client.until(lambda m: m.get("new", {}).get("body") == "from a fresh clone")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        async with asyncio.timeout(30):
            await demo.wait()
    with pytest.raises(psycopg.OperationalError):  # nothing is left running
        await psycopg.AsyncConnection.connect(facts["database_url"])
