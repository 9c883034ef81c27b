"""Subqueries compiled to closures: a walk over their tables, each reached by an index where one helps."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bridge.authorization import types
from bridge.authorization.algebra import Arm, Expr, InRows, Rows, Source
from bridge.authorization.env import Env, Layout, Tables, Test, Value, layout_of
from bridge.authorization.expressions import conjuncts, scopes
from bridge.authorization.steps import Step, in_any_order, plan_steps, rows_of
from bridge.authorization.undecided import UndecidedError


class Compiling(Protocol):
    """Compiles expressions."""

    tables: Tables

    def value(self, expr: Expr, layout: Layout) -> Value:
        """Return what computes ``expr``."""

    def test(self, expr: Expr, layout: Layout) -> Test:
        """Return what answers the condition ``expr``."""


def steps_of(
    compiler: Compiling, sources: Sequence[Source], conditions: Sequence[Expr], layout: Layout
) -> list[Step]:
    """Return how to walk ``sources``, whose scopes ``layout`` holds, under ``conditions``."""
    return plan_steps(
        sources,
        conditions,
        compiler.tables,
        value=lambda expr: compiler.value(expr, layout),
        test=lambda expr: compiler.test(expr, layout),
    )


def exists(compiler: Compiling, sources: Sequence[Source], where: Expr, outer: Layout) -> Test:
    """Return what answers EXISTS."""
    gates, conditions = _gated(compiler, sources, where, outer)
    if gates:
        some = _some(compiler, sources, conditions, outer)
        return lambda env: all(gate(env) is True for gate in gates) and some(env) is True
    return _some(compiler, sources, conditions, outer)


def _gated(
    compiler: Compiling, sources: Sequence[Source], where: Expr, outer: Layout
) -> tuple[Sequence[Test], list[Expr]]:
    """Return the conditions that concern no row of ``sources``, as tests, and the others.

    Postgres looks at them first, once, and at no row where one is not true: what may fail in them fails
    also where there is no row.
    """
    own = {source.scope for source in sources}
    conditions = conjuncts(where)
    gates = in_any_order([c for c in conditions if not scopes(c) & own], lambda c: compiler.test(c, outer))
    return gates, [c for c in conditions if scopes(c) & own]


def _some(compiler: Compiling, sources: Sequence[Source], conditions: Sequence[Expr], outer: Layout) -> Test:
    steps = steps_of(compiler, sources, conditions, layout_of(sources, outer))
    if len(steps) == 1 and not steps[0].tests:
        key = steps[0].key
        table = steps[0].table
        known = table.rows if table is not None and steps[0].by_key else steps[0].index
        if known is not None:
            return lambda env: key(env) in known
    if any(step.fails for step in steps):
        return lambda env: _matches_all(steps, 0, env)
    return lambda env: _matches(steps, 0, env)


def _matches(steps: Sequence[Step], depth: int, env: Env) -> bool:
    if depth == len(steps):
        return True
    step = steps[depth]
    open_: list[UndecidedError] = []
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        try:
            if all(test(env) is True for test in step.tests) and _matches(steps, depth + 1, env):
                return True
        except UndecidedError as error:
            open_.append(error)
    if open_:
        raise UndecidedError.of_any(open_)
    return False


def _matches_all(steps: Sequence[Step], depth: int, env: Env) -> bool:
    """Do the same where a row may make Postgres fail, before or after it comes to one that matches."""
    if depth == len(steps):
        return True
    step = steps[depth]
    found = False
    open_: list[UndecidedError] = []
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        try:
            found = (
                all(test(env) is True for test in step.tests) and _matches_all(steps, depth + 1, env)
            ) or found
        except UndecidedError as error:
            open_.append(error)
    if not open_:
        return found
    if not found:
        raise UndecidedError.of_any(open_)
    if any(error.raises for error in open_):
        raise UndecidedError(open_[0].reason)
    return True


def in_rows(compiler: Compiling, expr: InRows, outer: Layout) -> Test:
    """Return what answers IN: NULL where a NULL leaves it open."""
    layout = layout_of(expr.sources, outer)
    collect = _collector(compiler, Arm(expr.sources, expr.where, expr.value), outer)
    left = compiler.value(expr.left, layout)
    key = types.comparison_key(expr.left.type)

    def test(env: Env) -> bool | None:
        wanted = left(env)
        found: list[Any] = []
        collect(env, found)
        if not found:
            return False
        if key is not None:
            wanted = None if wanted is None else key(wanted)
            found = [None if value is None else key(value) for value in found]
        if wanted is not None and wanted in found:
            return True
        return None if wanted is None or None in found else False

    return test


def rows(compiler: Compiling, expr: Rows, outer: Layout) -> Value:
    """Return what computes a subquery that is one value."""
    collectors = [_collector(compiler, arm, outer) for arm in expr.arms]

    def collected(env: Env) -> list[Any]:
        found: list[Any] = []
        for collect in collectors:
            collect(env, found)
        return found

    def one(env: Env) -> Any:
        found = collected(env)
        if len(found) > 1:
            raise UndecidedError("a subquery finds more than one row")
        return found[0] if found else None

    def first(env: Env) -> Any:
        found = collected(env)
        # By their form: in Python 1 is true, and 1 is 1.0, which jsonb prints in another way.
        if any(value != found[0] or repr(value) != repr(found[0]) for value in found[1:]):
            raise UndecidedError("which of several rows comes first")
        return found[0] if found else None

    match expr.kind:
        case "one":
            return one
        case "first":
            return first
        case "array":
            return collected
        case "array_agg":
            return lambda env: collected(env) or None
        case "count":
            return lambda env: len(collected(env))


def _collector(compiler: Compiling, arm: Arm, outer: Layout) -> Callable[[Env, list[Any]], None]:
    layout = layout_of(arm.sources, outer)
    gates, conditions = _gated(compiler, arm.sources, arm.where, outer)
    steps = steps_of(compiler, arm.sources, conditions, layout)
    value = compiler.value(arm.value, layout)

    def collect(env: Env, found: list[Any]) -> None:
        try:
            if all(gate(env) is True for gate in gates):
                _collect(steps, 0, env, value, found)
        except UndecidedError as error:
            raise error.as_value() from None

    return collect


def _collect(steps: Sequence[Step], depth: int, env: Env, value: Value, found: list[Any]) -> None:
    if depth == len(steps):
        found.append(value(env))
        return
    step = steps[depth]
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        if all(test(env) is True for test in step.tests):
            _collect(steps, depth + 1, env, value, found)
