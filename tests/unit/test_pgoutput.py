"""The decoder of pgoutput's messages, on messages made by hand."""

import datetime as dt
import struct

import pytest

from bridge.pgoutput import UNCHANGED, Decoder, Relation
from tests.support.pgoutput import begin, relation, row

COMMITTED = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


RELATION = relation("public", "t", ("id", "body"))


def decoder() -> Decoder:
    """One that knows the table and is in a transaction."""
    made = Decoder()
    assert made.decode(begin(COMMITTED)) is None
    assert made.decode(RELATION) is None
    return made


OID = struct.pack(">i", 42)
TABLE = Relation(42, "public", "t", "d", (("id", True), ("body", False)))


def test_an_insert_has_the_new_row_and_the_time_of_its_commit():
    """Values are text, as Postgres prints them."""
    change = decoder().decode(b"I" + OID + b"N" + row("1", "Zoë"))

    assert change is not None
    assert (change.action, change.new, change.old, change.old_kind) == ("INSERT", ("1", "Zoë"), None, None)
    assert (change.relation, change.committed_at) == (TABLE, COMMITTED)


def test_an_update_has_the_key_the_old_row_or_neither():
    """As the replica identity and the changed columns have it."""
    plain = decoder().decode(b"U" + OID + b"N" + row("1", "..."))
    keyed = decoder().decode(b"U" + OID + b"K" + row("1", None) + b"N" + row("2", None))
    whole = decoder().decode(b"U" + OID + b"O" + row("1", "a") + b"N" + row("1", "b"))

    assert plain is not None
    assert keyed is not None
    assert whole is not None
    assert (plain.new, plain.old, plain.old_kind) == (("1", UNCHANGED), None, None)
    assert (keyed.new, keyed.old, keyed.old_kind) == (("2", None), ("1", None), "K")
    assert (whole.new, whole.old, whole.old_kind) == (("1", "b"), ("1", "a"), "O")


def test_a_delete_has_only_an_old_row():
    """The key, or everything with replica identity full."""
    change = decoder().decode(b"D" + OID + b"K" + row("1", None))

    assert change is not None
    assert (change.action, change.new, change.old, change.old_kind) == ("DELETE", None, ("1", None), "K")


def test_other_messages_are_no_changes():
    """COMMIT, TRUNCATE, ORIGIN, TYPE and messages give nothing."""
    for message in (b"C" + bytes(25), b"T" + bytes(9), b"O" + bytes(9), b"Y" + bytes(9), b"M" + bytes(9)):
        assert decoder().decode(message) is None


def test_a_table_is_as_its_latest_description_says():
    """After ALTER TABLE it is described again, and changes follow that."""
    made = decoder()
    made.decode(relation("public", "t", ("id", "body"), identity="f"))

    change = made.decode(b"I" + OID + b"N" + row("1", None))

    assert change is not None
    assert change.relation.replica_identity == "f"


@pytest.mark.parametrize(
    "message",
    [b"", b"I", b"I" + OID + b"N", b"I" + OID + b"N" + row("1", "x")[:-3] + b"?", b"I" + bytes(4)],
    ids=["empty", "no table", "no row", "an unknown cell", "an unknown table"],
)
def test_what_is_no_message_is_an_error_of_few_kinds(message: bytes):
    """Whoever reads a slot can tell that it goes wrong."""
    with pytest.raises((ValueError, LookupError, struct.error)):
        decoder().decode(message)
