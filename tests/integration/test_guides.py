"""docs/operations.md and docs/faq.md, typed in beside a running worker."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.connection.jwks import MAX_AGE_S
from bridge.local.stack import LocalStack
from tests.support.stack import ROOT
from tests.support.terminal import Terminal, checkout

DOCS = ROOT / "docs"
OPERATIONS = (DOCS / "operations.md").read_text()

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="the guides' commands need bash and curl"
)


@pytest.fixture
def terminal(stack: LocalStack, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in a checkout, in which a worker runs and logs to bridge.log."""
    environ = checkout(tmp_path, stack)
    (tmp_path / "bin" / "pg_dump").symlink_to(stack.postgres.binary("pg_dump"))
    opened = Terminal(tmp_path, environ | {"SUPABASE_SERVICE_ROLE_KEY": stack.service_role_key})
    try:
        # But for what this machine may have too little of: the guide's log has no warnings.
        opened.type("bridge run 2>&1 | grep --line-buffered -v open_files_few > bridge.log &")
        opened.type(
            "curl -sf --retry 60 --retry-delay 1 --retry-connrefused --retry-all-errors http://127.0.0.1:3003/readyz"
        )
        yield opened
    finally:
        opened.close()


def test_the_commands_of_operations_and_of_the_faq_do_what_they_say(terminal: Terminal, tmp_path: Path):
    """Each, with what it prints; the dump has the journal, and none of its rows."""
    assert terminal.follow(OPERATIONS) == 7
    assert terminal.follow((DOCS / "faq.md").read_text()) == 1
    dump = (tmp_path / "backup.sql").read_text()
    assert "CREATE TABLE bridge.journal" in dump
    assert "COPY bridge.journal " not in dump


def test_the_commands_of_the_readmes_succeed(terminal: Terminal, stack: LocalStack):
    """What README.md has for DBA and operator, with a row that is there; the files once more by psql."""
    ann, dialog = (f"00000000-0000-4000-8000-{number:012}" for number in (1, 2))
    terminal.type(
        f"psql \"$SUPABASE_DB_URL\" -qXc \"insert into public.dialogs (id, owner_id) values ('{dialog}', '{ann}');"
        f" insert into public.messages (id, dialog_id, sender_id, body) values ('{ann}', '{dialog}', '{ann}', 'x')\""
    )
    typed = [
        line.partition("  #")[0].replace("UUID", ann).replace("ID", ann)
        for name in ("README.md", "sql/README.md")
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
        for line in block.splitlines()
        if re.match(r"bridge (?!run)|for file in sql/migrations", line)
    ]
    assert len(typed) == 8
    for command in typed:
        printed = terminal.type(f"set -o pipefail; {command}; echo ended with $?")
        assert printed.endswith("ended with 0\n"), (command, printed)


STUB = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "$CALLS"
"""


def test_what_is_told_of_service_managers_is_what_is_in_ops(tmp_path: Path):
    """No PM2, systemd or Docker runs here: the commands are run with stand-ins, and name what ops/ has.

    tests/ops has PM2 itself start, reload and stop the worker.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("pm2", "systemctl", "journalctl", "docker", "nginx", "git", "make", "bridge", "curl"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    started = (DOCS / "getting-started.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", OPERATIONS + started, re.DOTALL)
    table = re.search(r"\| \| PM2 \|.*?\n\n", OPERATIONS, re.DOTALL)
    assert table is not None
    cells = re.findall(r"`((?:pm2|systemctl|journalctl|docker) [^`]*)`", table[0])
    assert len(cells) == 16
    calls = tmp_path / "calls"
    done = subprocess.run(
        ["bash", "-euc", "\n".join([*blocks, *cells])],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = calls.read_text()
    compose = (ROOT / "ops" / "docker" / "compose.yaml").read_text()
    assert "\nservices:\n  bridge:\n" in compose
    for path in re.findall(r"\bops/\S+", said):
        assert (ROOT / path).is_file(), path
    assert set(re.findall(r"^(?:systemctl .* |journalctl -u )(\w+)", said, re.MULTILINE)) == {
        "bridge",
        "nginx",
    }
    assert (ROOT / "ops" / "systemd" / "bridge.service").is_file()
    assert set(re.findall(r"websocket-server\S*", said)) == {"websocket-server", "websocket-server-2"}
    assert "'websocket-server'" in (ROOT / "ops" / "pm2" / "ecosystem.config.cjs").read_text()


def test_what_is_told_of_the_code_is_so():
    """Figures and names that the pages repeat."""
    assert MAX_AGE_S == 600  # "ten minutes at most"
    for event in re.findall(r"`([a-z]+_[a-z_]+)`", OPERATIONS):
        known = (DOCS / "errors.md").read_text() + (DOCS / "missing.md").read_text()
        assert f"`{event}`" in known or event.startswith("bridge_") or event.endswith("_total"), event
