"""The browser client as a package: what is committed, what it weighs, and its own tests under Node."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.node import CLIENT, INSTALL_TIMEOUT_S, run_npm
from tests.support.stack import ROOT


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
def test_units():
    """Machine, coverage, handlers, transports: node's own runner, on what the compiler made."""
    run_npm("test")


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
def test_what_is_served_is_what_the_source_builds():
    """Byte for byte, below 8 KB gzipped, and fit for npm (publint, are-the-types-wrong)."""
    run_npm("check")


def test_the_lock_file_names_no_registry():
    """Everybody has their own; packages are told by their hashes."""
    lock = (CLIENT / "package-lock.json").read_text()
    assert "resolved" not in lock
    packages = [found for path, found in json.loads(lock)["packages"].items() if path]
    assert all("integrity" in found for found in packages)


def test_the_client_has_no_dependencies_at_run_time():
    """A page that loads /client.js loads nothing else."""
    package = json.loads((CLIENT / "package.json").read_text())
    assert "dependencies" not in package
    for module in (CLIENT / "dist").glob("*.js"):
        assert not re.search(r"\bimport\s*[\"'{*]", module.read_text()) or module.name == "react.js"


def test_the_package_on_npm_has_the_license():
    """What is published are files of its folder only."""
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.timeout(240)
def test_a_wheel_holds_the_built_client_and_not_its_source(tmp_path: Path):
    """`pip install` is enough to serve /client.js."""
    source = tmp_path / "source"
    left_out = shutil.ignore_patterns("__pycache__", "node_modules", "build")
    shutil.copytree(ROOT / "bridge", source / "bridge", ignore=left_out)
    (source / "bridge" / "client" / "node_modules" / "some").mkdir(parents=True)
    (source / "bridge" / "client" / "node_modules" / "some" / "index.js").write_text("// nobody's business")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            tmp_path,
            source,
        ],
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bridge/client/")]
    built = {f"bridge/client/dist/{path.name}" for path in (CLIENT / "dist").iterdir()}
    assert set(names) == {"bridge/client/__init__.py"} | built
