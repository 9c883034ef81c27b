"""Compiles expressions to closures that answer them for one user and one row.

A condition's closure returns True, False or None (NULL), or raises UndecidedError where only Postgres can
tell.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from bridge.authorization import builtins, columns, logic, subqueries, types
from bridge.authorization.algebra import (
    And,
    AnyOf,
    ArrayOf,
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Now,
    Opaque,
    Or,
    Rows,
    Source,
    Uid,
)
from bridge.authorization.env import Env, Layout, Tables, Test, Value
from bridge.authorization.steps import Step
from bridge.authorization.undecided import UndecidedError

_claims: Callable[[str], Any] = lru_cache(maxsize=65_536)(msgspec.json.decode)


def compile_value(expr: Expr, tables: Tables, layout: Layout) -> Value:
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
        case Claims():
            return lambda env: _claims(env.claims_json)
        case Now():
            return lambda env: env.now_us()
        case ColumnRef():
            return columns.column(expr, tables, layout)
        case Call(name="same", args=(argument,)):
            return compile_value(argument, tables, layout)
        case Call():
            return _call(expr, tables, layout)
        case ArrayOf(items=items):
            elements = [compile_value(item, tables, layout) for item in items]
            return lambda env: [element(env) for element in elements]
        case Case():
            return _case(expr, tables, layout)
        case Coalesce(items=items):
            return _coalesce([compile_value(item, tables, layout) for item in items])
        case Rows():
            return subqueries.rows(_Compiler(tables), expr, layout)
        case And() | Or() | Exists() | IsTrue():
            return logic.as_value(compile_test(expr, tables, layout))
        case _:
            return compile_test(expr, tables, layout)


def compile_test(expr: Expr, tables: Tables, layout: Layout) -> Test:
    """Return a closure that answers the condition ``expr`` with True, False or None."""
    match expr:
        case And(items=items):
            return logic.all_true([compile_test(item, tables, layout) for item in items])
        case Or(items=items):
            return logic.any_true([compile_test(item, tables, layout) for item in items])
        case Not(operand=operand):
            return logic.negated(compile_test(operand, tables, layout))
        case IsNull(operand=ColumnRef() as operand):
            return columns.is_null(operand, tables, layout)
        case IsNull(operand=operand):
            value = compile_value(operand, tables, layout)
            return lambda env: value(env) is None
        case IsTrue(operand=operand):
            test = compile_test(operand, tables, layout)
            return lambda env: test(env) is True
        case Compare():
            return _comparison(expr, tables, layout)
        case AnyOf():
            return _any_of(expr, tables, layout)
        case Exists(sources=sources, where=where):
            return subqueries.exists(_Compiler(tables), sources, where, layout)
        case InRows():
            return subqueries.in_rows(_Compiler(tables), expr, layout)
        case Opaque(reason=reason, raises=raises):
            return logic.undecided(reason, raises=raises)
        case _:
            return compile_value(expr, tables, layout)


def _call(expr: Call, tables: Tables, layout: Layout) -> Value:
    run = builtins.run(expr.name).run
    arguments = [compile_value(argument, tables, layout) for argument in expr.args]
    arguments[:1] = [columns.operand(expr, tables, layout) or arguments[0]]
    if len(arguments) == 1:
        (only,) = arguments
        return lambda env: None if (value := only(env)) is None else run(value)

    def call(env: Env) -> Any:
        values = [argument(env) for argument in arguments]
        return None if None in values else run(*values)

    return call


def _case(expr: Case, tables: Tables, layout: Layout) -> Value:
    branches = [
        (compile_test(condition, tables, layout), compile_value(result, tables, layout))
        for condition, result in expr.branches
    ]
    otherwise = compile_value(expr.otherwise, tables, layout)

    def case(env: Env) -> Any:
        try:
            for test, result in branches:
                if test(env) is True:
                    return result(env)
        except UndecidedError as error:
            raise error.as_value() from None
        return otherwise(env)

    return case


def _coalesce(items: Sequence[Value]) -> Value:
    def coalesce(env: Env) -> Any:
        for item in items:
            value = item(env)
            if value is not None:
                return value
        return None

    return coalesce


def _comparison(expr: Compare, tables: Tables, layout: Layout) -> Test:
    left = compile_value(expr.left, tables, layout)
    right = compile_value(expr.right, tables, layout)
    compare = _COMPARISONS[expr.op]
    key = types.comparison_key(expr.left.type)
    if key is not None:

        def keyed(env: Env) -> bool | None:
            a, b = left(env), right(env)
            return None if a is None or b is None else compare(key(a), key(b))

        return keyed

    def test(env: Env) -> bool | None:
        a, b = left(env), right(env)  # both, whether one is NULL or not: the other may fail
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


def _any_of(expr: AnyOf, tables: Tables, layout: Layout) -> Test:
    left = compile_value(expr.left, tables, layout)
    array = compile_value(expr.array, tables, layout)
    key = types.comparison_key(expr.left.type)

    def test(env: Env) -> bool | None:
        wanted, elements = left(env), array(env)
        if elements is None:
            return None
        if not elements:
            return False
        if wanted is None:
            return None
        if key is not None:
            wanted = key(wanted)
            elements = [None if element is None else key(element) for element in elements]
        if wanted in elements:
            return True
        return None if None in elements else False

    return test


class _Compiler:
    """Compiles the parts of subqueries."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def value(self, expr: Expr, layout: Layout) -> Value:
        return compile_value(expr, self.tables, layout)

    def test(self, expr: Expr, layout: Layout) -> Test:
        return compile_test(expr, self.tables, layout)


def steps_of(
    sources: Sequence[Source], conditions: Sequence[Expr], tables: Tables, layout: Layout
) -> list[Step]:
    """Return how to walk ``sources``, whose scopes ``layout`` holds, under ``conditions``."""
    return subqueries.steps_of(_Compiler(tables), sources, conditions, layout)
