"""The commands of a guide, typed into one shell, beside what the guide says that they print."""

import doctest
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bridge.listening import free_port
from bridge.local.stack import LocalStack
from tests.support.stack import ROOT

Command = tuple[str, str]
"""What is typed, and what is written below it."""

_checker = doctest.OutputChecker()
_OWN = re.compile(r"export SUPABASE_\w+=.*(\.\.\.|<ref>)")


class Terminal:
    """One shell for a whole guide, in which what is exported stays and what runs in the background runs on."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._ports = {port: str(free_port()) for port in ("3002", "3003", "8080")}
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environ | {"BRIDGE_PORT": self._ports["3002"], "BRIDGE_ADMIN_PORT": self._ports["3003"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, command: str) -> str:
        """Return what a command prints, on ports that are free here."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{self.here(command)}\nprintf '\\n=== done\\n'\n")
        self._shell.stdin.flush()
        printed = ""
        while not printed.endswith("=== done\n"):
            line = self._shell.stdout.readline()
            assert line, f"the shell ended in {command}: {printed}"
            printed += line
        return printed.removesuffix("\n=== done\n")

    def here(self, text: str) -> str:
        """Return a text of a guide with the ports of this terminal."""
        for port, own in self._ports.items():
            text = re.sub(rf"(127\.0\.0\.1:|http\.server ){port}\b", rf"\g<1>{own}", text)
        return text

    def follow(self, text: str) -> int:
        """Type all that a text has, and compare; what exports a setting of the reader's own is exported already."""
        typed = 0
        for command, written in commands(text):
            if _OWN.match(command):
                continue
            printed = self.type(command)
            typed += 1
            assert _checker.check_output(self.here(written).rstrip(), printed.rstrip(), doctest.ELLIPSIS), (
                f"$ {command}\nprints:\n{printed}\nwritten:\n{written}"
            )
        return typed

    def close(self) -> None:
        """End the shell and what it started."""
        os.killpg(self._shell.pid, signal.SIGTERM)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(10)
        assert self._shell.stdout is not None
        self._shell.stdout.close()


def commands(text: str) -> Iterator[Command]:
    """Yield each command of a guide with what is written below it."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


def checkout(folder: Path, project: LocalStack) -> dict[str, str]:
    """Make a checkout with `bridge` and `psql` on the path; return its environment, a reader's settings exported."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "bridge").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m bridge "$@"\n')
    (programs / "bridge").chmod(0o755)
    (programs / "psql").symlink_to(project.postgres.binary("psql"))
    for name in ("sql", "docs", "ops"):
        (folder / name).symlink_to(ROOT / name)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_", "PG"))}
    return {
        **environ,
        "PATH": f"{programs}:{environ['PATH']}",
        "SUPABASE_DB_URL": project.database_url,
        "SUPABASE_URL": project.url,
        "SUPABASE_JWT_SECRET": project.jwt_secret,
    }
