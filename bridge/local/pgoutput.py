"""Decodes the messages of Postgres's ``pgoutput`` plugin, protocol version 1.

Source: Postgres manual, "Logical Replication Message Formats".
"""

import datetime as dt
import struct
from typing import Final, TypeAlias

import msgspec

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


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


class Decoder:
    """Turns the messages of a slot, in order, into changes; TRUNCATE and others give nothing."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._committed_at = _EPOCH

    def decode(self, message: bytes) -> RowChange | None:
        """Decode one message; None if it is no change of a row."""
        reader = _Reader(message)
        match reader.char():
            case "B":
                reader.int64()
                self._committed_at = _EPOCH + dt.timedelta(microseconds=reader.int64())
            case "R":
                relation = reader.relation()
                self._relations[relation.oid] = relation
            case "I":
                relation = self._relations[reader.int32()]
                reader.char()
                return self._change(relation, "INSERT", reader.row(), None, None)
            case "U":
                relation = self._relations[reader.int32()]
                kind, old = reader.char(), None
                if kind in "KO":
                    old = reader.row()
                    reader.char()
                return self._change(relation, "UPDATE", reader.row(), old, kind if old is not None else None)
            case "D":
                relation = self._relations[reader.int32()]
                kind = reader.char()
                return self._change(relation, "DELETE", None, reader.row(), kind)
            case _:
                pass
        return None

    def _change(
        self,
        relation: Relation,
        action: str,
        new: tuple[Cell, ...] | None,
        old: tuple[Cell, ...] | None,
        old_kind: str | None,
    ) -> RowChange:
        return RowChange(relation, action, new, old, old_kind, self._committed_at)


class _Reader:
    def __init__(self, message: bytes) -> None:
        self._message = message
        self._at = 0

    def char(self) -> str:
        self._at += 1
        return chr(self._message[self._at - 1])

    def int16(self) -> int:
        return self._unpack(">h", 2)

    def int32(self) -> int:
        return self._unpack(">i", 4)

    def int64(self) -> int:
        return self._unpack(">q", 8)

    def _unpack(self, form: str, size: int) -> int:
        (value,) = struct.unpack_from(form, self._message, self._at)
        self._at += size
        return int(value)

    def text(self) -> str:
        end = self._message.index(0, self._at)
        value = self._message[self._at : end].decode()
        self._at = end + 1
        return value

    def relation(self) -> Relation:
        oid, schema, name, identity = self.int32(), self.text(), self.text(), self.char()
        columns = []
        for _ in range(self.int16()):
            in_key = self.char() == "\x01"
            columns.append((self.text(), in_key))
            self.int32()
            self.int32()
        return Relation(oid, schema, name, identity, tuple(columns))

    def row(self) -> tuple[Cell, ...]:
        cells: list[Cell] = []
        for _ in range(self.int16()):
            match self.char():
                case "n":
                    cells.append(None)
                case "u":
                    cells.append(UNCHANGED)
                case _:
                    size = self.int32()
                    cells.append(self._message[self._at : self._at + size].decode())
                    self._at += size
        return tuple(cells)
