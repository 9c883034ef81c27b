"""Which Postgres types have values here that mean the same as there.

The rule is to refuse what could differ.  A row's JSON (as ``to_jsonb`` prints it) is turned into the
value that expressions use by :func:`decoder`; what it cannot represent raises UndecidedError.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from bridge.authorization import arrays, jsonb, temporal
from bridge.authorization.algebra import Type
from bridge.authorization.catalog import Catalog, Column
from bridge.authorization.undecided import UndecidedError
from bridge.errors import CompileError

_FAMILIES: dict[str, Type] = {
    "uuid": "uuid",
    "text": "text",
    "varchar": "text",
    "bool": "bool",
    "int2": "int",
    "int4": "int",
    "int8": "int",
    "numeric": "numeric",
    "timestamptz": "timestamptz",
    "timestamp": "timestamp",
    "date": "date",
    "interval": "interval",
    "jsonb": "jsonb",
    "json": "json",
    "name": "name",
    # The names that format_type and the parser use for the same types.
    "boolean": "bool",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "decimal": "numeric",
    "character varying": "text",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}

_INT_BITS = {"int2": 16, "smallint": 16, "int4": 32, "integer": 32, "int8": 64, "bigint": 64}

INDEXED: frozenset[Type] = frozenset({"uuid", "text", "int", "bool"})
"""Types whose JSON is canonical, as that of enums: equal values are equal JSON, so rows are found."""

ORDERED: frozenset[Type] = frozenset(
    {"int", "numeric", "uuid", "bool", "timestamptz", "timestamp", "date", "interval"}
)
"""Types that may also be compared with <, <=, > and >=: text order depends on the collation."""

_NO_COLUMNS = frozenset({"json", "interval", "name"})
"""Types of which a column's JSON does not tell the value: json keeps keys twice, an interval its style."""


def is_enum(type_: Type) -> bool:
    """True if it is an enum, and no array of one."""
    return type_.startswith("enum:") and not type_.endswith("[]")


def is_indexed(type_: Type) -> bool:
    """True if rows can be found by the JSON of a value of this type."""
    return type_ in INDEXED or is_enum(type_)


def is_hashable(type_: Type) -> bool:
    """True if equal values of this type are equal in Python, and can be found in a dictionary."""
    return is_indexed(type_) or type_ in ("name", "numeric", "timestamptz", "timestamp", "date")


def column_type(column: Column) -> Type:
    """Return the family of a column's type."""
    schema, _, name = column.base_type.rpartition(".")
    if column.typtype == "c":
        return f"other:row {column.base_type}"
    if column.typtype == "e":
        return f"enum:{column.base_type}"
    if column.enum_elements is not None:
        return f"enum:{column.enum_elements}[]"
    is_array = name.startswith("_")
    if schema != "pg_catalog":
        return f"other:{column.base_type}"
    family = _FAMILIES.get(name.removeprefix("_"))
    if family is None or family in _NO_COLUMNS:
        return f"other:{column.base_type}"
    # A nondeterministic collation (always one that somebody created) calls different texts equal.
    if family == "text" and not (column.collation or "pg_catalog.default").startswith("pg_catalog."):
        return f"other:{column.base_type} collate {column.collation}"
    if is_array and family == "jsonb":  # whose elements may be JSON arrays, or the JSON null
        return f"other:{column.base_type}"
    return f"{family}[]" if is_array else family


def named_type(names: list[str], catalog: Catalog, path: tuple[str, ...] = ()) -> Type:
    """Return the family of a type by name, for example ``["pg_catalog", "int4"]``.

    Args:
        names: Schema, if it is written, and name.
        catalog: Knows the enums.
        path: Schemas in which an unqualified name is looked for.
    """
    *schema, name = names
    if name.endswith("[]"):
        element = named_type([*schema, name[:-2]], catalog, path)
        return f"{element}[]"
    if schema in ([], ["pg_catalog"]) and name in _FAMILIES:
        return _FAMILIES[name]
    for qualified in [".".join(names)] if schema else [f"{s}.{name}" for s in path]:
        if qualified in catalog.enums:
            return f"enum:{qualified}"
    return f"other:{'.'.join(names)}"


def type_of_text(text: str, catalog: Catalog, path: tuple[str, ...] = ()) -> Type:
    """Return the family of a type as ``format_type`` prints it: ``varchar(20)``, ``public.mood[]``."""
    is_array = text.endswith("[]")
    base = text.removesuffix("[]").partition("(")[0].strip()
    if text.startswith("timestamp("):
        base = "timestamp with time zone" if text.endswith("with time zone") else "timestamp"
    names = [part.strip('"') for part in base.split(".")]
    family = named_type(names, catalog, path)
    return f"{family}[]" if is_array else family


def int_bits(names: list[str]) -> int:
    """Return the width of the integer type that a cast names; 64 if it is none."""
    return _INT_BITS.get(names[-1].removesuffix("[]"), 64)


def element_of(type_: Type) -> Type:
    """Return the type of an array's elements.

    Raises:
        CompileError: it is no array of a known type.
    """
    if not type_.endswith("[]") or type_.startswith("other:"):
        raise CompileError(f"a value of type {plain(type_)} is not an array that is supported in memory")
    return type_[:-2]


def plain(type_: Type) -> str:
    """Return the type's name for people."""
    return type_.partition(":")[2] if ":" in type_ else type_


def decoder(type_: Type) -> Callable[[Any], Any] | None:
    """Return what turns the JSON of a column into a value; None where it is the value already."""
    match type_:
        case "numeric":
            return _numeric
        case "timestamptz":
            return temporal.timestamptz
        case "timestamp":
            return temporal.timestamp
        case "date":
            return temporal.date
        case _ if type_.endswith("[]") and not type_.startswith("other:"):
            return _array(decoder(type_[:-2]))
        case _:
            return None


def _numeric(value: Any) -> Decimal:
    # A float of more than 15 digits may have lost some on its way.
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise UndecidedError("a numeric is not a number that JSON has") from None
    if number.is_nan():  # which equals itself in Postgres, and nothing in Python
        raise UndecidedError("a numeric is NaN")
    if isinstance(value, float) and len(number.as_tuple().digits) > 15:  # noqa: PLR2004 - digits a float holds
        raise UndecidedError("a numeric has more digits than its JSON tells")
    return number


def _array(element: Callable[[Any], Any] | None) -> Callable[[Any], list[Any]]:
    def decode(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise UndecidedError("an array's JSON is no list")
        # ANY looks at every element of every dimension.
        flat: list[Any] = arrays.Flattened() if any(isinstance(item, list) for item in value) else []
        for item in value:
            if isinstance(item, list):
                flat += decode(item)
            else:
                flat.append(item if element is None or item is None else element(item))
        return flat

    return decode


def check_comparable(op: str, left: Type, right: Type) -> None:
    """Refuse a comparison whose result could differ from Postgres's.

    Raises:
        CompileError: the types are of different families or of none that is known.
    """
    if left != right and {left, right} not in ({"int", "numeric"}, {"text", "name"}):
        raise CompileError(f"comparison of {plain(left)} with {plain(right)} is not supported in memory")
    if left.startswith("other:") or left.endswith("[]") or left in ("json", "unknown"):
        raise CompileError(f"values of type {plain(left)} cannot be compared in memory")
    if op not in ("=", "<>") and left not in ORDERED:
        raise CompileError(f"the order of {plain(left)} values depends on the database")


def hides_null(type_: Type) -> bool:
    """True if a column of this type may hold the JSON null, which reads as NULL in a row's JSON."""
    return type_ in ("jsonb", "json", "other:pg_catalog.json")


def check_null_test(operand: Type) -> None:
    """Refuse IS NULL where a value tells it in another way: a row is NULL if all of its columns are.

    Raises:
        CompileError: it is a row.
    """
    if operand.startswith("other:row "):
        raise CompileError(f"IS NULL of a value of type {plain(operand)} is not supported in memory")


def comparison_key(type_: Type) -> Callable[[Any], Any] | None:
    """Return what makes Python's comparison that of the type; None where it is already."""
    return {"jsonb": jsonb.canonical, "interval": temporal.span_us}.get(type_)
