"""Who sees rows, found once for all rows that are the same to a plan.

Most changes are messages of dialogs in which somebody has just written: as long as nobody comes or goes and
no row changes that the plan looks into, who sees the next one is who saw the last.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from bridge.authorization.lookup import LookupTable
from bridge.authorization.roster import Roster
from bridge.events import Principal, Row

Key: TypeAlias = tuple[Any, ...]

MOST: Final = 1_000_000
"""What is kept of a plan, in the size of a principal; beyond, all is forgotten and found again."""

_ENTRY: Final = 32
"""What an answer takes by itself: a policy may read the primary key, so that no two rows share one."""

_PLAIN: Final = frozenset((str, int, type(None)))
"""Values that mean the same wherever they are equal: 1.0 is not printed as 1 is."""


class Sighting(msgspec.Struct, frozen=True):
    """Who sees a row.

    Attributes:
        sees: Those of whom it is known.
        open: Those of whom only Postgres knows.
    """

    sees: Sequence[Principal]
    open: Sequence[Principal] = ()


class Sightings:
    """What was found of one plan.

    Args:
        columns: The columns of the row that the plan reads.
        tables: The look-up tables that it reads.
    """

    def __init__(self, columns: Iterable[str], tables: Sequence[LookupTable]) -> None:
        self._columns = tuple(columns)
        self._tables = tuple(tables)
        self._roster: Roster | None = None
        self._version = -1
        self._found: dict[Key, Sighting] = {}
        self._kept = 0

    def __len__(self) -> int:
        return len(self._found)

    def refresh(self, roster: Roster) -> None:
        """Forget all that was found if anything has changed since the last call that it follows from."""
        version = roster.version
        for table in self._tables:
            version += table.version  # they only rise
        if version != self._version or roster is not self._roster:
            self._version, self._roster = version, roster
            self._found.clear()
            self._kept = 0

    def key(self, row: Row) -> Key | None:
        """Return the values that the answer for ``row`` follows from; None if equal ones may mean others."""
        key = tuple(map(row.__getitem__, self._columns))
        for value in key:
            if value.__class__ not in _PLAIN:
                return _told_apart(key)
        return key

    def find(self, key: Key) -> Sighting | None:
        """Return who sees the rows of this key, if that was found since the last change of anything."""
        return self._found.get(key)

    def keep(self, key: Key, sighting: Sighting) -> None:
        """Keep who sees the rows of this key."""
        size = _ENTRY + len(sighting.sees) + sum(len(value) for value in key if value.__class__ is str) // 8
        self._kept += size
        if self._kept > MOST:
            self._found.clear()
            self._kept = size
        self._found[key] = sighting


def _told_apart(key: Key) -> Key | None:
    """Return ``key`` so that true is not 1, as jsonb may be both; None if equal values may mean others."""
    if any(value.__class__ not in _PLAIN and value.__class__ is not bool for value in key):
        return None
    return tuple([(value,) if value.__class__ is bool else value for value in key])
