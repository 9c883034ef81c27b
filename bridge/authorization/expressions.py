"""Builds, walks and rewrites expressions of the algebra."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from bridge.authorization import builtins
from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    And,
    AnyOf,
    Arm,
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
    Fails,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Now,
    Opaque,
    Operator,
    Or,
    Rows,
    Source,
    Uid,
)


def compare(op: Operator, left: Expr, right: Expr) -> Compare:
    """Return the comparison; the same one for both ways of writing an equality."""
    if op in ("=", "<>") and _rank(right) < _rank(left):
        left, right = right, left
    return Compare(op, left, right)


def _rank(expr: Expr) -> tuple[int, int, str]:
    return (0, expr.scope, expr.name) if isinstance(expr, ColumnRef) else (1, 0, "")


def rebuild(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Return ``expr`` with ``change`` applied to each of its direct parts."""
    match expr:
        case Compare(op=op, left=left, right=right):
            return compare(op, change(left), change(right))
        case AnyOf(left=left, array=array):
            return AnyOf(change(left), change(array))
        case IsNull() | IsTrue() | Not():
            return type(expr)(change(expr.operand))
        case And() | Or():
            return type(expr)(tuple(change(item) for item in expr.items))
        case Call(name=name, args=args, type=type_):
            return Call(name, tuple(change(arg) for arg in args), type_)
        case ArrayOf(items=items, type=type_):
            return ArrayOf(tuple(change(item) for item in items), type_)
        case Case(branches=branches, otherwise=otherwise, type=type_):
            return Case(tuple((change(c), change(r)) for c, r in branches), change(otherwise), type_)
        case Coalesce(items=items, type=type_):
            return Coalesce(tuple(change(item) for item in items), type_)
        case Exists(sources=sources, where=where):
            return Exists(rebuilt(sources, change), change(where))
        case InRows(left=left, value=value, sources=sources, where=where):
            return InRows(change(left), change(value), rebuilt(sources, change), change(where))
        case Rows(kind=kind, arms=arms, type=type_):
            changed = tuple(
                Arm(rebuilt(arm.sources, change), change(arm.where), change(arm.value)) for arm in arms
            )
            return Rows(kind, changed, type_)
        case _:
            return expr


def rebuilt(sources: tuple[Source, ...], change: Callable[[Expr], Expr]) -> tuple[Source, ...]:
    """Return ``sources`` with ``change`` applied to each array whose elements are rows."""
    if all(source.elements is None for source in sources):
        return sources
    return tuple(
        source if source.elements is None else Source(source.table, source.scope, change(source.elements))
        for source in sources
    )


def children(expr: Expr) -> tuple[Expr, ...]:
    """Return the direct parts of ``expr``."""
    found: list[Expr] = []

    def note(part: Expr) -> Expr:
        found.append(part)
        return part

    rebuild(expr, note)
    return tuple(found)


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield ``expr`` and everything in it."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def own_sources(expr: Expr) -> tuple[Source, ...]:
    """Return the sources that a subquery brings itself, without those in its parts."""
    match expr:
        case Exists(sources=sources) | InRows(sources=sources):
            return sources
        case Rows(arms=arms):
            return tuple(source for arm in arms for source in arm.sources)
        case _:
            return ()


def scopes(expr: Expr) -> frozenset[int]:
    """Return the scopes that ``expr`` reads from outside: those its own subqueries bring do not count."""
    match expr:
        case ColumnRef(scope=scope):
            return frozenset((scope,))
        case InRows(left=left):  # which is outside of its subquery
            inside = frozenset[int]().union(*map(scopes, children(expr)[1:]))
            return scopes(left) | inside - {source.scope for source in expr.sources}
        case _:
            used = frozenset[int]().union(*map(scopes, children(expr)))
            return used - {source.scope for source in own_sources(expr)}


def renewed(expr: Expr, new_scope: Callable[[], int]) -> Expr:
    """Return ``expr`` with scopes of their own for its subqueries.

    What a name stands for is put in place of each use: two copies would otherwise share their rows, and
    overwrite each other's where one comes to stand in the other.
    """
    fresh = {source.scope: new_scope() for node in walk(expr) for source in own_sources(node)}
    return _rescoped(expr, fresh) if fresh else expr


def _rescoped(expr: Expr, fresh: Mapping[int, int]) -> Expr:
    def sources(given: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(msgspec.structs.replace(source, scope=fresh[source.scope]) for source in given)

    expr = rebuild(expr, lambda part: _rescoped(part, fresh))
    match expr:
        case ColumnRef(scope=scope) if scope in fresh:
            return msgspec.structs.replace(expr, scope=fresh[scope])
        case Exists() | InRows():
            return msgspec.structs.replace(expr, sources=sources(expr.sources))
        case Rows(arms=arms):
            renamed = tuple(Arm(sources(arm.sources), arm.where, arm.value) for arm in arms)
            return msgspec.structs.replace(expr, arms=renamed)
        case _:
            return expr


def failure(exprs: Iterable[Expr]) -> Fails | None:
    """Return what makes a query with ``exprs`` fail; None if nothing does."""
    return next((node for expr in exprs for node in walk(expr) if isinstance(node, Fails)), None)


def opaque(expr: Expr) -> tuple[Opaque, ...]:
    """Return the parts of ``expr`` that only Postgres can answer."""
    return tuple(dict.fromkeys(node for node in walk(expr) if isinstance(node, Opaque)))


def mentions_user(expr: Expr) -> bool:
    """True if the answer depends on who asks, or may do."""
    return any(isinstance(node, Uid | Claims | Opaque) for node in walk(expr))


def spreads_user(sources: Iterable[Source]) -> bool:
    """True if the elements of something of the user's, such as a claim, are among the rows."""
    return any(source.elements is not None and mentions_user(source.elements) for source in sources)


def mentions_time(expr: Expr) -> bool:
    """True if the answer depends on when it is asked, or may do."""
    return any(isinstance(node, Now | Opaque) for node in walk(expr))


def never_fails(expr: Expr, *, at_most_one: Callable[[Rows], bool] = lambda _rows: False) -> bool:
    """True if Postgres cannot answer ``expr`` with an error, so that it may be left out.

    Args:
        expr: Any expression.
        at_most_one: Tells of a scalar subquery whether it finds no second row, which would be an error.
    """
    return all(is_harmless(node, at_most_one) for node in walk(expr))


def is_harmless(node: Expr, at_most_one: Callable[[Rows], bool]) -> bool:
    """True if Postgres cannot fail in ``node`` itself, whatever is in it."""
    match node:
        case Fails():
            return False
        case Opaque(raises=raises):
            return not raises
        case Rows(kind="one"):
            return at_most_one(node)
        case Call(name="split_part(text, text, int)", args=(_, _, Const(value=position))):
            return bool(position != 0)
        case Call(name=name, args=(_, Const(value=pattern))) if name in builtins.LIKE:
            return "\\" not in (pattern or "")
        case Call(name="timestamptz - interval" | "timestamptz + interval", args=(Now(), Const())):
            return True
        case Call(name=name):
            return name in builtins.HARMLESS
        case _:
            return True


def with_null(expr: Expr, scope: int) -> Expr:
    """Return ``expr`` for the case that there is no row in ``scope``: all of its columns are NULL."""
    if isinstance(expr, ColumnRef):
        return Const(None, expr.type) if expr.scope == scope else expr
    return rebuild(expr, lambda part: with_null(part, scope))


def conjuncts(expr: Expr) -> tuple[Expr, ...]:
    """Return the parts that must all be true for ``expr`` to be true."""
    if isinstance(expr, And):
        return tuple(part for item in expr.items for part in conjuncts(item))
    return () if expr == TRUE else (expr,)


def all_of(items: Iterable[Expr]) -> Expr:
    """AND of conditions of which only "is it true" matters, simplified.

    Constants are folded, and a OR that another part implies is dropped (``a and (a or b)`` is ``a``): inner
    RLS often says again what the subquery asks for already.  It stays where ``b`` may fail, because Postgres
    does not do this; in a subquery it depends on the plan whether the rows are looked at that ``a`` excludes.
    """
    parts = list(dict.fromkeys(part for item in items for part in conjuncts(item)))
    if any(part == FALSE for part in parts):
        return FALSE
    known = set(parts)
    parts = [part for part in parts if not (isinstance(part, Or) and _implied(part, known))]
    if not parts:
        return TRUE
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _implied(choice: Or, known: set[Expr]) -> bool:
    if not any(known.issuperset(conjuncts(item)) for item in choice.items):
        return False
    return failure([choice]) is None if scopes(choice) - {0} else never_fails(choice)


def any_of(items: Iterable[Expr]) -> Expr:
    """OR, with the constants folded away and without an OR in it."""
    flat = (part for item in items for part in (item.items if isinstance(item, Or) else (item,)))
    parts = [part for part in flat if part != FALSE]
    if any(item == TRUE for item in parts):
        return TRUE
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else Or(tuple(parts))
