"""A real PM2 with ops/pm2/ecosystem.config.cjs, in a home of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import ROOT

CONFIG = ROOT / "ops" / "pm2" / "ecosystem.config.cjs"


class Pm2:
    """A PM2 daemon of the test's own.

    Attributes:
        home: Its folder, with the logs.
    """

    def __init__(self, program: str, home: Path, environ: dict[str, str]) -> None:
        self._program = program
        self._environ = environ
        self.home = home

    async def run(self, *arguments: str, **environ: str) -> str:
        """Run a command and return what it prints; it has to succeed."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            env={**self._environ, **environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def start(self, **environ: str) -> None:
        """Start what the configuration says."""
        await self.run("start", str(CONFIG), **environ)

    async def facts(self, name: str = "websocket-server") -> dict[str, Any]:
        """Return what PM2 knows of a process: pid, pm2_env with status and restart_time."""
        text = await self.run("jlist", "--silent")
        [found] = [app for app in json.loads(text[text.index("[") :]) if app["name"] == name]
        return dict(found)

    def log(self, name: str = "websocket-server") -> list[dict[str, Any]]:
        """Return the lines that a worker has logged."""
        path = self.home / "logs" / f"{name}-error.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def logged(self, event: str, *, count: int = 1, name: str = "websocket-server") -> None:
        """Wait until ``event`` has been logged so many times."""
        async with asyncio.timeout(40):
            while sum(line["event"] == event for line in self.log(name)) < count:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running_pm2(folder: Path) -> AsyncIterator[Pm2]:
    """Give a PM2 without processes; skip where there is none.  Its daemon and processes end with the block."""
    program = shutil.which("pm2")
    if program is None:
        pytest.skip("pm2 is not installed")
    # For checkouts without .venv: the bridge is found on the path.
    shim = folder / "bin" / "bridge"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bridge "$@"\n')
    shim.chmod(0o755)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_"))}
    environ = {
        **inherited,
        "PM2_HOME": str(folder / "home"),
        "PATH": f"{shim.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    pm2 = Pm2(program, folder / "home", environ)
    try:
        yield pm2
    finally:
        await pm2.run("kill")
