"""The pgTAP files, on pgTAP where it is installed and everywhere on a stand-in for the little that they use of it.

The files are plain pgTAP: `supabase test db` and `pg_prove` run them as well.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Connection

FOLDER = Path(__file__).parent / "pgtap"
FILES = sorted(FOLDER.glob("*.test.sql"))


def _pgtap() -> Path | None:
    """Return pgTAP's own file: where PGTAP_DIR says, or where Debian's packages put it (of any version of Postgres)."""
    folders = [Path(os.environ["PGTAP_DIR"])] if "PGTAP_DIR" in os.environ else []
    roots = [*folders, Path("/usr/share/postgresql")]
    found = [
        path for root in roots for path in sorted(root.glob("**/pgtap--*.sql")) if path.name.count("--") == 1
    ]
    return found[0] if found else None


@pytest.fixture(scope="module", params=["stand-in", "pgtap"])
def tested(request: pytest.FixtureRequest, postgres: EmbeddedPostgres, template: str) -> str:
    """The URL of a migrated database with the functions that the files call, where Supabase has them."""
    path = FOLDER / "stand_in.sql" if request.param == "stand-in" else _pgtap()
    if path is None:
        pytest.skip("pgTAP is not installed: apt-get install postgresql-15-pgtap, or another version's")
    url = postgres.create_database(f"tap_{request.param.replace('-', '_')}", template=template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set search_path = extensions, public")
        # A script that an extension is made of refuses to be run by hand, in a line for psql.
        connection.execute(re.sub(r"^\\.*", "", path.read_text(), flags=re.MULTILINE).encode())
    return url


@pytest.fixture
def tap(tested: str) -> Iterator[Connection]:
    """A connection to it, with Supabase's search path."""
    with psycopg.connect(tested, autocommit=True) as connection:
        connection.execute("set search_path = public, extensions")
        yield connection


def _run(connection: Connection, script: str) -> list[str]:
    """Return the lines of TAP that a script prints."""
    cursor = connection.execute(script.encode())
    lines: list[str] = []
    more: bool | None = True
    while more:
        if cursor.description is not None:
            lines += [line for row in cursor.fetchall() for line in str(row[0]).splitlines()]
        more = cursor.nextset()
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file(tap: Connection, path: Path):
    """Every assertion of the file holds."""
    lines = _run(tap, path.read_text())
    failed = [line for line in lines if line.startswith(("not ok", "#"))]
    assert not failed, "\n".join(failed)
    passed = [line for line in lines if line.startswith("ok ")]
    assert f"1..{len(passed)}" in lines
    assert passed


def test_what_does_not_hold_is_told(tap: Connection):
    """A stand-in that lets everything pass would be worse than none."""
    lines = _run(
        tap,
        """
        begin;
        select * from no_plan();
        select ok(true, 'a');
        select ok(null, 'b');
        select is(1, 2, 'c');
        select is(null::int, null, 'd');
        select is(null, 1, 'e');
        select results_eq('values (1), (2)', 'values (1), (2)', 'f');
        select results_eq('values (1), (2)', 'values (2), (1)', 'g');
        select results_eq('values (1)', 'values (1), (2)', 'h');
        select results_eq('values (1, null)', 'values (1, 2)', 'i');
        select is_empty('select 1 where false', 'j');
        select is_empty('select 1', 'k');
        select * from finish();
        rollback;
        """,
    )
    verdicts = {line[-1]: line.startswith("ok") for line in lines if re.match(r"(not )?ok \d", line)}
    assert verdicts == {letter: letter in "adfj" for letter in "abcdefghijk"}
    assert "1..11" in lines
