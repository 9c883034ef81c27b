"""How a column of a row is read: its JSON becomes a value, or only Postgres can tell what it was.

NULL and the JSON null read the same in a row's JSON.  Of the asked row both are tried (:func:`readings`); of
a look-up row it is left to Postgres where the difference may count.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bridge.authorization import types
from bridge.authorization.algebra import Call, ColumnRef, Const, Expr
from bridge.authorization.catalog import Column
from bridge.authorization.env import Env, Layout, Tables, Value
from bridge.authorization.expressions import children
from bridge.authorization.jsonb import JSON_NULL
from bridge.authorization.undecided import UndecidedError
from bridge.events import Row

_REASON = "a column of JSON is NULL, or the JSON null"

_ALIKE = frozenset(
    f"{kind} {name}" for kind in ("jsonb", "json") for name in ("-> text", "->> text", "#>> text[]")
)
"""What answers NULL of NULL and of the JSON null."""

_UNTRUE = frozenset({"jsonb ? text", "jsonb ?| text[]", "jsonb ?& text[]"})
"""What is NULL of the one and false of the other."""


def column(expr: ColumnRef, tables: Tables, layout: Layout) -> Value:
    """Return what reads the value of a column."""
    if expr.scope and not layout[expr.scope]:
        return _told(expr, tables, layout)  # an element, which is a value already
    if types.hides_null(expr.type):
        return _json(expr, tables, layout)
    read, decode = _told(expr, tables, layout), types.decoder(expr.type)
    if decode is None:
        return read
    return lambda env: None if (value := read(env)) is None else decode(value)


def is_null(expr: ColumnRef, tables: Tables, layout: Layout) -> Callable[[Env], bool]:
    """Return what tells whether a column is NULL, which cannot fail in Postgres."""
    read = column(expr, tables, layout)

    def test(env: Env) -> bool:
        try:
            return read(env) is None
        except UndecidedError as error:
            raise UndecidedError(error.reason, raises=False) from None

    return test


def operand(call: Call, tables: Tables, layout: Layout) -> Value | None:
    """Return what reads the first argument, where that is a column whose nulls are alike to the call."""
    read = _alike(call)
    if read is not None:
        return _told(read, tables, layout)
    match call:
        case Call(name=name, args=(ColumnRef() as read, _)) if (
            name in _UNTRUE and _is_unsure(read) and read.scope
        ):
            return document(read, tables, layout, untrue=True)
        case _:
            return None


def document(expr: Expr, tables: Tables, layout: Layout, *, untrue: bool = False) -> Value | None:
    """Return what reads a column of JSON whose keys are asked for: neither null has any; None if it is none.

    Args:
        expr: What may be a column.
        tables: Look-up tables by name.
        layout: The table of each scope but 0.
        untrue: Whether the difference between false and NULL may count.
    """
    if not isinstance(expr, ColumnRef) or not types.hides_null(expr.type):
        return None
    read = _told(expr, tables, layout)
    if not untrue:
        return read

    def value(env: Env) -> Any:
        found = read(env)
        if found is None:
            raise UndecidedError(_REASON, raises=False, untrue=True)
        return found

    return value


def unsure(condition: Expr) -> tuple[str, ...]:
    """Return the columns of the asked row whose null matters to ``condition``, if it is one."""
    found: dict[str, None] = {}

    def note(expr: Expr) -> None:
        if isinstance(expr, ColumnRef) and expr.scope == 0 and _is_unsure(expr):
            found[expr.name] = None
        skipped = _alike(expr) if isinstance(expr, Call) else None
        for child in children(expr):
            if child is not skipped:
                note(child)

    note(condition)
    return tuple(found)


def doubtful(column: Column) -> bool:
    """True if the JSON of some of its values is that of another value as well."""
    name = column.base_type.removeprefix("pg_catalog.")
    return (
        name in ("json", "float4", "float8")
        or (name == "jsonb" and not column.not_null)
        or name.startswith("_")
        or column.enum_elements is not None
        or column.typtype == "c"
    )


def readings(row: Row, unsure: Sequence[str]) -> Iterator[Row]:
    """Yield what ``row`` may be: with each null of the columns ``unsure`` as NULL, and as the JSON null."""
    nulls = [name for name in unsure if row[name] is None]
    for values in itertools.product((None, JSON_NULL), repeat=len(nulls)):
        yield {**row, **dict(zip(nulls, values, strict=True))}


def _alike(call: Call) -> ColumnRef | None:
    match call:
        case Call(
            name="jsonb #> text[]" | "json #> text[]", args=(ColumnRef() as read, Const(value=[_, *_]))
        ):
            return read
        case Call(name=name, args=(ColumnRef() as read, _)) if name in _ALIKE:
            return read
        case _:
            return None


def _is_unsure(expr: ColumnRef) -> bool:
    return expr.nullable and types.hides_null(expr.type)


def _told(expr: ColumnRef, tables: Tables, layout: Layout) -> Value:
    """Return what reads a column as the row has it."""
    name, scope = expr.name, expr.scope
    if scope == 0:
        return lambda env: env.row[name]
    position = tables[layout[scope]].position[name] if layout[scope] else 0
    return lambda env: env.rows[scope][position]


def _json(expr: ColumnRef, tables: Tables, layout: Layout) -> Value:
    read = _told(expr, tables, layout)
    if not expr.nullable:
        return lambda env: JSON_NULL if (value := read(env)) is None else value
    if expr.scope == 0:
        return read

    def value(env: Env) -> Any:
        found = read(env)
        if found is None:
            raise UndecidedError(_REASON)
        return found

    return value
