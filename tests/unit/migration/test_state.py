"""Files beside the record."""

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.migration.state import MARK, Migration, Recorded, Standing, compare, files, read

ONE = Migration("20260101000000", "one", ("begin", "select 1", "commit"))
TWO = Migration("20260201000000", "two", ("select 2",))


def _states(*rows: Recorded) -> list[str]:
    return [s.state for s in compare([ONE, TWO], {row.version: row for row in rows})]


def test_what_is_not_recorded_is_pending():
    """In an empty record, all."""
    assert _states() == ["pending", "pending"]


def test_recorded_with_its_statements_it_is_applied():
    """Also where a tool kept no statements, or divided them otherwise."""
    assert _states(Recorded(ONE.version, "one", ("begin;\nselect 1", "commit;"))) == ["applied", "pending"]
    assert _states(Recorded(ONE.version, "one", None)) == ["applied", "pending"]


def test_recorded_with_others_it_is_changed():
    """An older version of the file was applied, or another file with that version."""
    assert _states(Recorded(ONE.version, "one", ("select 3",)))[0] == "changed"


def test_migrations_of_the_project_are_nobody_elses_business():
    """Older or newer; one of the bridge is known by the line in its header."""
    own = Recorded("20270101000000", "own", ("create table x ()",))
    assert _states(own) == ["pending", "pending"]
    later = Recorded("20270101000000", "later", (f"-- {MARK}: so.\nbegin",))
    assert compare([ONE], {later.version: later})[1] == Standing(later.version, "later", "newer")


def test_the_files_of_this_repository_are_all_marked():
    """Else a later version of the bridge would not be noticed."""
    migrations = read(files())
    assert len(migrations) >= 4
    assert all(MARK in migration.statements[0] for migration in migrations)
    assert [m.version for m in migrations] == sorted({m.version for m in migrations})


def test_another_name_is_refused():
    """Versions are what the record goes by."""
    with pytest.raises(ConfigError, match="name it"):
        read([Path("notes.sql")])
