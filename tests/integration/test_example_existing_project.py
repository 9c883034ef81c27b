"""docs/example-existing-project.md, typed in: each command runs, and prints what is written there."""

import doctest
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.stack import ROOT, local_stack

GUIDE = ROOT / "docs" / "example-existing-project.md"
EXAMPLE = ROOT / "docs" / "examples" / "existing-project"

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="the guide's commands need bash and curl"
)


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """The project as it is before anybody thinks of the bridge."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            for name in ("schema.sql", "rows.sql"):
                connection.execute((EXAMPLE / name).read_bytes())
        yield stack


class Terminal:
    """One shell for the whole guide, in which what is exported stays and what runs in the background runs on."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, command: str) -> str:
        """Return what a command prints."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\nprintf '\\n=== done\\n'\n")
        self._shell.stdin.flush()
        printed = ""
        while not printed.endswith("=== done\n"):
            line = self._shell.stdout.readline()
            assert line, f"the shell ended in {command}: {printed}"
            printed += line
        return printed.removesuffix("\n=== done\n")

    def close(self) -> None:
        """End the shell and what it started."""
        os.killpg(self._shell.pid, signal.SIGTERM)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(10)
        assert self._shell.stdout is not None
        self._shell.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def terminal(project: LocalStack, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in a checkout, with `bridge` and `psql` on the path and the project's settings exported."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bridge").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m bridge "$@"\n')
    (programs / "bridge").chmod(0o755)
    (programs / "psql").symlink_to(project.postgres.binary("psql"))
    (tmp_path / "sql").symlink_to(ROOT / "sql")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_", "PG"))}
    opened = Terminal(
        tmp_path,
        {
            **environ,
            "PATH": f"{programs}:{environ['PATH']}",
            "SUPABASE_DB_URL": project.database_url,
            "SUPABASE_URL": project.url,
            "SUPABASE_SERVICE_ROLE_KEY": project.service_role_key,
            "SUPABASE_JWT_SECRET": project.jwt_secret,
            "BRIDGE_PORT": str(_free_port()),
            "BRIDGE_ADMIN_PORT": str(_free_port()),
        },
    )
    try:
        yield opened
    finally:
        opened.close()


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the guide with what is written below it."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_guide_does_what_it_says(terminal: Terminal):
    """From an existing project to events in the hands of those who may see them, and back."""
    checker = doctest.OutputChecker()
    typed = 0
    for command, written in _commands(GUIDE.read_text()):
        if re.match(r"export SUPABASE_\w+=.*\.\.\.|export SUPABASE_URL=.*<ref>", command):
            continue  # the project's own
        printed = terminal.type(command.replace("127.0.0.1:3003", "127.0.0.1:$BRIDGE_ADMIN_PORT"))
        typed += 1
        assert checker.check_output(written.rstrip(), printed.rstrip(), doctest.ELLIPSIS), (
            f"$ {command}\nprints:\n{printed}\nwritten:\n{written}"
        )
    assert typed > 15


def test_the_guide_takes_less_than_ten_minutes():
    """Every word of it read, at 200 a minute, and each command pasted or typed in 5 s."""
    text = GUIDE.read_text()
    commands = list(_commands(text))
    assert len(text.split()) / 200 + len(commands) * 5 / 60 < 10
