"""Compiles expressions to closures that answer them for one user and one row.

Three-valued logic: a condition's closure returns True, False or None (NULL).  A subquery becomes a
walk over its sources, each reached through an index on the columns that are already determined.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from bridge.authorization.algebra import (
    And,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Or,
    Source,
    Uid,
    conjuncts,
    scopes,
)
from bridge.authorization.lookup import Index, Key, LookupRow, LookupTable
from bridge.events import Row

Tables: TypeAlias = Mapping[str, LookupTable]


class Env:
    """What an expression is evaluated over: the asked row, the subqueries' rows, the user.

    Attributes:
        row: The row whose visibility is asked (scope 0).
        rows: The subqueries' current rows, by scope; scope 0 is unused.
        uid: The user's id; None for anon.
    """

    __slots__ = ("row", "rows", "uid")

    def __init__(self, scope_count: int) -> None:
        self.row: Row = {}
        self.rows: list[LookupRow] = [()] * scope_count
        self.uid: str | None = None


Value: TypeAlias = Callable[[Env], Any]
Test: TypeAlias = Callable[[Env], bool | None]


class Step(msgspec.Struct, frozen=True):
    """One source of a subquery: how to find its rows and what they have to fulfil.

    Attributes:
        scope: Where the current row goes.
        table: The look-up table.
        index: Index to ask; None means every row of the table.
        key: The key to ask it with; None where a part of it is NULL.
        tests: What else has to be true once this source's row is there.
    """

    scope: int
    table: LookupTable
    index: Index | None
    key: Callable[[Env], Key]
    tests: tuple[Test, ...]


def compile_value(expr: Expr, tables: Tables, layout: Mapping[int, str]) -> Value:
    """Return a closure that computes ``expr``.

    Args:
        expr: What to compute.
        tables: Look-up tables by name.
        layout: The table of each scope but 0.
    """
    match expr:
        case Const(value=value):
            return lambda _env: value
        case Uid():
            return lambda env: env.uid
        case ColumnRef(scope=0, name=name):
            return lambda env: env.row[name]
        case ColumnRef(scope=scope, name=name):
            position = tables[layout[scope]].position[name]
            return lambda env: env.rows[scope][position]
        case _:
            return compile_test(expr, tables, layout)


def compile_test(expr: Expr, tables: Tables, layout: Mapping[int, str]) -> Test:
    """Return a closure that answers the condition ``expr`` with True, False or None."""
    match expr:
        case And(items=items):
            return _all([compile_test(item, tables, layout) for item in items])
        case Or(items=items):
            return _any([compile_test(item, tables, layout) for item in items])
        case Not(operand=operand):
            test = compile_test(operand, tables, layout)
            return lambda env: None if (answer := test(env)) is None else not answer
        case IsNull(operand=operand):
            value = compile_value(operand, tables, layout)
            return lambda env: value(env) is None
        case IsTrue(operand=operand):
            test = compile_test(operand, tables, layout)
            return lambda env: test(env) is True
        case Compare():
            return _comparison(expr, tables, layout)
        case Exists(sources=sources, where=where):
            return _exists(sources, where, tables, layout)
        case InRows():
            return _in_rows(expr, tables, layout)
        case _:
            return compile_value(expr, tables, layout)


def layout_of(sources: Sequence[Source], outer: Mapping[int, str]) -> dict[int, str]:
    """Return ``outer`` with the scopes that ``sources`` bring."""
    return {**outer, **{source.scope: source.table for source in sources}}


def plan_steps(
    sources: Sequence[Source], conditions: Sequence[Expr], tables: Tables, layout: Mapping[int, str]
) -> list[Step]:
    """Order the sources so that each can be asked by an index, and place each condition as early as possible.

    Args:
        sources: The subquery's tables.
        conditions: What has to be true, without what the caller deals with itself.
        tables: Look-up tables by name.
        layout: The table of each scope, those of ``sources`` included.
    """
    waiting = list(conditions)
    pending = list(sources)
    unbound = {source.scope for source in sources}
    steps = []
    while pending:
        chosen = max(pending, key=lambda source: len(_keys(source, waiting, unbound)))
        keys = _keys(chosen, waiting, unbound)
        pending.remove(chosen)
        unbound.discard(chosen.scope)
        rest = [c for c in waiting if c not in keys]
        ready = tuple(c for c in rest if not scopes(c) & unbound)
        waiting = [c for c in rest if c not in ready]
        table = tables[chosen.table]
        by_column = sorted(((keys[c][0], keys[c][1]) for c in keys), key=lambda pair: pair[0])
        values = tuple(compile_value(expr, tables, layout) for _, expr in by_column)
        steps.append(
            Step(
                scope=chosen.scope,
                table=table,
                index=table.index([column for column, _ in by_column]) if by_column else None,
                key=_key(values),
                tests=tuple(compile_test(c, tables, layout) for c in ready),
            )
        )
    return steps


def rows_of(step: Step, env: Env) -> Sequence[LookupRow] | set[LookupRow]:
    """Return the rows of this step's table that its key allows, in no order."""
    if step.index is None:
        return list(step.table.rows.values())
    key = step.key(env)
    return step.index.get(key, ()) if key is not None else ()


def _keys(source: Source, conditions: Sequence[Expr], unbound: set[int]) -> dict[Expr, tuple[str, Expr]]:
    """Return the equalities that give this source's columns a value known before its row is."""
    found: dict[Expr, tuple[str, Expr]] = {}
    for condition in conditions:
        if not isinstance(condition, Compare) or condition.op != "=":
            continue
        for column, other in ((condition.left, condition.right), (condition.right, condition.left)):
            if (
                isinstance(column, ColumnRef)
                and column.scope == source.scope
                and not scopes(other) & unbound
                and column.name not in {name for name, _ in found.values()}
            ):
                found[condition] = (column.name, other)
                break
    return found


def _key(values: tuple[Value, ...]) -> Callable[[Env], Key]:
    if len(values) == 1:
        return values[0]

    def key(env: Env) -> Key:
        parts = tuple([value(env) for value in values])
        return None if None in parts else parts

    return key


def _all(tests: Sequence[Test]) -> Test:
    def test(env: Env) -> bool | None:
        answer: bool | None = True
        for part in tests:
            result = part(env)
            if result is False:
                return False
            if result is None:
                answer = None
        return answer

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(env: Env) -> bool | None:
        answer: bool | None = False
        for part in tests:
            result = part(env)
            if result is True:
                return True
            if result is None:
                answer = None
        return answer

    return test


def _comparison(expr: Compare, tables: Tables, layout: Mapping[int, str]) -> Test:
    left = compile_value(expr.left, tables, layout)
    right = compile_value(expr.right, tables, layout)
    compare = _COMPARISONS[expr.op]

    def test(env: Env) -> bool | None:
        a, b = left(env), right(env)
        return None if a is None or b is None else compare(a, b)

    return test


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _exists(sources: Sequence[Source], where: Expr, tables: Tables, outer: Mapping[int, str]) -> Test:
    steps = plan_steps(sources, conjuncts(where), tables, layout_of(sources, outer))
    if not steps:  # EXISTS (SELECT ... WHERE condition)
        always = compile_test(where, tables, outer)
        return lambda env: always(env) is True
    if len(steps) == 1 and steps[0].index is not None and not steps[0].tests:
        index, key = steps[0].index, steps[0].key
        return lambda env: key(env) in index
    return lambda env: _matches(steps, 0, env)


def _matches(steps: Sequence[Step], depth: int, env: Env) -> bool:
    if depth == len(steps):
        return True
    step = steps[depth]
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        if all(test(env) is True for test in step.tests) and _matches(steps, depth + 1, env):
            return True
    return False


def _in_rows(expr: InRows, tables: Tables, outer: Mapping[int, str]) -> Test:
    layout = layout_of(expr.sources, outer)
    steps = plan_steps(expr.sources, conjuncts(expr.where), tables, layout)
    left = compile_value(expr.left, tables, layout)
    value = compile_value(expr.value, tables, layout)

    def test(env: Env) -> bool | None:
        wanted = left(env)
        seen: set[Any] = set()
        _collect(steps, 0, env, value, seen)
        if not seen:
            return False
        if wanted is not None and wanted in seen:
            return True
        return None if wanted is None or None in seen else False

    return test


def _collect(steps: Sequence[Step], depth: int, env: Env, value: Value, seen: set[Any]) -> None:
    if depth == len(steps):
        seen.add(value(env))
        return
    step = steps[depth]
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        if all(test(env) is True for test in step.tests):
            _collect(steps, depth + 1, env, value, seen)
