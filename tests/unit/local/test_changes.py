"""What a role may have of a change, without a database."""

from typing import Any

import pytest

from bridge.local.changes import NO_PRIMARY_KEY, UNAUTHORIZED, Data, view
from bridge.pgoutput import Relation

TABLE = Relation(1, "public", "t", "f", (("id", True), ("body", False)))


def change(type_: str, **rows: dict[str, Any]) -> Data:
    """A change of a table with a key and a body."""
    columns = [{"name": "id", "type": "int4"}, {"name": "body", "type": "text"}]
    payload = {"type": type_, "columns": columns, "commit_timestamp": "now", "errors": None, **rows}
    return Data(payload, {"id": 1}, rls=False, relation=TABLE)


def test_whoever_may_read_everything_gets_the_change_itself():
    """No copy is made."""
    update = change("UPDATE", record={"id": 1, "body": "b"}, old_record={"id": 1, "body": "a"})

    assert view(update, {"id", "body"}) is update.payload


def test_columns_without_the_privilege_are_left_out():
    """Of the columns, the new and the old row."""
    update = change("UPDATE", record={"id": 1, "body": "b"}, old_record={"id": 1, "body": "a"})

    shown = view(update, {"id"})

    assert shown["columns"] == [{"name": "id", "type": "int4"}]
    assert (shown["record"], shown["old_record"]) == ({"id": 1}, {"id": 1})
    assert update.payload["record"] == {"id": 1, "body": "b"}


@pytest.mark.parametrize("readable", [set(), {"body"}])
def test_without_the_privilege_for_the_key_there_is_only_an_error(readable: set[str]):
    """No row, no time."""
    shown = view(change("INSERT", record={"id": 1, "body": "b"}), readable)

    assert (shown["errors"], shown["record"], shown["columns"]) == ([UNAUTHORIZED], {}, [])
    assert shown["commit_timestamp"] is None
    assert "old_record" not in shown


def test_a_delete_is_told_to_all_but_without_what_they_may_not_read():
    """Deletions are not authorized at a real server either."""
    assert view(change("DELETE", old_record={"id": 1, "body": "a"}), {"body"})["old_record"] == {"body": "a"}


def test_a_table_without_a_key_has_that_error_for_everybody():
    """It comes before any question of privileges."""
    payload = {"type": "INSERT", "columns": [], "errors": [NO_PRIMARY_KEY], "record": {}}
    keyless = Data(payload, {}, rls=False, relation=TABLE)

    assert view(keyless, set()) is payload
