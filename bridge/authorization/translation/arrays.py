"""Arrays that are put together, split from texts, and asked for one element."""

from bridge.authorization import builtins, types
from bridge.authorization.algebra import ArrayOf, Call, Case, Coalesce, Const, Expr, Rows
from bridge.authorization.catalog import Catalog
from bridge.authorization.translation import coercion
from bridge.authorization.translation.context import Node, Translating, open_node
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError


def concatenated(left: Expr, right: Expr, catalog: Catalog) -> Expr | None:
    """Return ``left || right`` of an array and another one, or an element; None if none is an array.

    NULL is no element of an array that is put before or after it: it is left out.

    Raises:
        CompileError: the other one is of another type.
    """
    array_type = next((e.type for e in (left, right) if _is_array(e.type)), None)
    if array_type is None:
        return None
    parts = [_part(side, array_type, catalog) for side in (left, right)]
    both = Call(builtins.CONCATENATED, tuple(parts), array_type)
    if all(_never_null(part) for part in parts):
        return both
    return Coalesce((both, *parts), array_type)


def _part(side: Expr, array_type: str, catalog: Catalog) -> Expr:
    element = types.element_of(array_type)
    if side.type == element:
        return ArrayOf((side,), array_type)
    return coercion.implicit(side, array_type, catalog)


def subscripted(t: Translating, fields: Node, names: Names) -> Expr:
    """``array[position]`` and ``array[first:last]``.

    Raises:
        CompileError: it is a slice without an end, a jsonb value, or an array whose first position need not
            be 1: a column's JSON does not tell.
    """
    if len(fields["indirection"]) != 1:
        raise CompileError("several subscripts are not supported in memory")
    kind, indices = open_node(fields["indirection"][0])
    bounds = [indices[bound] for bound in ("lidx", "uidx") if bound in indices]
    if kind != "A_Indices" or len(bounds) != (2 if indices.get("is_slice") else 1):
        raise CompileError("this subscript is not supported in memory")
    array = t.value(fields["arg"], names)
    element = types.element_of(array.type)
    positions = [coercion.implicit(t.value(bound, names), "int", t.context.catalog) for bound in bounds]
    if not _starts_at_one(array):
        raise CompileError(
            "a subscript of an array whose first position is not known is not supported in memory"
        )
    if len(positions) > 1:
        return Call(builtins.PART, (array, *positions), array.type)
    return Call(builtins.SUBSCRIPT, (array, *positions), element)


def split(arguments: list[Expr], catalog: Catalog) -> Expr | None:
    """``string_to_array(text, separator)`` with a constant separator; None for another."""
    match arguments:
        case [text, Const(value=str()) as separator]:
            given = (coercion.implicit(text, "text", catalog), coercion.implicit(separator, "text", catalog))
            return Call(builtins.SPLIT, given, "text[]")
        case _:
            return None


def _is_array(type_: str) -> bool:
    return type_.endswith("[]") and not type_.startswith("other:")


def _never_null(expr: Expr) -> bool:
    match expr:
        case ArrayOf() | Rows(kind="array"):
            return True
        case Const(value=value):
            return value is not None
        case Coalesce(items=items):
            return any(map(_never_null, items))
        case _:
            return False


def _starts_at_one(expr: Expr) -> bool:
    """True if the array was made in the query, from which its elements count from 1."""
    match expr:
        case ArrayOf() | Rows(kind="array" | "array_agg") | Const():
            return True
        case Call(name=builtins.SPLIT | builtins.PART):
            return True
        case Call(name="same" | builtins.CONCATENATED, args=args):
            return all(map(_starts_at_one, args))
        case Call(name=name, args=(array,)) if name.endswith("[]"):  # a cast
            return _starts_at_one(array)
        case Coalesce(items=items):
            return all(map(_starts_at_one, items))
        case Case(branches=branches, otherwise=otherwise):
            return _starts_at_one(otherwise) and all(_starts_at_one(result) for _, result in branches)
        case _:
            return False
