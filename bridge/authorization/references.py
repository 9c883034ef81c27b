"""What foreign keys tell: rows that cannot be there before another one is."""

from bridge.authorization.catalog import Catalog
from bridge.authorization.reach import Reach
from bridge.events import Change

KEPT = 10_000
"""Pairs of table and transaction that are told apart."""


def comes_first(catalog: Catalog, table: str, reach: Reach) -> frozenset[str]:
    """Return the tables without whose rows no new look-up row counts, and whose rows are written after it.

    So nobody's sight of a row changes when it is inserted: a message brings no reaction into sight, and a
    dialog none, as no message links them yet.  Only within a transaction may it be otherwise, see
    :class:`Writers`.  Rows that were written past the foreign key (``session_replication_role``) are not
    thought of.

    Args:
        catalog: Knows the foreign keys.
        table: Qualified name of the plan's table.
        reach: How look-up rows count for its rows.
    """
    linked = ((table, reach.link), *reach.joined)
    return frozenset(name for name, equal in linked if _names(catalog, name, reach.lookup, set(equal)))


def _names(catalog: Catalog, table: str, lookup: str, equal: set[tuple[str, str]]) -> bool:
    """True if by what is equal each row of ``table`` names a row of ``lookup`` that has to be there."""
    referencing = catalog.by_name[table]
    return not referencing.inherits and any(
        key.checked
        and f"{key.references.schema}.{key.references.name}" == lookup
        and equal.issuperset(zip(key.columns, key.references.columns, strict=True))
        for key in referencing.foreign_keys
    )


class Writers:
    """Tells which tables a transaction has written, lately.

    A foreign key is looked at when a statement ends.  So one statement may write both rows in any order, and
    of what several have done to a row only the end is told, in the place of the first.
    """

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._forgotten = 0

    def note(self, change: Change) -> None:
        """Take note of a change."""
        if len(self._known) >= KEPT:
            ids = (int(of) for _, of in self._known if of.isdecimal())
            self._forgotten = max(ids, default=0)
            # Where upstream does not say which transaction it is, one follows the other.
            self._known = {pair for pair in self._known if pair[1] == _transaction(change)}
        self._known.add((change.table, _transaction(change)))

    def may_have_written(self, tables: frozenset[str], change: Change) -> bool:
        """True if the transaction of ``change`` may have written all these tables before."""
        transaction = _transaction(change)
        if transaction.isdecimal() and int(transaction) <= self._forgotten:
            return True
        return all((table, transaction) in self._known for table in tables)


def _transaction(change: Change) -> str:
    return change.txid or change.commit_timestamp
