"""Rows of watched tables that have been seen, because upstream does not send them whole again.

A DELETE names the primary key only, an UPDATE does so too unless the table has replica identity
full.  What is kept is what authorization needs of a row; the least recently seen rows go first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from bridge.events import Row

Key: TypeAlias = tuple[Any, ...]


class Gone:
    """The row is known to have been deleted."""


GONE: Final = Gone()


class RememberedRows:
    """The least-recently-used memory of one watched table.

    Args:
        primary_key: Columns of the primary key.
        columns: Columns to keep; the primary key is kept as well.
        limit: Number of rows, 0 for none; deleted ones count, they are remembered as deleted.
    """

    def __init__(self, *, primary_key: Sequence[str], columns: Iterable[str], limit: int) -> None:
        self.primary_key = tuple(primary_key)
        self.columns = (*self.primary_key, *sorted(set(columns) - set(self.primary_key)))
        self.limit = limit
        self._kept_of = itemgetter(*self.columns) if len(self.columns) > 1 else self.key_of
        self._rows: OrderedDict[Key, tuple[Any, ...] | Gone] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def key_of(self, row: Mapping[str, Any]) -> Key:
        """Return the primary key of ``row``."""
        return tuple([row[column] for column in self.primary_key])

    def get(self, key: Key) -> Row | Gone | None:
        """Return the kept columns of the row, :data:`GONE`, or None if it is not remembered."""
        found = self._rows.get(key)
        if found is None or isinstance(found, Gone):
            return found
        self._rows.move_to_end(key)
        return dict(zip(self.columns, found, strict=True))

    def put(self, row: Row) -> None:
        """Remember ``row``, which has at least the kept columns."""
        if self.limit:
            self._put(self.key_of(row), self._kept_of(row))

    def mark_gone(self, key: Key) -> None:
        """Remember that the row has been deleted."""
        if self.limit:
            self._put(key, GONE)

    def _put(self, key: Key, value: tuple[Any, ...] | Gone) -> None:
        if key in self._rows:
            self._rows.move_to_end(key)
        self._rows[key] = value
        if len(self._rows) > self.limit:
            self._rows.popitem(last=False)
