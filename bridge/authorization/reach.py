"""What a condition reads, and which rows and users a change of a look-up row can concern."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import ColumnRef, Compare, Exists, Expr, InRows, Rows, Source, Uid
from bridge.authorization.expressions import conjuncts, own_sources, walk


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of one look-up table can change who sees which rows of a plan's table.

    Attributes:
        lookup: The look-up table.
        link: Pairs (column of the plan's table, column of the look-up table) that must be equal, so
            that a look-up row concerns only those rows; empty if it may concern every row.
        user_column: Column of the look-up table that must equal the user's id, so that a look-up
            row concerns only that user; None if it may concern every user.
        joined: Other look-up tables without a row of which it concerns nobody, each with the pairs (its
            column, column of the look-up table) that must be equal.
    """

    lookup: str
    link: tuple[tuple[str, str], ...]
    user_column: str | None
    joined: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()


def row_columns(condition: Expr) -> frozenset[str]:
    """Return the columns of the asked row that the condition reads."""
    return frozenset(n.name for n in walk(condition) if isinstance(n, ColumnRef) and n.scope == 0)


def lookup_columns(condition: Expr) -> dict[str, set[str]]:
    """Return the columns that the condition reads of each look-up table."""
    tables = _tables(condition)
    needed: dict[str, set[str]] = {table: set() for table in tables.values()}
    for node in walk(condition):
        if isinstance(node, ColumnRef) and node.scope in tables:
            needed[tables[node.scope]].add(node.name)
    return needed


def _tables(condition: Expr) -> dict[int, str]:
    """Return the look-up tables by the scope of their row."""
    return {
        source.scope: source.table
        for node in walk(condition)
        for source in own_sources(node)
        if source.elements is None
    }


def reaches(condition: Expr) -> tuple[Reach, ...]:
    """Return how each look-up row can change the answer of the condition."""
    found: dict[Reach, None] = {}
    tables = _tables(condition)
    for node in walk(condition):
        for sources, where in selections(node):
            # Not the values that InRows compares: one NULL, or the first row, turns NOT IN for all others.
            conditions = conjuncts(where)
            users = {column.scope: column.name for column in user_columns(sources, where)}
            for source in sources:
                if source.elements is not None:
                    continue
                link = {pair for c in conditions if (pair := _link(c, source.scope)) is not None}
                reach = Reach(
                    lookup=source.table,
                    link=tuple(sorted(link)),
                    user_column=users.get(source.scope),
                    joined=_joined(conditions, source.scope, tables),
                )
                found[reach] = None
    return tuple(found)


def _joined(
    conditions: Sequence[Expr], scope: int, tables: Mapping[int, str]
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Return what must be equal to the columns of other rows, of the subquery or of one around it."""
    found: dict[int, set[tuple[str, str]]] = {}
    for condition in conditions:
        match condition:
            case Compare(op="=", left=ColumnRef() as left, right=ColumnRef() as right):
                own, other = (left, right) if left.scope == scope else (right, left)
                if own.scope == scope != other.scope and other.scope in tables:
                    found.setdefault(other.scope, set()).add((other.name, own.name))
            case _:
                pass
    return tuple(sorted((tables[other], tuple(sorted(pairs))) for other, pairs in found.items()))


def user_columns(sources: tuple[Source, ...], where: Expr) -> list[ColumnRef]:
    """Return the columns of the subquery's own tables that must equal the user's id."""
    own = {source.scope for source in sources}
    found = []
    for condition in conjuncts(where):
        match condition:
            case (
                Compare(op="=", left=Uid(), right=ColumnRef() as column)
                | Compare(op="=", left=ColumnRef() as column, right=Uid())
            ) if column.scope in own:
                found.append(column)
            case _:
                pass
    return found


def selections(node: Expr) -> list[tuple[tuple[Source, ...], Expr]]:
    """Return what the subqueries that ``node`` is select from, and where."""
    match node:
        case Exists(sources=sources, where=where) | InRows(sources=sources, where=where):
            return [(sources, where)]
        case Rows(arms=arms):
            return [(arm.sources, arm.where) for arm in arms]
        case _:
            return []


def _link(condition: Expr, scope: int) -> tuple[str, str] | None:
    match condition:
        case (
            Compare(op="=", left=ColumnRef(scope=0) as asked, right=ColumnRef() as own)
            | Compare(op="=", left=ColumnRef() as own, right=ColumnRef(scope=0) as asked)
        ) if own.scope == scope and types.is_hashable(asked.type):
            return asked.name, own.name
        case _:
            return None
