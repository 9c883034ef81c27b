"""Postgres ends with the process that started it, whenever and however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.stack import ROOT, alive

_PARENT = """
from bridge.local.postgres import EmbeddedPostgres

server = EmbeddedPostgres()
server._wait = lambda: print(server.pid, server.folder, flush=True)  # killed before it is ready
server.start()
input()
"""


def test_a_server_that_was_just_started_ends_with_us():
    """Nobody but us knew of it yet; its folder goes too."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        os.killpg(parent.pid, signal.SIGKILL)
    give_up_s = time.monotonic() + 20
    while alive(int(pid)) or Path(folder).exists():
        assert time.monotonic() < give_up_s, "something is left"
        time.sleep(0.05)


@pytest.mark.parametrize("between_s", [0.0, 0.2, 0.5])
def test_nothing_is_left_when_the_group_is_ended_twice(between_s: float, tmp_path: Path):
    """As `make` does on SIGTERM: the second signal finds us stopping, and ends us at once."""
    tmp_path.chmod(0o777)
    if os.geteuid() == 0:  # Postgres runs as another user then, who has to get there
        for folder in tmp_path.parents[:3]:
            folder.chmod(0o755)
    with subprocess.Popen(
        ["/bin/sh", "-c", '"$@"; true', "make", sys.executable, "-m", "bridge", "local", "--json"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline().startswith(b"{")
        pid = int(next(tmp_path.glob("*/data/postmaster.pid")).read_text().split()[0])
        assert alive(pid)
        os.killpg(shell.pid, signal.SIGTERM)
        time.sleep(between_s)
        try:
            os.killpg(shell.pid, signal.SIGTERM)
        except ProcessLookupError:
            assert between_s > 0  # it was quicker
    give_up_s = time.monotonic() + 20
    while alive(pid) or list(tmp_path.glob("bridge-postgres-*")):
        assert time.monotonic() < give_up_s, "something is left"
        time.sleep(0.05)
