"""Which Postgres types can be compared here with the same result as there.

The rule is to refuse what could differ: only types whose JSON text (as ``to_jsonb`` prints it) is
canonical, so that equal values are equal text and unequal ones are not.
"""

import uuid
from typing import Any

from bridge.authorization.algebra import Const, Type
from bridge.authorization.catalog import Column
from bridge.errors import CompileError

_FAMILIES: dict[str, Type] = {
    "uuid": "uuid",
    "text": "text",
    "varchar": "text",
    "bool": "bool",
    "int2": "int",
    "int4": "int",
    "int8": "int",
    # The names that format_type and the parser use for the same types.
    "boolean": "bool",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "character varying": "text",
}

_INT_BITS = {"int2": 16, "smallint": 16, "int4": 32, "integer": 32, "int8": 64, "bigint": 64}

ORDERED: frozenset[Type] = frozenset({"int"})
"""Types that may also be compared with <, <=, > and >=: text order depends on the collation."""


_OTHER_NULLS = frozenset(
    f"other:pg_catalog.{name}" for name in ("json", "jsonb", "numeric", "float4", "float8")
)
"""Types of which a value that is not NULL has the JSON null: ``'null'::jsonb``, NaN as Realtime sends it."""


def column_type(column: Column) -> Type:
    """Return the family of a column's type."""
    schema, _, name = column.base_type.rpartition(".")
    if column.typtype == "c":
        return f"other:row {column.base_type}"
    if column.typtype == "e":
        return f"enum:{column.base_type}"
    if schema != "pg_catalog":
        return f"other:{column.base_type}"
    family = _FAMILIES.get(name)
    if family is None:
        return f"other:{column.base_type}"
    # A nondeterministic collation (always one that somebody created) calls different texts equal.
    if family == "text" and not (column.collation or "pg_catalog.default").startswith("pg_catalog."):
        return f"other:{column.base_type} collate {column.collation}"
    return family


def named_type(names: list[str], *, enums: frozenset[str]) -> Type:
    """Return the family of a type that a cast names, for example ``["pg_catalog", "int4"]``."""
    *schema, name = names
    if schema in ([], ["pg_catalog"]):
        return _FAMILIES.get(name, f"other:{name}")
    qualified = ".".join(names)
    return f"enum:{qualified}" if qualified in enums else f"other:{qualified}"


def int_bits(names: list[str]) -> int:
    """Return the width of the integer type that a cast names; 64 if it is none."""
    return _INT_BITS.get(names[-1], 64)


def constant(text: str, type_: Type) -> Const:
    """Return the constant ``'text'::type_`` in the form in which rows hold such values.

    Raises:
        CompileError: the text is not a value of a type that can be compared here.
    """
    try:
        value: Any
        match type_:
            case "text":
                value = text
            case "uuid":
                value = str(uuid.UUID(text))
            case "int":
                value = int(text)
            case "bool":
                value = {"t": True, "true": True, "f": False, "false": False}[text.strip().lower()]
            case _ if type_.startswith("enum:"):
                value = text
            case _:
                raise CompileError(
                    f"a constant of type {type_.partition(':')[2]} cannot be compared in memory"
                )
    except (ValueError, KeyError) as error:
        raise CompileError(f"a constant is no value of its type {type_}") from error
    return Const(value, type_)


def check_comparable(op: str, left: Type, right: Type) -> None:
    """Refuse a comparison whose result could differ from Postgres's.

    Raises:
        CompileError: the types are of different families or of none that is known.
    """
    if left != right:
        raise CompileError(f"comparison of {left} with {right} is not known to be the built-in one")
    if left.startswith("other:"):
        raise CompileError(f"values of type {left.partition(':')[2]} cannot be compared in memory")
    if op not in ("=", "<>") and left not in ORDERED:
        raise CompileError(f"the order of {left} values depends on the database")


def check_null_test(operand: Type) -> None:
    """Refuse IS NULL where a row's JSON does not tell it.

    Raises:
        CompileError: a value of this type can look like NULL, or (a row of NULLs) is it without looking so.
    """
    if operand in _OTHER_NULLS or operand.startswith("other:row "):
        raise CompileError(
            f"IS NULL of a value of type {operand.partition(':')[2]} is not supported in memory"
        )
