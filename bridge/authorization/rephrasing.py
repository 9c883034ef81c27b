"""Single conditions said in another way, where it only matters whether they are true."""

from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    AnyOf,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    IsNull,
    IsTrue,
    Not,
    Operator,
)
from bridge.authorization.expressions import all_of, conjuncts, scopes

OPPOSITE: dict[Operator, Operator] = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
"""Operators by those that are false where they are true; NULL stays NULL."""


def among(scope: int, elements: Expr, where: Expr) -> Expr | None:
    """Return what says without a subquery that an element equals something; None if more is asked."""
    outside = [c for c in conjuncts(where) if scope not in scopes(c)]
    match [c for c in conjuncts(where) if scope in scopes(c)]:
        case [Compare(op="=", left=ColumnRef(scope=found, type=type_), right=other)] if found == scope:
            pass
        case [Compare(op="=", left=other, right=ColumnRef(scope=found, type=type_))] if found == scope:
            pass
        case _:
            return None
    if scope in scopes(other) or other.type != type_:
        return None
    return all_of([*outside, AnyOf(other, elements)])


def opposite(expr: Expr) -> Expr:
    """NOT of a condition of which only the truth is known to be kept."""
    if isinstance(expr, Const):
        return FALSE if expr == TRUE else TRUE
    if isinstance(expr, Not) and isinstance(expr.operand, Exists | IsNull | IsTrue):
        return expr.operand  # these are never NULL
    return Not(expr) if isinstance(expr, Exists | IsNull | IsTrue) else Not(IsTrue(expr))


def some_rows(op: Operator, count: Expr) -> bool | None:
    """Return whether ``count(*) op count`` asks for some row (True) or for none (False); None if neither."""
    if not isinstance(count, Const):
        return None
    match op, count.value:
        case (">", 0) | (">=", 1) | ("<>", 0):
            return True
        case ("=", 0) | ("<", 1) | ("<=", 0):
            return False
        case _:
            return None
