"""How a subquery walks its tables: each by an index on the columns that are determined already."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import ColumnRef, Compare, Expr, Source
from bridge.authorization.expressions import never_fails, own_sources, scopes, walk
from bridge.authorization.lookup import Index, Key, LookupRow, LookupTable, rows_in
from bridge.authorization.undecided import UndecidedError

Test: TypeAlias = Callable[[Any], bool | None]
Compile: TypeAlias = Callable[[Expr], Test]


class Step(msgspec.Struct, frozen=True):
    """One source of a subquery: how to find its rows and what they have to fulfil.

    Attributes:
        scope: Where the current row goes.
        table: The look-up table; None for an array's elements.
        index: Index to ask; None means every row of the table, or the one with the primary key.
        by_key: True if ``key`` is the primary key.
        key: The key to ask with; None where a part of it is NULL.
        tests: What else has to be true once this source's row is there.
        elements: Computes the array whose elements are the rows.
        fails: True if Postgres may fail in one of them.
    """

    scope: int
    table: LookupTable | None
    index: Index | None
    by_key: bool
    key: Callable[[Any], Key]
    tests: tuple[Test, ...]
    elements: Callable[[Any], Any] | None = None
    fails: bool = False


def plan_steps(
    sources: Sequence[Source],
    conditions: Sequence[Expr],
    tables: Mapping[str, LookupTable],
    *,
    value: Callable[[Expr], Callable[[Any], Any]],
    test: Compile,
) -> list[Step]:
    """Order the sources so that each can be asked by an index, and place each condition as early as possible.

    Args:
        sources: The subquery's tables.
        conditions: What has to be true, without what the caller deals with itself.
        tables: Look-up tables by name.
        value: Compiles an expression to what computes it.
        test: Compiles a condition to what answers it.
    """
    waiting = list(conditions)
    pending = list(sources)
    unbound = {source.scope for source in sources}
    steps = []
    while pending:
        # Where no index helps, the elements of an array are fewer than the rows of a table.
        chosen = max(
            (
                source
                for source in pending
                if source.elements is None or not scopes(source.elements) & unbound
            ),
            key=lambda source: (len(_keys(source, waiting, unbound)), source.elements is not None),
        )
        table = tables[chosen.table] if chosen.elements is None else None
        keys = {} if table is None else _least(_keys(chosen, waiting, unbound), table)
        pending.remove(chosen)
        unbound.discard(chosen.scope)
        rest = [c for c in waiting if c not in keys]
        ready = [c for c in rest if not scopes(c) & unbound]
        waiting = [c for c in rest if c not in ready]
        by_column = dict(sorted(keys.values(), key=lambda pair: pair[0]))
        by_key = table is not None and set(by_column) == set(table.primary_key)
        columns = table.primary_key if table is not None and by_key else tuple(by_column)
        steps.append(
            Step(
                scope=chosen.scope,
                table=table,
                index=None if table is None or by_key or not columns else table.index(columns),
                by_key=by_key,
                key=_key(tuple(value(by_column[column]) for column in columns)),
                tests=tests_of(ready, test),
                elements=None if chosen.elements is None else value(chosen.elements),
                fails=not all(map(never_fails, ready)),
            )
        )
    return steps


def tests_of(conditions: Sequence[Expr], test: Compile) -> tuple[Test, ...]:
    """Return tests that all have to be true of a row.

    Postgres orders them by cost: plain comparisons first, and which of the others comes first is not known.
    """
    plain = [c for c in conditions if never_fails(c) and not any(own_sources(node) for node in walk(c))]
    others = [c for c in conditions if c not in plain]
    return (*(test(c) for c in plain), *in_any_order(others, test))


def in_any_order(conditions: Sequence[Expr], test: Compile) -> tuple[Test, ...]:
    """Return tests that all have to be true, of which Postgres may ask any first."""
    tests = tuple(map(test, conditions))
    return tests if len(tests) < 2 or all(map(never_fails, conditions)) else (_every(tests),)  # noqa: PLR2004 - there is no order of one


def _every(tests: Sequence[Test]) -> Test:
    def every(env: Any) -> bool | None:
        answer = True
        open_: list[UndecidedError] = []
        for test in tests:
            try:
                answer = test(env) is True and answer
            except UndecidedError as error:
                open_.append(error)
        if open_:
            raise UndecidedError.of_all(open_, untrue=not answer)
        return answer

    return every


def rows_of(step: Step, env: Any) -> Collection[LookupRow]:
    """Return the rows of this step's table that its key allows, in no order, or an array's elements."""
    if step.table is None:
        array = step.elements(env) if step.elements is not None else None
        return [(element,) for element in array or ()]
    if step.by_key:
        row = step.table.rows.get(step.key(env))
        return () if row is None else (row,)
    if step.index is None:
        return list(step.table.rows.values())
    key = step.key(env)
    return rows_in(step.index.get(key, ())) if key is not None else ()


def _keys(source: Source, conditions: Sequence[Expr], unbound: set[int]) -> dict[Expr, tuple[str, Expr]]:
    """Return the equalities that give this source's columns a value known before its row is."""
    found: dict[Expr, tuple[str, Expr]] = {}
    if source.elements is not None:
        return found
    for condition in conditions:
        if not isinstance(condition, Compare) or condition.op != "=":
            continue
        for column, other in ((condition.left, condition.right), (condition.right, condition.left)):
            if (
                isinstance(column, ColumnRef)
                and column.scope == source.scope
                and types.is_indexed(column.type)
                and types.is_indexed(other.type)
                and not scopes(other) & unbound
                and column.name not in {name for name, _ in found.values()}
            ):
                found[condition] = (column.name, other)
                break
    return found


def _least(keys: dict[Expr, tuple[str, Expr]], table: LookupTable) -> dict[Expr, tuple[str, Expr]]:
    """Return those of the primary key, where all of it is known: rows are found by it without an index."""
    own = {condition: found for condition, found in keys.items() if found[0] in table.primary_key}
    return own if len(own) == len(table.primary_key) else keys


def _key(values: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Key]:
    if len(values) == 1:
        return values[0]

    def key(env: Any) -> Key:
        parts = tuple([value(env) for value in values])
        return None if None in parts else parts

    return key
