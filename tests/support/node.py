"""Node and the packages of the browser client, for the tests that need them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.stack import ROOT

CLIENT = ROOT / "bridge" / "client"
INSTALL_TIMEOUT_S = 300
OLDEST_NODE = 20


@cache
def client_packages() -> Path:
    """Return the client's folder with its development packages installed; skip where they cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} is older than {OLDEST_NODE}")
    lock, installed = CLIENT / "package-lock.json", CLIENT / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            check=False,
            cwd=CLIENT,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
        if done.returncode:
            pytest.skip(f"npm could not install the client's packages: {done.stderr[-300:]}")
        installed.touch()
    return CLIENT


def run_npm(script: str) -> None:
    """Run a script of the client's package.json; its output is the failure."""
    done = subprocess.run(
        ["npm", "run", "--silent", script],
        check=False,
        cwd=client_packages(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, f"npm run {script}:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
