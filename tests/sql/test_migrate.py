"""`bridge migrate`, run as a DBA runs it, and beside other tools."""

import re
import signal
import subprocess
import threading
import time

import psycopg

from bridge.local.postgres import EmbeddedPostgres
from bridge.migration.database import LOCK
from bridge.migration.state import MARK, files, read
from tests.sql.conftest import Connection, bridge_migrate, start_migrate
from tests.support.stack import ROOT, migrate

UNDO = ROOT / "sql" / "undo"
VERSIONS = [m.version for m in read(files())]
RECORD = "supabase_migrations.schema_migrations"


def _migrate(url: str, *arguments: str) -> list[str]:
    result = bridge_migrate(url, *arguments)
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if not line.startswith("    ")]


def _refused(url: str, *arguments: str) -> str:
    result = bridge_migrate(url, *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    return result.stderr


def _record(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(f"select version, name, statements from {RECORD} order by version").fetchall()


def test_up_applies_and_records_and_does_so_once(fresh: Connection, url: str):
    """Version, name and statements as the Supabase CLI writes them; the second time there is nothing to do."""
    said = bridge_migrate(url).stdout
    assert re.findall("^applied", said, re.MULTILINE) == ["applied"] * len(VERSIONS)
    assert "    public.dialogs is watched\n" in said
    assert "skipping" not in said  # Postgres's own notices read like errors
    assert _record(fresh) == [(m.version, m.name, list(m.statements)) for m in read(files())]
    assert fresh.execute("select count(*) from public.bridge_watched()").fetchone() == (3,)
    assert _migrate(url) == ["nothing to apply"]
    columns = fresh.execute(
        "select attname::text, format_type(atttypid, -1), attnotnull from pg_attribute "
        f"where attrelid = '{RECORD}'::regclass and attnum > 0 order by attnum"
    ).fetchall()
    assert columns == [("version", "text", True), ("statements", "text[]", False), ("name", "text", False)]


def test_status_and_dry_run_change_nothing(fresh: Connection, url: str):
    """Not even the record's schema; the dry run has run everything."""
    assert {line.split()[0] for line in _migrate(url, "status")} == {"pending"}
    assert [line.split()[2].split("_")[0] for line in _migrate(url, "dry-run")] == VERSIONS
    found = fresh.execute("select to_regnamespace('supabase_migrations'), to_regclass('public.dialogs')")
    assert found.fetchone() == (None, None)


def test_what_psql_applied_is_applied_again_and_recorded(fresh: Connection, url: str):
    """The files can be run twice, so that this is safe."""
    migrate(fresh)
    assert {line.split()[0] for line in _migrate(url, "status")} == {"pending"}
    _migrate(url)
    assert {line.split()[0] for line in _migrate(url, "status")} == {"applied"}


def test_what_psql_took_back_is_pending_again(fresh: Connection, postgres: EmbeddedPostgres, url: str):
    """The undo files remove the record too, so that up applies them again; one that failed half-way is as it was."""
    _migrate(url)
    for path in reversed(files()):
        undo = [postgres.binary("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-f", UNDO / path.name, url]
        subprocess.run(undo, check=True, capture_output=True)
    assert _record(fresh) == []
    assert len(_migrate(url)) == len(VERSIONS)


def test_it_works_beside_the_supabase_cli(fresh: Connection, url: str):
    """An old record without columns, a newer one with more, migrations of the project, a file that the CLI pushed."""
    fresh.execute("create schema supabase_migrations")
    fresh.execute(f"create table {RECORD} (version text not null primary key, created_by text)")
    fresh.execute(f"insert into {RECORD} values ('20990101000000')")
    first = read(files())[0]
    assert len(_migrate(url, "up")) == len(VERSIONS)
    fresh.execute(f"delete from {RECORD} where version = %s", (first.version,))
    fresh.execute(
        f"insert into {RECORD} (version, name, statements) values (%s, %s, %s)",
        (first.version, first.name, list(first.statements)),
    )
    assert _migrate(url) == ["nothing to apply"]
    assert {line.split()[0] for line in _migrate(url, "status")} == {"applied"}


def test_a_database_that_is_ahead_is_left_alone(fresh: Connection, url: str):
    """A later version of the bridge was here: its migration is named."""
    _migrate(url)
    fresh.execute(f"delete from {RECORD} where version = %s", (VERSIONS[-1],))
    fresh.execute(
        f"insert into {RECORD} (version, name, statements) values ('20990101000000', 'later', %s)",
        ([f"-- {MARK}: so\nbegin", "commit"],),
    )
    assert "ahead of this version of the bridge (20990101000000_later)" in _refused(url)
    assert "ahead" in _refused(url, "dry-run")
    assert "newer    20990101000000_later: applied by a newer version" in _migrate(url, "status")[-1]
    assert VERSIONS[-1] not in [row[0] for row in _record(fresh)]


def test_a_file_that_was_changed_since_is_reported_and_can_be_run_again(fresh: Connection, url: str):
    """The record then has the statements of the file."""
    _migrate(url)
    fresh.execute(f"update {RECORD} set statements = '{{select 1}}' where version = %s", (VERSIONS[1],))
    assert _migrate(url, "status")[1].startswith(f"changed  {VERSIONS[1]}")
    assert "--reapply" in _migrate(url)[0]
    assert _migrate(url, "up", "--reapply") == [f"applied  {VERSIONS[1]}_publication"]
    assert {line.split()[0] for line in _migrate(url, "status")} == {"applied"}


def test_a_file_that_fails_leaves_nothing_of_itself(fresh: Connection, postgres: EmbeddedPostgres, url: str):
    """A table is held: what was before it stays applied, the file and its record do not; who holds it can be found."""
    _migrate(url)
    fresh.execute(f"delete from {RECORD} where version >= %s", (VERSIONS[1],))
    fresh.execute("alter publication supabase_realtime drop table public.messages")
    with psycopg.connect(postgres.url("scratch")) as busy:
        busy.execute("lock table public.messages in share mode")
        said = _refused(url)
        assert f"{VERSIONS[1]}_publication was not applied (55P03" in said
        assert "pg_stat_activity" in said
        busy.rollback()
    assert [row[0] for row in _record(fresh)] == VERSIONS[:1]
    assert len(_migrate(url)) == len(VERSIONS) - 1


def test_two_at_once_apply_each_file_once(fresh: Connection, url: str):
    """The second waits for the first."""
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(_migrate(url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for lines in results for line in lines if line.startswith("applied  ")]
    assert sorted(line.split()[1].split("_")[0] for line in lines) == VERSIONS


def test_one_that_hangs_is_named_to_the_next(fresh: Connection, postgres: EmbeddedPostgres, url: str):
    """After ten seconds."""
    with psycopg.connect(postgres.url("scratch")) as other:
        other.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        said = _refused(url)
        assert "another `bridge migrate` has been at work here" in said
        who = said.strip().rpartition("who it is: ")[2]
        assert fresh.execute(who.encode()).fetchall() == [(other.info.backend_pid,)]


def test_ctrl_c_is_heard_while_it_waits(fresh: Connection, postgres: EmbeddedPostgres, url: str):
    """At once; nothing is applied then, and no session is left to apply it later."""
    with psycopg.connect(postgres.url("scratch")) as other:
        other.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        process = start_migrate(url)
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while fresh.execute(waiting).fetchone() != (1,) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
        assert (process.returncode, "stopped before it had ended" in err) == (130, True), err
        assert fresh.execute(waiting).fetchone() == (0,)
    assert {line.split()[0] for line in _migrate(url, "status")} == {"pending"}


def test_who_may_not_is_told_as_whom_to_connect(fresh: Connection, postgres: EmbeddedPostgres, url: str):
    """A role without privileges, a wrong password, and no project at all."""
    fresh.execute("drop role if exists passer_by; create role passer_by login password 'right-one'")
    assert "connect as the owner" in _refused(url.replace("postgres@", "passer_by@"))
    folder = postgres.folder
    assert folder is not None
    rules = folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text(f"host all passer_by 127.0.0.1/32 scram-sha-256\n{before}")
        fresh.execute("select pg_reload_conf()")
        said = _refused(url.replace("postgres@", "passer_by:wrong-one@"))
    finally:
        rules.write_text(before)
        fresh.execute("select pg_reload_conf()")
    assert "the password is wrong" in said
    assert "wrong-one" not in said
    assert "SUPABASE_DB_URL is not set" in _refused("")


def test_a_database_that_is_no_project_is_asked_about(postgres: EmbeddedPostgres):
    """Supabase's roles are of the server, its auth schema is not there."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("drop database if exists bare")
        admin.execute("create database bare")
    said = _refused(postgres.url("bare"))
    assert "is this such a project?" in said
