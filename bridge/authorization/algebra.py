"""The small typed language that policies are translated to.

An expression refers to rows by *scope*: scope 0 is the row whose visibility is asked, every table
in a subquery has a scope of its own.  The user is :class:`Uid`; everything else about the user
(the database role) is known when a policy is translated, because a plan belongs to one role.
Values are what JSON has; NULL is None, and three-valued logic is kept until the very end.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import msgspec

Type: TypeAlias = str
"""Family of types whose equality means the same here and in Postgres: ``uuid``, ``text``, ``int``,
``bool``, ``enum:<name>``; anything else is ``other:<name>`` and can only be tested for NULL."""

Operator: TypeAlias = Literal["=", "<>", "<", "<=", ">", ">="]


class Const(msgspec.Struct, frozen=True):
    """A constant; ``value`` None is NULL."""

    value: Any
    type: Type


class ColumnRef(msgspec.Struct, frozen=True):
    """A column of the row in ``scope``."""

    scope: int
    name: str
    type: Type


class Uid(msgspec.Struct, frozen=True):
    """``auth.uid()``: the id of the user who asks, NULL for anon."""

    type: Type = "uuid"


class Compare(msgspec.Struct, frozen=True):
    """``left op right``, both of one comparable type."""

    op: Operator
    left: "Expr"
    right: "Expr"
    type: Type = "bool"


class IsNull(msgspec.Struct, frozen=True):
    """``operand IS NULL``; never NULL itself."""

    operand: "Expr"
    type: Type = "bool"


class IsTrue(msgspec.Struct, frozen=True):
    """``operand IS TRUE``; never NULL itself."""

    operand: "Expr"
    type: Type = "bool"


class And(msgspec.Struct, frozen=True):
    """All of ``items``; the empty one is true."""

    items: tuple["Expr", ...]
    type: Type = "bool"


class Or(msgspec.Struct, frozen=True):
    """Any of ``items``; the empty one is false."""

    items: tuple["Expr", ...]
    type: Type = "bool"


class Not(msgspec.Struct, frozen=True):
    """``NOT operand``; NULL stays NULL."""

    operand: "Expr"
    type: Type = "bool"


class Source(msgspec.Struct, frozen=True):
    """A table in a subquery's FROM and the scope its rows have."""

    table: str
    scope: int


class Exists(msgspec.Struct, frozen=True):
    """Some combination of the sources' rows makes ``where`` true; never NULL itself."""

    sources: tuple[Source, ...]
    where: "Expr"
    type: Type = "bool"


class InRows(msgspec.Struct, frozen=True):
    """``left IN (SELECT value FROM sources WHERE where)`` where NULL and false have to be told apart."""

    left: "Expr"
    value: "Expr"
    sources: tuple[Source, ...]
    where: "Expr"
    type: Type = "bool"


class Fails(msgspec.Struct, frozen=True):
    """What makes Postgres answer the whole query with an error, unless a constant makes it unneeded."""

    reason: str
    type: Type = "bool"


Expr: TypeAlias = (
    Fails | Const | ColumnRef | Uid | Compare | IsNull | IsTrue | And | Or | Not | Exists | InRows
)

TRUE = Const(True, "bool")  # noqa: FBT003 - the value of a constant
FALSE = Const(False, "bool")  # noqa: FBT003 - the value of a constant


def compare(op: Operator, left: Expr, right: Expr) -> Compare:
    """Return the comparison; the same one for both ways of writing an equality."""
    if op in ("=", "<>") and _rank(right) < _rank(left):
        left, right = right, left
    return Compare(op, left, right)


def _rank(expr: Expr) -> tuple[int, int, str]:
    return (0, expr.scope, expr.name) if isinstance(expr, ColumnRef) else (1, 0, "")


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct parts of ``expr``."""
    match expr:
        case Compare(left=left, right=right):
            return (left, right)
        case IsNull(operand=operand) | IsTrue(operand=operand) | Not(operand=operand):
            return (operand,)
        case And(items=items) | Or(items=items):
            return items
        case Exists(where=where):
            return (where,)
        case InRows(left=left, value=value, where=where):
            return (left, value, where)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield ``expr`` and everything in it."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def scopes(expr: Expr) -> frozenset[int]:
    """Return the scopes that ``expr`` reads from outside: those its own subqueries bring do not count."""
    used = {node.scope for node in walk(expr) if isinstance(node, ColumnRef)}
    own = {s.scope for node in walk(expr) if isinstance(node, Exists | InRows) for s in node.sources}
    return frozenset(used - own)


def failure(exprs: Iterable[Expr]) -> Fails | None:
    """Return what makes a query with ``exprs`` fail; None if nothing does."""
    return next((node for expr in exprs for node in walk(expr) if isinstance(node, Fails)), None)


def mentions_user(expr: Expr) -> bool:
    """True if the answer depends on who asks."""
    return any(isinstance(node, Uid) for node in walk(expr))


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """Return the parts that must all be true for ``expr`` to be true."""
    if isinstance(expr, And):
        return tuple(part for item in expr.items for part in conjuncts(item))
    return () if expr == TRUE else (expr,)


def all_of(items: list[Expr]) -> Expr:
    """AND of conditions of which only "is it true" matters, simplified.

    Constants are folded, and a OR that another part implies is dropped (``a and (a or b)`` is ``a``): inner
    RLS often says again what the subquery asks for already.
    """
    parts = list(dict.fromkeys(part for item in items for part in conjuncts(item)))
    if any(part == FALSE for part in parts):
        return FALSE
    known = set(parts)
    # Postgres does not do this: what fails there has to fail here.
    parts = [
        part for part in parts if not (isinstance(part, Or) and _implied(part, known)) or failure([part])
    ]
    if not parts:
        return TRUE
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _implied(choice: Or, known: set[Expr]) -> bool:
    return any(known.issuperset(conjuncts(item)) for item in choice.items)


def any_of(items: list[Expr]) -> Expr:
    """OR, with the constants folded away."""
    parts = [item for item in items if item != FALSE]
    if any(item == TRUE for item in parts):
        return TRUE
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else Or(tuple(parts))
