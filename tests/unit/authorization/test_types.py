"""Types: what may be compared, and constants in the form of rows."""

import pytest

from bridge.authorization.algebra import Const
from bridge.authorization.catalog import Column
from bridge.authorization.types import (
    check_comparable,
    check_null_test,
    column_type,
    constant,
    int_bits,
    named_type,
)
from bridge.errors import CompileError
from tests.support.catalogs import column


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (column("a", "uuid"), "uuid"),
        (column("a", "text", collation="pg_catalog.default"), "text"),
        (column("a", "varchar", collation="pg_catalog.C"), "text"),
        (column("a", "bigint"), "int"),
        (column("a", "smallint"), "int"),
        (column("a", "boolean"), "bool"),
        (column("a", "public.mood"), "enum:public.mood"),
        (Column("a", "public.email", "pg_catalog.text", "b"), "text"),
        (column("a", "bpchar"), "other:pg_catalog.bpchar"),
        (column("a", "numeric"), "other:pg_catalog.numeric"),
        (column("a", "extensions.citext", typtype="x"), "other:extensions.citext"),
        (column("a", "public.place", typtype="c"), "other:row public.place"),
        (column("a", "text", collation="public.nocase"), "other:pg_catalog.text collate public.nocase"),
    ],
)
def test_a_column_has_a_family_or_is_other(of: Column, expected: str) -> None:
    """A type of somebody's own, or a collation, may call different values equal."""
    assert column_type(of) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pg_catalog", "int4"], "int"),
        (["text"], "text"),
        (["public", "mood"], "enum:public.mood"),
        (["public", "text"], "other:public.text"),
        (["timestamptz"], "other:timestamptz"),
    ],
)
def test_a_cast_names_a_family_or_other(names: list[str], expected: str) -> None:
    """Without schema, or of pg_catalog, it is the built-in type."""
    assert named_type(names, enums=frozenset({"public.mood"})) == expected


@pytest.mark.parametrize(("name", "bits"), [("int2", 16), ("integer", 32), ("bigint", 64), ("text", 64)])
def test_integers_have_a_width(name: str, bits: int) -> None:
    """A cast to a narrower one can fail in Postgres."""
    assert int_bits(["pg_catalog", name]) == bits


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("a b", "text", "a b"),
        ("{00000000-0000-0000-0000-00000000000A}", "uuid", "00000000-0000-0000-0000-00000000000a"),
        (" -7 ", "int", -7),
        ("t", "bool", True),
        (" False ", "bool", False),
        ("sad", "enum:public.mood", "sad"),
    ],
)
def test_a_constant_has_the_form_of_rows(text: str, type_: str, value: object) -> None:
    """As to_jsonb prints such values."""
    assert constant(text, type_) == Const(value, type_)


@pytest.mark.parametrize(
    ("text", "type_"), [("x", "uuid"), ("1.5", "int"), ("maybe", "bool"), ("1", "other:numeric")]
)
def test_a_constant_that_is_none_is_refused(text: str, type_: str) -> None:
    """Rather than a guess."""
    with pytest.raises(CompileError):
        constant(text, type_)


@pytest.mark.parametrize(
    ("op", "left", "right", "fine"),
    [
        ("=", "uuid", "uuid", True),
        ("<", "int", "int", True),
        ("<", "text", "text", False),
        (">=", "enum:public.mood", "enum:public.mood", False),
        ("=", "text", "uuid", False),
        ("=", "enum:a.x", "enum:b.x", False),
        ("=", "other:numeric", "other:numeric", False),
    ],
)
def test_only_what_compares_alike_may_be_compared(op: str, left: str, right: str, fine: bool) -> None:  # noqa: FBT001
    """Of one known family, and in order only where the database does not decide it."""
    if fine:
        check_comparable(op, left, right)
    else:
        with pytest.raises(CompileError):
            check_comparable(op, left, right)


@pytest.mark.parametrize(
    ("of", "fine"),
    [
        ("text", True),
        ("other:pg_catalog.timestamptz", True),
        ("other:pg_catalog.json", False),
        ("other:row a.b", False),
    ],
)
def test_null_is_tested_where_json_tells_it(of: str, fine: bool) -> None:  # noqa: FBT001
    """JSON null of json, and a row of NULLs, are not told from NULL."""
    if fine:
        check_null_test(of)
    else:
        with pytest.raises(CompileError):
            check_null_test(of)
