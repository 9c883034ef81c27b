"""The real Supabase CLI and `bridge migrate` on one database, with the files in both places."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bridge.migration.state import files
from tests.sql.conftest import Connection, bridge_migrate

CLI = shutil.which("supabase")
pytestmark = pytest.mark.skipif(CLI is None, reason="supabase is not installed: npm install supabase@2.117.0")
NAMES = [path.name for path in files()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the CLI with the bridge's files in it, as sql/README.md says."""
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    for path in files():
        shutil.copy(path, folder)
    return tmp_path


def _supabase(project: Path, url: str, *arguments: str) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SUPABASE_", "PG"))}
    result = subprocess.run(
        [str(CLI), *arguments, "--db-url", f"{url}?sslmode=disable"],
        cwd=project,
        env={**environ, "HOME": str(project), "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout


def _words(url: str, *arguments: str) -> set[str]:
    done = bridge_migrate(url, *arguments)
    assert done.returncode == 0, done.stderr
    return {line.split()[0] for line in done.stdout.splitlines()}


def test_what_the_cli_pushed_is_applied(fresh: Connection, url: str, project: Path):
    """Each file, with a record that `bridge migrate` finds to be that of the file; a lock time-out does not outlive it."""
    said = _supabase(project, url, "db", "push", "--yes")
    assert [name for name in NAMES if f"Applying migration {name}" in said] == NAMES, said
    assert "WARNING" not in said
    assert "Finished" in said
    assert _words(url, "status") == {"applied"}
    assert _words(url) == {"nothing"}
    assert fresh.execute("select count(*) from public.bridge_watched()").fetchone() == (3,)


def test_what_bridge_migrate_applied_is_nothing_to_push(fresh: Connection, url: str, project: Path):
    """Side by side: the CLI finds its own record, and pushes the project's next migration."""
    assert "applied" in _words(url)
    assert "up to date" in _supabase(project, url, "db", "push", "--yes")
    own = project / "supabase" / "migrations" / "20990101000000_own.sql"
    own.write_text("create table public.own (id int primary key);")
    assert f"Applying migration {own.name}" in _supabase(project, url, "db", "push", "--yes")
    assert _words(url, "status") == {"applied"}


def test_the_cli_refuses_what_it_has_no_files_of(fresh: Connection, url: str, project: Path):
    """Which is why they are copied into supabase/migrations."""
    assert "applied" in _words(url)
    shutil.rmtree(project / "supabase" / "migrations")
    (project / "supabase" / "migrations").mkdir()
    assert "Remote migration versions not found in local migrations directory" in _supabase(
        project, url, "db", "push", "--yes"
    )


def test_an_undo_is_seen_by_the_cli(fresh: Connection, url: str, project: Path):
    """The undo file takes the record back, so that the next push applies the file again."""
    _supabase(project, url, "db", "push", "--yes")
    last = files()[-1]
    fresh.execute((last.parent.parent / "undo" / last.name).read_bytes())
    assert f"Applying migration {last.name}" in _supabase(project, url, "db", "push", "--yes")
