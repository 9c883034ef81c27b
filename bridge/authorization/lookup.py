"""The rows that policies look into, in memory, with the indexes that the plans ask for.

Rows are tuples of the needed columns only.  A table is loaded whole and then kept current from
the change stream by primary key, so a decision uses the rows as of the change it is about.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from bridge.events import Row

LookupRow: TypeAlias = tuple[Any, ...]
Key: TypeAlias = Any
"""One column's value, or a tuple of several, in the order of the index's columns."""

Index: TypeAlias = dict[Key, set[LookupRow]]


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
        return tuple([_held(row[column]) for column in self.columns])

    def index(self, columns: Sequence[str]) -> Index:
        """Return the index by ``columns``, made now if no plan asked for it before.

        Rows in which one of them is NULL are not in it: no equality is true for them.
        """
        wanted = tuple(columns)
        if wanted not in self._indexes:
            positions = tuple(self.position[column] for column in wanted)
            index: Index = {}
            self._indexes[wanted] = (positions, index)
            for row in self.rows.values():
                _add(index, positions, row)
        return self._indexes[wanted][1]

    def put(self, row: LookupRow) -> LookupRow | None:
        """Insert ``row`` or replace the one with its primary key, which is returned."""
        key = row[0] if self._width == 1 else row[: self._width]
        before = self.rows.get(key)
        if before == row:
            return before
        if before is not None:
            self._unindex(before)
        self.rows[key] = row
        for positions, index in self._indexes.values():
            _add(index, positions, row)
        return before

    def remove(self, key: Key) -> LookupRow | None:
        """Remove the row with this primary key and return it; None if there is none."""
        before = self.rows.pop(key, None)
        if before is not None:
            self._unindex(before)
        return before

    def _unindex(self, row: LookupRow) -> None:
        for positions, index in self._indexes.values():
            value = _index_key(positions, row)
            bucket = index.get(value)
            if bucket is not None:
                bucket.discard(row)
                if not bucket:
                    del index[value]


def _held(value: Any) -> Any:
    # json and array values can only be tested for NULL, but a row has to be hashable.
    return str(value) if isinstance(value, dict | list) else value


def _index_key(positions: tuple[int, ...], row: LookupRow) -> Key:
    if len(positions) == 1:
        return row[positions[0]]
    return tuple([row[position] for position in positions])


def _add(index: Index, positions: tuple[int, ...], row: LookupRow) -> None:
    if any(row[position] is None for position in positions):
        return
    key = _index_key(positions, row)
    bucket = index.get(key)
    if bucket is None:
        index[key] = {row}
    else:
        bucket.add(row)
