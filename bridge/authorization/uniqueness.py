"""Whether a scalar subquery can find two rows, which Postgres answers with an error."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from bridge.authorization.algebra import ColumnRef, Compare, Rows
from bridge.authorization.expressions import conjuncts, scopes

UniqueKeys: TypeAlias = Callable[[str], Sequence[Sequence[str]]]
"""The columns of each unique key of a table, by qualified name."""


def at_most_one(rows: Rows, *, unique_keys: UniqueKeys) -> bool:
    """True if no two combinations of the sources' rows can be selected.

    Each source needs a unique key all of whose columns equal something that is settled: a value from
    outside of the subquery, or a column of a source that is settled already.
    """
    if len(rows.arms) != 1 or any(source.elements is not None for source in rows.arms[0].sources):
        return False
    (arm,) = rows.arms
    open_ = {source.scope: source.table for source in arm.sources}
    equalities = [c for c in conjuncts(arm.where) if isinstance(c, Compare) and c.op == "="]
    while open_:
        settled = [
            scope
            for scope, table in open_.items()
            if any(_fixed(scope, equalities, set(open_)).issuperset(key) for key in unique_keys(table))
        ]
        if not settled:
            return False
        for scope in settled:
            del open_[scope]
    return True


def _fixed(scope: int, equalities: Sequence[Compare], open_: set[int]) -> set[str]:
    """Return the columns of ``scope`` that equal something which no row of ``open_`` decides."""
    return {
        column.name
        for equality in equalities
        for column, other in ((equality.left, equality.right), (equality.right, equality.left))
        if isinstance(column, ColumnRef) and column.scope == scope and not scopes(other) & open_
    }
