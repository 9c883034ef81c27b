"""ops/systemd/bridge.service, and what the worker tells systemd."""

import asyncio
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.config import Config
from bridge.local.stack import LocalStack
from tests.support.stack import ROOT
from tests.support.worker import running_worker

UNIT = ROOT / "ops" / "systemd" / "bridge.service"
MOST_EXPOSED = 2.0
"""Of ten; what is left is the network, which it is for."""


def _analyze(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    result = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_the_unit_is_valid(tmp_path: Path):
    """Not a word of complaint about it, once the program is there."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/bridge/.venv/bin/bridge", sys.executable))
    said = [line for line in _analyze("verify", "--man=no", str(unit)).splitlines() if UNIT.name in line]
    assert said == []


def test_the_unit_can_do_little_but_serve():
    """As systemd itself rates it."""
    rated = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", str(UNIT))
    exposure = re.search(r"Overall exposure level for bridge.service: ([\d.]+)", rated)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSED


def test_its_limits_fit_the_settings():
    """The drain is over before the kill; there are files enough; a wrong setting is not tried again."""
    unit = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    config = Config(supabase_url="http://x", service_role_key="k")
    assert int(unit["TimeoutStopSec"]) > config.drain_timeout_s + 10
    assert int(unit["LimitNOFILE"]) > 2 * config.max_connections
    assert unit["RestartPreventExitStatus"] == "2"


async def test_a_worker_tells_that_it_is_ready_alive_and_stopping(stack: LocalStack, tmp_path: Path):
    """Ready comes first, then signs of life, at the end that it stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)  # noqa: FBT003 - the standard library's signature
        loop = asyncio.get_running_loop()

        async def heard(beginning: str) -> None:
            async with asyncio.timeout(20):
                while not (await loop.sock_recv(ear, 1000)).decode().startswith(beginning):
                    pass

        settings = {"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "300000"}
        async with running_worker(stack, **settings) as worker:
            assert (await loop.sock_recv(ear, 1000)).startswith(b"READY=1\nSTATUS=")
            for _ in range(3):
                await heard("WATCHDOG=1")
            stopping = asyncio.ensure_future(worker.stop())
            await heard("STOPPING=1")
            assert await stopping == 0
