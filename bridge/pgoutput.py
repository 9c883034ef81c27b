"""Decodes the messages of Postgres's ``pgoutput`` plugin, protocol version 1.

Source: Postgres manual, "Logical Replication Message Formats".
"""

import datetime as dt
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""What Postgres counts time from."""


class Unchanged:
    """A TOASTed value that the UPDATE did not touch, and that is therefore not sent."""


UNCHANGED: Final = Unchanged()

Cell: TypeAlias = str | Unchanged | None
"""A column's value as text, NULL, or not sent."""


class Relation(msgspec.Struct, frozen=True):
    """A table as of the changes that follow; ``columns`` are pairs of name and whether it is in the key."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[tuple[str, bool], ...]


class RowChange(msgspec.Struct, frozen=True):
    """A change of one row; ``old`` is the key (``K``) or the whole old row (``O``), as ``old_kind`` says."""

    relation: Relation
    action: str
    new: tuple[Cell, ...] | None
    old: tuple[Cell, ...] | None
    old_kind: str | None
    committed_at: dt.datetime


_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_ABSENT = {ord("n"): None, ord("u"): UNCHANGED}
_TEXT, _INSERT, _BEGIN, _RELATION = map(ord, "tIBR")
_CHANGES = frozenset(map(ord, "IUD"))


class Decoder:
    """Turns the messages of a slot, in order, into changes; TRUNCATE and others give nothing."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._committed_at = EPOCH

    def decode(self, message: bytes) -> RowChange | None:
        """Decode one message; None if it is no change of a row.

        Raises:
            ValueError, IndexError, LookupError, struct.error: it is none of pgoutput's, version 1.
        """
        kind = message[0]
        if kind in _CHANGES:
            return self._change(self._relations[_INT32.unpack_from(message, 1)[0]], message)
        if kind == _BEGIN:
            self._committed_at = EPOCH + dt.timedelta(microseconds=read_commit_us(message))
        elif kind == _RELATION:
            relation = read_relation(message)
            self._relations[relation.oid] = relation
        return None

    def _change(self, relation: Relation, message: bytes) -> RowChange:
        row, at = read_row(message, 6)
        if message[0] == _INSERT:
            return RowChange(relation, "INSERT", row, None, None, self._committed_at)
        part = chr(message[5])
        match chr(message[0]):
            case "D":
                return RowChange(relation, "DELETE", None, row, part, self._committed_at)
            case _ if part == "N":
                return RowChange(relation, "UPDATE", row, None, None, self._committed_at)
            case _:
                new, _ = read_row(message, at + 1)
                return RowChange(relation, "UPDATE", new, row, part, self._committed_at)


def read_commit_us(message: bytes) -> int:
    """Return when the transaction of a BEGIN was committed, in microseconds since :data:`EPOCH`."""
    return int(_INT64.unpack_from(message, 9)[0])


def read_row(message: bytes, at: int) -> tuple[tuple[Cell, ...], int]:
    """Return the row that starts at ``at``, and where it ends."""
    cells: list[Cell] = []
    count, add, unpack = _INT16.unpack_from(message, at)[0], cells.append, _INT32.unpack_from
    at += 2
    for _ in range(count):
        if message[at] == _TEXT:
            start = at + 5
            at = start + unpack(message, at + 1)[0]
            add(message[start:at].decode())
        else:
            add(_ABSENT[message[at]])
            at += 1
    return tuple(cells), at


def read_some(message: bytes, at: int, wanted: Sequence[bool]) -> list[str | None]:
    """Return some cells of the row that starts at ``at``, in order: text, or None for NULL.

    Args:
        message: The message.
        at: Where the row starts.
        wanted: For each column whether its cell is.
    """
    cells: list[str | None] = []
    add, unpack = cells.append, _INT32.unpack_from
    at += 2
    for is_wanted in wanted:
        if message[at] == _TEXT:
            start = at + 5
            at = start + unpack(message, at + 1)[0]
            if is_wanted:
                add(message[start:at].decode())
        else:
            at += 1
            if is_wanted:
                add(None)
    return cells


def read_relation(message: bytes) -> Relation:
    """Return the table that a message describes."""
    oid = _INT32.unpack_from(message, 1)[0]
    schema, at = _text(message, 5)
    name, at = _text(message, at)
    identity = chr(message[at])
    count = _INT16.unpack_from(message, at + 1)[0]
    at += 3
    columns = []
    for _ in range(count):
        in_key = message[at] == 1
        column, at = _text(message, at + 1)
        at += 8  # the type and its modifier
        columns.append((column, in_key))
    return Relation(oid, schema, name, identity, tuple(columns))


def _text(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1
