"""From one type to another: literals, casts, and what Postgres converts by itself."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from bridge.authorization import builtins, casting, temporal, types
from bridge.authorization.algebra import (
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Const,
    Expr,
    Type,
    Uid,
)
from bridge.authorization.catalog import Catalog
from bridge.authorization.undecided import UndecidedError
from bridge.errors import CompileError

SUB = Call("jsonb ->> text", (Claims(), Const("sub", "text")), "text")
"""``auth.jwt() ->> 'sub'``, of which a uuid is made by ``auth.uid()``."""

_IMPLICIT = {("int", "numeric"), ("text", "name"), ("name", "text")}
"""What Postgres converts by itself where the value here stays the same."""

_SAME_VALUE = {
    ("int", "numeric"),
    ("name", "text"),
    ("uuid", "text"),
    ("json", "jsonb"),
    ("jsonb", "json"),
}
"""Casts that keep the value; a name cuts a text off."""

_NAME_BYTES = 63


def constant(text: str, type_: Type, catalog: Catalog) -> Const:
    """Return the constant ``'text'::type_`` in the form in which expressions have such values.

    Raises:
        CompileError: the text is not a value of a type that can be compared here.
    """
    try:
        return Const(_parsed(text, type_, catalog), type_)
    except (ValueError, KeyError, InvalidOperation, UndecidedError, RecursionError) as error:
        raise CompileError(f"a constant is no value of its type {types.plain(type_)}") from error


def _parsed(text: str, type_: Type, catalog: Catalog) -> Any:
    match type_:
        case "text" | "unknown":
            return text
        case "name":
            if len(text.encode()) > _NAME_BYTES:
                raise ValueError(text)
            return text
        case "uuid":
            return casting.uuid_of(text)
        case "int":
            return casting.int_of(text)
        case "bool":
            return casting.bool_of(text)
        case "numeric":
            value = Decimal(text)
            if value.is_nan():
                raise ValueError(text)
            return value
        case "timestamptz":
            return temporal.timestamptz(text)
        case "timestamp":
            return temporal.timestamp(text)
        case "date":
            return temporal.date(text)
        case "interval":
            span = temporal.interval(text)
            if span is None:
                raise ValueError(text)
            return span
        case "jsonb" | "json":
            value = json.loads(text, parse_float=Decimal)
            if value is None:
                raise ValueError(text)
            return value
        case _ if type_.startswith("enum:") and type_.endswith("[]") is False:
            return _label(text, type_, catalog)
        case _ if type_.endswith("[]") and not type_.startswith("other:"):
            return [
                None if item is None else _parsed(item, type_[:-2], catalog) for item in _array_items(text)
            ]
        case _:
            raise CompileError(f"a constant of type {types.plain(type_)} is not supported in memory")


def _label(text: str, type_: Type, catalog: Catalog) -> str:
    labels = catalog.enum_labels.get(type_.removeprefix("enum:"))
    if labels and text not in labels:
        raise ValueError(text)
    return text


def _array_items(text: str) -> list[str | None]:
    """Return the elements of ``{a,"b c",NULL}``."""
    inner = text.strip()
    if not (inner.startswith("{") and inner.endswith("}")) or "{" in inner[1:] or "\\" in inner:
        raise ValueError(text)
    inner = inner[1:-1]
    if not inner.strip():
        return []
    items: list[str | None] = []
    for part in inner.split(","):
        item = part.strip()
        if item.startswith('"'):
            if len(item) < 2 or not item.endswith('"') or '"' in item[1:-1]:  # noqa: PLR2004 - two quotes
                raise ValueError(text)  # a comma inside quotes
            items.append(item[1:-1])
        else:
            items.append(None if item.upper() == "NULL" else item)
    return items


def cast(operand: Expr, target: Type, catalog: Catalog, *, bits: int = 64) -> Expr:
    """Return ``operand::target`` as written by people or by ``pg_get_expr``.

    Args:
        operand: What is cast.
        target: Family of the type.
        catalog: Knows the labels of enums.
        bits: Width of an integer target.

    Raises:
        CompileError: the result could differ from Postgres's.
    """
    if isinstance(operand, Const) and operand.value is None:
        return Const(None, target)
    if operand.type == "unknown" and isinstance(operand, Const):
        operand = constant(operand.value, target, catalog)
    if isinstance(operand, Const) and operand.type == "text" and target not in ("text", "name"):
        operand = constant(operand.value, target, catalog)
    if operand == SUB and target == "uuid":
        return Uid()
    if operand.type == "claims" and target in ("json", "jsonb"):
        return Claims()
    if (operand.type, target) == ("timestamptz", "date") and not catalog.in_utc:
        raise CompileError(f"the date of a timestamptz depends on the time zone {catalog.timezone}")
    if operand.type != target:
        operand = _labelled(operand, target, catalog) or _converted(operand, target)
    if target == "int" and bits < 64 and not isinstance(operand, Const):  # noqa: PLR2004 - the widest integer
        return _narrowed(operand, bits)
    return operand


def _labelled(operand: Expr, target: Type, catalog: Catalog) -> Expr | None:
    """Return a text as a value of an enum, or an array of them; None if it is another cast."""
    name = {"text": builtins.LABEL, "text[]": builtins.LABELS}.get(operand.type)
    is_array = target.endswith("[]")
    labels = catalog.enum_labels.get(target.removeprefix("enum:").removesuffix("[]"))
    if (
        name is None
        or not target.startswith("enum:")
        or is_array != operand.type.endswith("[]")
        or not labels
    ):
        return None
    return Call(name, (operand, Const(list(labels), "text[]")), target)


def limited(operand: Expr, length: int, *, cut: bool) -> Expr:
    """Return a text as one of a type with a length: cut by a cast, and an error in an assignment."""
    return Call(builtins.CUT if cut else builtins.FITTING, (operand, Const(length, "int")), "text")


def _narrowed(operand: Expr, bits: int) -> Expr:
    return Call(f"int{bits}", (operand,), "int")


def _converted(operand: Expr, target: Type) -> Expr:
    source = operand.type
    pair = (source, target)
    if source.endswith("[]") and target.endswith("[]"):
        pair = (source[:-2], target[:-2])
    if pair in _SAME_VALUE or (types.is_enum(pair[0]) and pair[1] == "text"):
        return retyped(operand, target)
    if (source, target) in builtins.CASTS:
        return Call(f"{source}::{target}", (operand,), target)
    raise CompileError(f"a cast of {types.plain(source)} to {types.plain(target)} is not supported in memory")


def retyped(operand: Expr, target: Type) -> Expr:
    """Return ``operand`` as a value of another type that is represented by the same value here."""
    match operand:
        case Const() | Uid() | Claims():
            return msgspec.structs.replace(operand, type=target)
        case ColumnRef() if types.decoder(operand.type) is None and types.decoder(target) is None:
            return msgspec.structs.replace(operand, type=target)
        case Case(branches=branches, otherwise=otherwise):
            results = tuple((condition, retyped(result, target)) for condition, result in branches)
            return Case(results, retyped(otherwise, target), target)
        case Coalesce(items=items):
            return Coalesce(tuple(retyped(item, target) for item in items), target)
        case _:
            return Call("same", (operand,), target)


def implicit(operand: Expr, target: Type, catalog: Catalog) -> Expr:
    """Return ``operand`` where Postgres expects ``target`` and converts without being asked.

    Raises:
        CompileError: Postgres does not, or not in a way that is known here.
    """
    if operand.type == target:
        return operand
    if isinstance(operand, Const) and (operand.type == "unknown" or operand.value is None):
        return Const(None, target) if operand.value is None else constant(operand.value, target, catalog)
    if (operand.type, target) in _IMPLICIT:
        return retyped(operand, target)
    raise CompileError(f"a value of type {types.plain(operand.type)} where {types.plain(target)} is expected")


def assigned(operand: Expr, target: Type, catalog: Catalog) -> Expr:
    """Return ``operand`` as the value of a variable, or as a function's result, of type ``target``.

    Raises:
        CompileError: the type is not known here, or the conversion is not.
    """
    if target.startswith("other:"):
        raise CompileError(f"a variable or result of type {types.plain(target)} is not supported in memory")
    return operand if operand.type == target else cast(operand, target, catalog)


def coalesced(items: list[Expr], catalog: Catalog) -> Expr:
    """Return ``coalesce(items)``."""
    kept: list[Expr] = []
    for item in items:
        if isinstance(item, Const) and item.value is None:
            continue
        kept.append(item)
        if isinstance(item, Const | Claims):
            break  # never NULL: what follows does not count
    if not kept:
        return items[0]
    if len(kept) > 1:
        kept = unify(kept, catalog)
    return kept[0] if len(kept) == 1 else Coalesce(tuple(kept), kept[0].type)


def unify(items: list[Expr], catalog: Catalog) -> list[Expr]:
    """Return the items of a comparison, CASE or COALESCE, literals in the type of the others."""
    known = [item.type for item in items if item.type != "unknown"]
    target = known[0] if known else "text"
    if "numeric" in known and "int" in known:
        target = "numeric"
    return [implicit(item, target, catalog) for item in items]


def number(text: str) -> Const:
    """Return a numeric literal: an integer that is too long for int4, or one with a fraction."""
    digits = text.replace("_", "").lower()
    if digits.isdecimal() or digits.startswith(("0x", "0o", "0b")):
        value = int(digits) if digits.isdecimal() else int(digits, 0)
        return Const(value, "int" if value < 2**63 else "numeric")
    return Const(Decimal(digits), "numeric")
