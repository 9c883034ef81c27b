"""Operators: comparisons, arrays, and the built-in ones of ``builtins.py``."""

from bridge.authorization import builtins, types
from bridge.authorization.algebra import AnyOf, Call, Case, Compare, Const, Expr, IsNull, Not, Operator, Or
from bridge.authorization.catalog import Catalog
from bridge.authorization.expressions import all_of, any_of, compare, never_fails
from bridge.authorization.translation import arrays, coercion, enums
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

COMPARISONS: dict[str, Operator] = {
    "=": "=",
    "<>": "<>",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}


def translate(t: Translating, fields: Node, names: Names) -> Expr:
    """Translate an operator expression.

    Raises:
        CompileError: the operator, or its operands' types, are not supported.
    """
    name = ".".join(strings(fields["name"])).removeprefix("pg_catalog.")
    catalog = t.context.catalog
    match fields["kind"]:
        case "AEXPR_OP":
            if "lexpr" not in fields:
                return _sign(name, t.value(fields["rexpr"], names))
            return binary(name, t.value(fields["lexpr"], names), t.value(fields["rexpr"], names), catalog)
        case "AEXPR_IN":
            left = t.value(fields["lexpr"], names)
            items = [t.value(item, names) for item in fields["rexpr"]["List"]["items"]]
            found = any_of([comparison("=", left, item, catalog) for item in items])
            return found if name == "=" else Not(found)
        case "AEXPR_OP_ANY" if name == "=":
            return _any(t, fields, names)
        case "AEXPR_OP_ANY" | "AEXPR_OP_ALL" if name in ("~~", "~~*", "!~~", "!~~*", "<>"):
            return _each(t, name, fields, names)
        case "AEXPR_NULLIF":
            left, right = (t.value(fields[side], names) for side in ("lexpr", "rexpr"))
            if left.type == "claims" or (isinstance(left, Const) and left.value is None):
                return left  # nullif(current_setting('request.jwt.claims', true), '')
            equal = comparison("=", left, right, catalog)
            kept = coercion.implicit(left, "text", catalog) if left.type == "unknown" else left
            return Case(((equal, Const(None, kept.type)),), kept, kept.type)
        case "AEXPR_DISTINCT" | "AEXPR_NOT_DISTINCT":
            left, right = coercion.unify(
                [t.value(fields[side], names) for side in ("lexpr", "rexpr")], catalog
            )
            types.check_null_test(left.type)
            distinct = _distinct(left, right, catalog)
            return distinct if fields["kind"] == "AEXPR_DISTINCT" else Not(distinct)
        case "AEXPR_LIKE" | "AEXPR_ILIKE":
            return binary(name, t.value(fields["lexpr"], names), t.value(fields["rexpr"], names), catalog)
        case "AEXPR_BETWEEN" | "AEXPR_NOT_BETWEEN":
            operand = t.value(fields["lexpr"], names)
            low, high = (t.value(item, names) for item in fields["rexpr"]["List"]["items"])
            inside = all_of(
                [comparison(">=", operand, low, catalog), comparison("<=", operand, high, catalog)]
            )
            return inside if fields["kind"] == "AEXPR_BETWEEN" else Not(inside)
        case kind:
            raise CompileError(f"{kind} with {name} is not supported in memory")


def comparison(operator: Operator, left: Expr, right: Expr, catalog: Catalog) -> Compare:
    """Return ``left operator right``, literals in the type of the other side.

    Raises:
        CompileError: values of these types are not known to compare as in Postgres.
    """
    left, right = coercion.unify([left, right], catalog)
    if operator not in ("=", "<>") and left.type == right.type and types.is_enum(left.type):
        left, right = enums.rank(left, catalog), enums.rank(right, catalog)
    types.check_comparable(operator, left.type, right.type)
    return compare(operator, left, right)


def binary(name: str, left: Expr, right: Expr, catalog: Catalog) -> Expr:
    """Return a binary operator's expression.

    Raises:
        CompileError: there is no such operator for these types here.
    """
    if name in COMPARISONS:
        return comparison(COMPARISONS[name], left, right, catalog)
    if left.type == "unknown" and right.type == "unknown":
        left = coercion.implicit(left, "text", catalog)
    joined = arrays.concatenated(left, right, catalog) if name == "||" else None
    if joined is not None:
        return joined
    left, right = _literals(name, left, right, catalog)
    for operand_types in ((left.type, right.type), ("text", "text")):
        builtin = builtins.OPERATORS.get((name, *operand_types))
        if (
            builtin is not None
            and _convertible(left.type, operand_types[0])
            and _convertible(right.type, operand_types[1])
        ):
            _check_zone(name, left, right, catalog)
            return Call(f"{operand_types[0]} {name} {operand_types[1]}", (left, right), builtin.returns)
    if name in builtins.ARRAY_OPERATORS and left.type == right.type and left.type.endswith("[]"):
        element = types.element_of(left.type)
        types.check_comparable("=", element, element)
        if types.comparison_key(element) is not None:
            raise CompileError(
                f"operator {name} of arrays of {types.plain(element)} is not supported in memory"
            )
        return Call(f"array {name}", (left, right), "bool")
    raise CompileError(
        f"operator {name} of {types.plain(left.type)} and {types.plain(right.type)} "
        "is not supported in memory"
    )


def _check_zone(name: str, left: Expr, right: Expr, catalog: Catalog) -> None:
    """Refuse days and months that begin when they do in the session's time zone.

    Raises:
        CompileError: they do, and that is not UTC.
    """
    if left.type != "timestamptz" or right.type not in ("timestamptz", "interval") or catalog.in_utc:
        return
    if (
        right.type == "interval"
        and isinstance(right, Const)
        and (right.value is None or right.value[:2] == (0, 0))
    ):
        return
    raise CompileError(f"operator {name} of timestamptz depends on the time zone {catalog.timezone}")


def _convertible(source: str, target: str) -> bool:
    return source == target or (source, target) == ("name", "text")


def _literals(name: str, left: Expr, right: Expr, catalog: Catalog) -> tuple[Expr, Expr]:
    """Give literals the type that the operator has on that side."""
    if right.type == "unknown":
        wanted = next(
            (
                second
                for (operator, first, second) in builtins.OPERATORS
                if operator == name and first == left.type
            ),
            left.type,
        )
        if name in ("->", "->>"):
            wanted = "text"
        right = coercion.implicit(right, wanted, catalog)
    if left.type == "unknown":
        left = coercion.implicit(left, right.type, catalog)
    return left, right


def _sign(name: str, operand: Expr) -> Expr:
    if name == "-" and isinstance(operand, Const) and operand.type in ("int", "numeric"):
        return Const(-operand.value, operand.type)
    raise CompileError(f"operator {name} before a value is not supported in memory")


def _distinct(left: Expr, right: Expr, catalog: Catalog) -> Expr:
    """``left IS DISTINCT FROM right``: never NULL."""
    different = comparison("<>", left, right, catalog)
    one_null = Or((all_of([IsNull(left), Not(IsNull(right))]), all_of([Not(IsNull(left)), IsNull(right)])))
    both = all_of([Not(IsNull(left)), Not(IsNull(right)), different])
    return Or((one_null, both))


def _any(t: Translating, fields: Node, names: Names) -> Expr:
    """Translate ``left = ANY (array)``."""
    catalog = t.context.catalog
    left = t.value(fields["lexpr"], names)
    items = _written_elements(fields["rexpr"])
    if items is not None:
        elements = [t.value(item, names) for item in items]
        if all(never_fails(element) and not _is_null(element) for element in elements):
            return any_of([comparison("=", left, element, catalog) for element in elements])
    return any_element(left, t.value(fields["rexpr"], names), catalog)


def any_element(left: Expr, array: Expr, catalog: Catalog) -> Expr:
    """Return ``left = ANY (array)``.

    Raises:
        CompileError: it is no array of a type that can be compared with ``left``.
    """
    if array.type == "unknown":
        array = coercion.implicit(array, f"{left.type}[]", catalog)
    element = types.element_of(array.type)
    left = coercion.implicit(left, element, catalog)
    types.check_comparable("=", left.type, element)
    if isinstance(array, Const) and array.value is not None and None not in array.value:
        return any_of([compare("=", left, Const(item, element)) for item in array.value])
    return AnyOf(left, array)


def _written_elements(node: Node) -> list[Node] | None:
    """Return the elements of ``ARRAY[...]``, or of ``(ARRAY[...])::text[]`` as varchar columns get it."""
    kind, fields = open_node(node)
    if kind == "A_ArrayExpr":
        return list(fields.get("elements", []))
    if kind == "TypeCast" and fields["typeName"].get("arrayBounds") and not fields["typeName"].get("typmods"):
        elements = _written_elements(fields["arg"])
        if elements is not None:
            element_type = {**fields["typeName"], "arrayBounds": []}
            return [{"TypeCast": {"arg": element, "typeName": element_type}} for element in elements]
    return None


def _is_null(element: Expr) -> bool:
    """True if it is NULL: to Postgres a comparison with it is a constant, with an array that has it none."""
    return isinstance(element, Const) and element.value is None


def _each(t: Translating, name: str, fields: Node, names: Names) -> Expr:
    """``left op ANY|ALL (ARRAY[...])`` for written arrays; ``<> ALL (array)`` for every array."""
    catalog = t.context.catalog
    left = t.value(fields["lexpr"], names)
    items = _written_elements(fields["rexpr"])
    is_all = fields["kind"] == "AEXPR_OP_ALL"
    elements = None if items is None else [t.value(item, names) for item in items]
    if elements is None or any(map(_is_null, elements)):
        if name != "<>" or not is_all:
            raise CompileError(
                f"{name} with an array that is not written out, or has a NULL, is not supported in memory"
            )
        return Not(_any(t, fields, names))
    if not all(map(never_fails, elements)):
        raise CompileError(f"{name} with an array whose elements may fail is not supported in memory")
    parts = [binary(name, left, element, catalog) for element in elements]
    return all_of(parts) if is_all else any_of(parts)
