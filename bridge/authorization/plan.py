"""One compiled plan: what one role sees of one table, in both directions."""

import msgspec

from bridge.authorization.algebra import (
    ColumnRef,
    Compare,
    Exists,
    Expr,
    InRows,
    conjuncts,
    walk,
)
from bridge.authorization.audience import Users, compile_finder, user_columns
from bridge.authorization.composition import Sight
from bridge.authorization.evaluation import Env, Tables, compile_test
from bridge.events import Row


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of one look-up table can change who sees which rows of a plan's table.

    Attributes:
        lookup: The look-up table.
        link: Pairs (column of the plan's table, column of the look-up table) that must be equal, so
            that a look-up row concerns only those rows; empty if it may concern every row.
        user_column: Column of the look-up table that must equal the user's id, so that a look-up
            row concerns only that user; None if it may concern every user.
    """

    lookup: str
    link: tuple[tuple[str, str], ...]
    user_column: str | None


class Plan:
    """Answers who sees a row, for one table and one role.

    A row has to hold at least :attr:`row_columns`; a plan keeps no state between calls.
    """

    def __init__(self, sight: Sight, tables: Tables) -> None:
        self.table = sight.table
        self.role = sight.role
        self.columns = sight.columns
        self.condition = sight.condition
        self.row_columns = row_columns(sight.condition)
        self.reaches = reaches(sight.condition)
        self._test = compile_test(sight.condition, tables, {})
        self._finder = compile_finder(sight.condition, tables, {})
        self._env = Env(sight.scopes)

    @property
    def exact(self) -> bool:
        """True if :meth:`users` needs no check with :meth:`visible`."""
        return self._finder.exact

    def visible(self, row: Row, user_id: str | None) -> bool:
        """True if this user (None: anon) sees ``row`` now."""
        env = self._env
        env.row, env.uid = row, user_id
        return self._test(env) is True

    def users(self, row: Row) -> Users:
        """Return the ids of all users who may see ``row`` now; others too unless :attr:`exact`."""
        env = self._env
        env.row, env.uid = row, None
        return self._finder.find(env)


def row_columns(condition: Expr) -> frozenset[str]:
    """Return the columns of the asked row that the condition reads."""
    return frozenset(n.name for n in walk(condition) if isinstance(n, ColumnRef) and n.scope == 0)


def lookup_columns(condition: Expr) -> dict[str, set[str]]:
    """Return the columns that the condition reads of each look-up table."""
    tables = {s.scope: s.table for n in walk(condition) if isinstance(n, Exists | InRows) for s in n.sources}
    needed: dict[str, set[str]] = {table: set() for table in tables.values()}
    for node in walk(condition):
        if isinstance(node, ColumnRef) and node.scope != 0:
            needed[tables[node.scope]].add(node.name)
    return needed


def reaches(condition: Expr) -> tuple[Reach, ...]:
    """Return how each look-up row can change the answer of the condition."""
    found = []
    for node in walk(condition):
        if not isinstance(node, Exists | InRows):
            continue
        # Not the values that InRows compares: one NULL, or the first row, turns NOT IN for all others.
        conditions = conjuncts(node.where)
        users = {c.scope: c.name for c in user_columns(Exists(node.sources, node.where))}
        for source in node.sources:
            link = {pair for c in conditions if (pair := _link(c, source.scope)) is not None}
            found.append(
                Reach(lookup=source.table, link=tuple(sorted(link)), user_column=users.get(source.scope))
            )
    return tuple(found)


def _link(condition: Expr, scope: int) -> tuple[str, str] | None:
    match condition:
        case (
            Compare(op="=", left=ColumnRef(scope=0) as asked, right=ColumnRef() as own)
            | Compare(op="=", left=ColumnRef() as own, right=ColumnRef(scope=0) as asked)
        ) if own.scope == scope:
            return asked.name, own.name
        case _:
            return None
