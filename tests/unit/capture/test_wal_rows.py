"""From pgoutput's messages to changes of the journal."""

import datetime as dt
from typing import Any

import pytest

from bridge.capture.refusal import ReplicationError
from bridge.capture.wal_rows import RowReader
from bridge.events import Change
from tests.support.pgoutput import begin, commit, insert, relation

COLUMNS = ("id", "txid", "relation", "action", "record", "old_record", "recorded_at")
AT = "2026-01-02 03:04:05.678901+00"


def reader(columns: tuple[str, ...] = COLUMNS, **table: Any) -> RowReader:
    """One that knows the journal and is in a transaction."""
    made = RowReader()
    assert made.read(begin(dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)), 0.0) is None
    assert made.read(relation("bridge", "journal", columns, **table), 0.0) is None
    return made


def changes(made: RowReader, *messages: bytes, received_s: float = 0.0) -> list[Change]:
    """What these messages and the end of the transaction tell."""
    read = [made.read(message, received_s) for message in (*messages, commit())]
    return [one[0] for one in read if one is not None]


def test_a_row_is_a_change_as_realtime_would_tell_it():
    """A number, RFC 3339, and text; the commit in milliseconds."""
    row = insert("7", "750", "public.t", "UPDATE", '{"a": 1.50}', None, AT)
    (change,) = changes(reader(), row, received_s=12.5)

    assert change == Change(
        table="bridge.journal",
        action="INSERT",
        new={
            "id": 7,
            "txid": "750",
            "relation": "public.t",
            "action": "UPDATE",
            "record": '{"a": 1.50}',
            "old_record": None,
            "recorded_at": "2026-01-02T03:04:05.678901+00:00",
        },
        old=None,
        commit_timestamp="2026-01-02T03:04:05.678Z",
        received_s=12.5,
        last=True,
    )


def test_each_transaction_has_its_own_commit_timestamp():
    """All its rows the same; and the last of them is known."""
    made = reader()
    row = insert("7", "750", "public.t", "INSERT", "{}", None, AT)
    told = changes(made, row)
    made.read(begin(dt.datetime(2026, 1, 2, 4, tzinfo=dt.UTC)), 0.0)
    told += changes(made, row, row)

    stamps = [change.commit_timestamp for change in told]
    assert [change.last for change in told] == [True, False, True]
    assert stamps == ["2026-01-02T03:04:05.678Z", "2026-01-02T04:00:00.000Z", "2026-01-02T04:00:00.000Z"]


def test_other_tables_are_none_of_ours():
    """Neither another schema's journal nor another table of the schema."""
    made = reader()
    made.read(relation("public", "journal", COLUMNS, oid=2), 0.0)
    made.read(relation("bridge", "journal_pruned", COLUMNS, oid=3), 0.0)

    assert changes(made, insert("x", oid=2), insert("x", oid=3)) == []


def test_columns_may_be_added_and_moved():
    """After ALTER TABLE the journal is described again; what is not known of a column is its text."""
    made = reader()
    _, change = changes(
        made,
        insert("7", "750", "public.t", "INSERT", "{}", None, AT),
        relation("bridge", "journal", ("extra", "old_record", "record", "action", "relation", "id")),
        insert("e", None, "{}", "INSERT", "public.t", "8"),
    )

    assert change.new == {
        "extra": "e",
        "old_record": None,
        "record": "{}",
        "action": "INSERT",
        "relation": "public.t",
        "id": 8,
    }


def test_a_missing_column_says_what_to_do():
    """An old migration, or a publication with a column list."""
    made = reader(("id", "relation", "action"))

    with pytest.raises(ReplicationError, match=r"without record, old_record: apply sql/migrations"):
        made.read(insert("1", "public.t", "INSERT"), 0.0)
