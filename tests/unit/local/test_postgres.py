"""The embedded Postgres."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.errors import SourceError
from bridge.local.postgres import EmbeddedPostgres
from tests.support.stack import embedded_postgres

ANN = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server in a temporary folder, with Supabase's roles."""
    with embedded_postgres() as server:
        yield server


def value(postgres: EmbeddedPostgres, query: str, database: str = "postgres") -> object:
    """Return the only value of a query."""
    with psycopg.connect(postgres.url(database)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_it_is_ready_for_logical_replication(postgres: EmbeddedPostgres):
    """With room for the slots of many tests."""
    assert value(postgres, "show wal_level") == "logical"
    assert int(str(value(postgres, "show max_replication_slots"))) >= 16


def test_it_listens_on_loopback_only(postgres: EmbeddedPostgres):
    """Everybody who reaches it is superuser."""
    assert value(postgres, "show listen_addresses") == "127.0.0.1"
    assert value(postgres, "show unix_socket_directories") == ""


def test_letters_of_other_alphabets_have_two_cases(postgres: EmbeddedPostgres):
    """As hosted Supabase has it, in UTF-8."""
    assert value(postgres, "select lower('ÉЖ')") == "éж"
    assert value(postgres, "show server_encoding") == "UTF8"


def test_psql_connects_with_its_url(postgres: EmbeddedPostgres):
    """The program comes with the server."""
    command = [str(postgres.binary("psql")), postgres.url(), "-Atc", "select 6 * 7"]

    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "42\n"


def test_roles_are_those_of_supabase(postgres: EmbeddedPostgres):
    """service_role passes policies by, authenticator may become any of the three."""
    query = (
        "select array_agg(rolname::text order by rolname) from pg_roles where rolbypassrls and not rolsuper"
    )
    assert value(postgres, query) == ["service_role"]
    query = "select array_agg(roleid::regrole::text order by 1) from pg_auth_members where member = 'authenticator'::regrole"
    assert value(postgres, query) == ["anon", "authenticated", "service_role"]


@pytest.mark.parametrize("setting", ["request.jwt.claims", "request.jwt.claim.sub"])
def test_uid_reads_both_forms_of_the_claims(postgres: EmbeddedPostgres, setting: str):
    """The object, and the setting of its own that older PostgREST made; without either it is NULL."""
    text = f'{{"sub":"{ANN}"}}' if setting.endswith("claims") else ANN
    with psycopg.connect(postgres.url()) as connection:
        connection.execute("select set_config(%s, %s, true)", (setting, text))
        assert str(connection.execute("select auth.uid()").fetchone()[0]) == ANN
    assert value(postgres, "select auth.uid() is null and auth.role() is null and auth.jwt() is null") is True


def test_new_tables_are_granted_as_supabase_grants_them(postgres: EmbeddedPostgres):
    """To anon, too: policies decide."""
    with psycopg.connect(postgres.url()) as connection:
        connection.execute("create table public.granted (id int)")
        row = connection.execute("select has_table_privilege('anon', 'public.granted', 'insert')").fetchone()
    assert row == (True,)


def test_bootstrapping_again_changes_nothing(postgres: EmbeddedPostgres):
    """It may run on a folder from an earlier start."""
    postgres.bootstrap()


def test_a_database_is_made_from_a_template(postgres: EmbeddedPostgres):
    """With everything in it, and no effect on the template."""
    url = postgres.create_database("pattern")
    postgres.bootstrap("pattern")
    copy = postgres.create_database('my "copy"', template="pattern")
    with psycopg.connect(copy) as connection:
        connection.execute("create table public.mine (id int)")

    assert url == postgres.url("pattern")
    assert (
        value(postgres, "select to_regclass('public.mine') is null and auth.uid() is null", "pattern") is True
    )


def test_a_given_folder_is_kept(tmp_path: Path):
    """With its rows; a temporary one is removed."""
    if os.geteuid() == 0:  # Postgres runs as another user then, who has to get there
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
    for first in (True, False):
        server = EmbeddedPostgres(tmp_path / "kept")
        server.start()
        try:
            with psycopg.connect(server.url()) as connection:
                if first:
                    connection.execute("create table kept as select 1 as id")
                assert connection.execute("select id from kept").fetchone() == (1,)
        finally:
            server.stop()
        assert server.pid is None


def test_nothing_is_left_of_a_temporary_folder():
    """Nor of its process; stopping twice is harmless."""
    server = EmbeddedPostgres()
    server.start()
    folder, pid = server.folder, server.pid
    server.stop()
    server.stop()

    assert folder is not None
    assert pid is not None
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    """With the last lines of its log."""
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
    broken = EmbeddedPostgres(tmp_path / "broken")
    broken.start()
    broken.stop()
    (tmp_path / "broken" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(SourceError, match=r"configuration file .* contains errors"):
        broken.start()
    broken.stop()
