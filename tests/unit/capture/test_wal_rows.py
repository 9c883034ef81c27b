"""From pgoutput's messages to rows of the journal."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from bridge.capture.refusal import ReplicationError
from bridge.capture.wal_rows import RowReader
from bridge.journal import JournalRow
from tests.support.pgoutput import begin, commit, insert, relation

COLUMNS = ("id", "txid", "relation", "action", "record", "old_record", "recorded_at")
AT = "2026-01-02 03:04:05.678901+00"


def reader(columns: tuple[str, ...] = COLUMNS, **table: Any) -> RowReader:
    """One that knows the journal and is in a transaction."""
    made = RowReader()
    assert made.read(begin(dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)), 0.0) is None
    assert made.read(relation("bridge", "journal", columns, **table), 0.0) is None
    return made


def rows(made: RowReader, *messages: bytes, received_s: float = 0.0) -> list[JournalRow]:
    """What these messages and the end of the transaction tell."""
    read = [made.read(message, received_s) for message in (*messages, commit())]
    return [one[0] for one in read if one is not None]


def test_a_row_has_the_time_of_its_commit_and_of_its_arrival():
    """In milliseconds; a number is a number, all else text."""
    row = insert("7", "750", "public.t", "UPDATE", '{"a": 1.50}', None, AT)
    (read,) = rows(reader(), row, received_s=12.5)

    expected = JournalRow(7, "public.t", "UPDATE", '{"a": 1.50}', None, "2026-01-02T03:04:05.678Z", "750")
    assert read == msgspec.structs.replace(expected, last=True, received_s=12.5)


def test_each_transaction_has_its_own_commit_timestamp():
    """All its rows the same; and the last of them is known."""
    made = reader()
    row = insert("7", "750", "public.t", "INSERT", "{}", None, AT)
    told = rows(made, row)
    made.read(begin(dt.datetime(2026, 1, 2, 4, tzinfo=dt.UTC)), 0.0)
    told += rows(made, row, row)

    stamps = [one.recorded_at for one in told]
    assert [one.last for one in told] == [True, False, True]
    assert stamps == ["2026-01-02T03:04:05.678Z", "2026-01-02T04:00:00.000Z", "2026-01-02T04:00:00.000Z"]


def test_other_tables_are_none_of_ours():
    """Neither another schema's journal nor another table of the schema."""
    made = reader()
    made.read(relation("public", "journal", COLUMNS, oid=2), 0.0)
    made.read(relation("bridge", "journal_pruned", COLUMNS, oid=3), 0.0)

    assert rows(made, insert("x", oid=2), insert("x", oid=3)) == []


def test_columns_may_be_added_and_moved():
    """After ALTER TABLE the journal is described again."""
    made = reader()
    _, row = rows(
        made,
        insert("7", "750", "public.t", "INSERT", "{}", None, AT),
        relation("bridge", "journal", ("extra", "old_record", "record", "action", "relation", "id")),
        insert("e", None, "{}", "INSERT", "public.t", "8"),
    )

    assert (row.id, row.relation, row.action, row.record, row.old_record, row.txid) == (
        8,
        "public.t",
        "INSERT",
        "{}",
        None,
        "",
    )


def test_a_table_that_was_the_journal_is_none_any_more():
    """It was renamed, and is described again under the same oid."""
    made = reader()
    made.read(relation("bridge", "journal_before", COLUMNS), 0.0)

    assert rows(made, insert("x")) == []


def test_a_missing_column_says_what_to_do():
    """An old migration, or a publication with a column list."""
    with pytest.raises(ReplicationError, match=r"without record, old_record: apply sql/migrations"):
        reader(("id", "relation", "action"))


def test_a_row_of_a_table_that_was_not_described_is_no_row():
    """Whose it is cannot be told."""
    with pytest.raises(LookupError, match="not described"):
        reader().read(insert("x", oid=2), 0.0)


@pytest.mark.parametrize(("told", "oid"), [("4294967295", 4294967295), (None, None)])
def test_which_table_a_row_is_of_is_told_where_the_journal_has_it(told: str | None, oid: int | None):
    """Its rows of before have none; without the column as before."""
    cells = ("7", "750", "public.t", "INSERT", "{}", None, AT)
    (read,) = rows(reader((*COLUMNS, "relation_oid")), insert(*cells, told))
    assert (read.oid, read.txid) == (oid, "750")
    (read,) = rows(reader(), insert(*cells))
    assert (read.oid, read.txid) == (None, "750")
