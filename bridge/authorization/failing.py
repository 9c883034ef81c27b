"""Keeps what may fail in Postgres where it stands, while conditions are simplified.

An error ends the whole query, so a row is hidden by it whatever a later branch of an OR says.  Postgres comes
to a part of AND only if none before it is false (NULL does not stop it), to a part of OR only if none before
it is true.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    Case,
    Coalesce,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Or,
    Rows,
    Type,
)
from bridge.authorization.expressions import (
    all_of,
    any_of,
    children,
    conjuncts,
    mentions_time,
    mentions_user,
    never_fails,
    opaque,
    own_sources,
    scopes,
    walk,
)

Safe: TypeAlias = Callable[[Expr], bool]
"""Tells whether an expression cannot fail."""


def all_in_order(parts: Sequence[tuple[Expr, bool]], safe: Safe) -> Expr:
    """AND of conditions of which only "is it true" matters, with what may fail in it.

    Args:
        parts: Each with False if it may be false here where Postgres says NULL.
        safe: Tells what cannot fail.
    """
    failing = [position for position, (part, _) in enumerate(parts) if not safe(part)]
    if not failing:
        return all_of([part for part, _ in parts])
    kept: list[Expr] = []
    for position, (part, is_false) in enumerate(parts):
        if part == FALSE and is_false:
            break  # Postgres does not come to what follows
        # NULL where it is not true: then what follows may be looked at, or not.
        soft = not is_false and position < failing[-1] and part != TRUE
        kept += [Or((part, NULL)) if part != FALSE else NULL] if soft else conjuncts(part)
    else:
        return _and(kept)
    return FALSE if all(map(safe, kept)) else _and([*kept, FALSE])


def _and(parts: Iterable[Expr]) -> Expr:
    kept = tuple(dict.fromkeys(parts))
    return all_of(kept) if len(kept) < 2 else And(kept)  # noqa: PLR2004 - an AND has two parts


def any_in_order(parts: Sequence[Expr], safe: Safe) -> Expr:
    """OR, without dropping what may fail before a part that is true."""
    # Also a part of parts: what stands before its TRUE would be dropped with it.
    flat = [one for part in parts for one in (part.items if isinstance(part, Or) else (part,))]
    before = flat[: flat.index(TRUE)] if TRUE in flat else []
    if all(map(safe, before)):
        return any_of(flat)
    return Or((*(part for part in before if part != FALSE), TRUE))


def is_false_as_written(expr: Expr) -> bool:
    """True if the normalized ``expr`` is false only where ``expr`` is, and not where it is NULL."""
    match expr:
        case And(items=items) | Or(items=items):
            return all(map(is_false_as_written, items))
        case Not(operand=operand):
            return is_false_as_written(operand)
        case IsTrue() | IsNull() | Exists():
            return True
        case _:
            return not any(
                isinstance(node, InRows | Rows | Case | Coalesce)
                or (isinstance(node, Const) and node.value is None)
                for node in walk(expr)
            )


def computed(value: Expr) -> Expr:
    """Return a condition that is always true, but has to compute ``value`` for that."""
    return Or((IsNull(value), Not(IsNull(value))))


def is_computed(expr: Expr) -> bool:
    """True if ``expr`` is what :func:`computed` returns."""
    match expr:
        case Or(items=(IsNull(operand=value) as test, Not(operand=other))):
            return test == other and expr == computed(value)
        case _:
            return False


def computed_first(values: Iterable[Expr], body: Expr, type_: Type) -> Expr:
    """Return ``body`` as Postgres computes it: after ``values``, whether it needs them or not."""
    failing = [value for value in values if not never_fails(value)]
    if not failing:
        return body
    return Case(((all_of([computed(value) for value in failing]), body),), Const(None, type_), type_)


def claims_that_fail(expr: Expr) -> tuple[Expr, ...]:
    """Return what ``expr`` computes of the claims alone, where that may fail.

    Postgres computes it also where no row needs it: while it plans a comparison with a column, to estimate
    how many rows that selects, and for rows of a subquery that are not looked at here.  The same goes for
    what is not translated and needs neither.
    """
    planned = tuple(part for part in opaque(expr) if part.planned)
    return (*planned, *_of_the_user(expr))


def _of_the_user(expr: Expr) -> tuple[Expr, ...]:
    if not mentions_user(expr):
        return ()
    if not (
        mentions_time(expr)
        or scopes(expr)
        or never_fails(expr)
        or any(own_sources(node) for node in walk(expr))
    ):
        return (expr,)
    return tuple(dict.fromkeys(part for child in children(expr) for part in _of_the_user(child)))
