"""The rows that policies look into, in memory, with the indexes that the plans ask for.

Rows are tuples of the needed columns only.  A table is loaded whole and then kept current from
the change stream by primary key, so a decision uses the rows as of the change it is about.
A million memberships have to fit: texts that repeat are kept once, a row that is nothing but its
primary key is its own key, and the rows of one index entry are a tuple while they are few.
"""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from bridge.events import Row

LookupRow: TypeAlias = tuple[Any, ...]
Key: TypeAlias = Any
"""One column's value, or a tuple of several, in the order of the index's columns."""

Bucket: TypeAlias = tuple[LookupRow, ...] | dict[Key, LookupRow]
"""The rows of one index entry: by primary key where they are many."""

Index: TypeAlias = dict[Key, Bucket]

FEW = 32
"""Rows of an index entry that are kept as a tuple, which is copied when one of them changes."""


class LookupTable:
    """One look-up table.

    Args:
        name: Qualified name.
        primary_key: Columns of the primary key.
        columns: Columns that plans read; the primary key is kept as well.
    """

    def __init__(self, name: str, *, primary_key: Sequence[str], columns: Iterable[str]) -> None:
        self.name = name
        self.primary_key = tuple(primary_key)
        self.columns = (*self.primary_key, *sorted(set(columns) - set(self.primary_key)))
        self.position = {column: i for i, column in enumerate(self.columns)}
        self._width = len(self.primary_key)
        self.rows: dict[Key, LookupRow] = {}
        self.version = 0
        """Rises with every change of a row."""
        self._indexes: dict[tuple[str, ...], tuple[tuple[int, ...], Index]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def key_of(self, row: Mapping[str, Any]) -> Key:
        """Return the primary key of ``row``, in the form in which :attr:`rows` has it."""
        if self._width == 1:
            return row[self.primary_key[0]]
        return tuple([row[column] for column in self.primary_key])

    def pack(self, row: Row) -> LookupRow:
        """Return the needed columns of ``row`` as this table keeps them."""
        return tuple(
            [
                # The values of a key of one column are all different: to intern them would cost memory.
                sys.intern(value) if type(value := row[column]) is str and (i or self._width > 1) else value
                for i, column in enumerate(self.columns)
            ]
        )

    def index(self, columns: Sequence[str]) -> Index:
        """Return the index by ``columns``, made now if no plan asked for it before.

        Rows in which one of them is NULL are not in it: no equality is true for them.
        """
        wanted = tuple(columns)
        if wanted not in self._indexes:
            positions = tuple(self.position[column] for column in wanted)
            index: Index = {}
            self._indexes[wanted] = (positions, index)
            for key, row in self.rows.items():
                self._add(index, positions, key, row)
        return self._indexes[wanted][1]

    def put(self, row: LookupRow) -> LookupRow | None:
        """Insert ``row`` or replace the one with its primary key, which is returned."""
        key = self._key(row)
        before = self.rows.get(key)
        if same(before, row):
            return before
        self.version += 1
        if before is not None:
            self._unindex(key, before)
        self.rows[key] = row
        for positions, index in self._indexes.values():
            self._add(index, positions, key, row)
        return before

    def remove(self, key: Key) -> LookupRow | None:
        """Remove the row with this primary key and return it; None if there is none."""
        before = self.rows.pop(key, None)
        if before is not None:
            self.version += 1
            self._unindex(key, before)
        return before

    def _key(self, row: LookupRow) -> Key:
        if self._width == 1:
            return row[0]
        return row if self._width == len(row) else row[: self._width]

    def _add(self, index: Index, positions: tuple[int, ...], key: Key, row: LookupRow) -> None:
        if any(row[position] is None for position in positions):
            return
        value = _index_key(positions, row)
        bucket = index.get(value)
        if bucket is None:
            index[value] = (row,)
        elif isinstance(bucket, dict):
            bucket[key] = row
        elif len(bucket) < FEW:
            index[value] = (*bucket, row)
        else:
            index[value] = {**{self._key(other): other for other in bucket}, key: row}

    def _unindex(self, key: Key, row: LookupRow) -> None:
        for positions, index in self._indexes.values():
            value = _index_key(positions, row)
            bucket = index.get(value)
            if bucket is None:
                continue
            if isinstance(bucket, dict):
                bucket.pop(key, None)
            else:
                bucket = tuple([other for other in bucket if self._key(other) != key])
                index[value] = bucket
            if not bucket:
                del index[value]


def same(row: LookupRow | None, other: LookupRow | None) -> bool:
    """True if two rows are the same, also in jsonb, where 1 is not true, nor printed as 1.0 is."""
    return row == other and repr(row) == repr(other)


def rows_in(bucket: Bucket) -> Collection[LookupRow]:
    """Return the rows of an index entry."""
    return bucket.values() if isinstance(bucket, dict) else bucket


def _index_key(positions: tuple[int, ...], row: LookupRow) -> Key:
    if len(positions) == 1:
        return row[positions[0]]
    return tuple([row[position] for position in positions])
