"""Types: what may be compared, and constants in the form of rows."""

import pytest

from bridge.authorization.catalog import Column
from bridge.authorization.types import (
    check_comparable,
    check_null_test,
    column_type,
    int_bits,
    named_type,
)
from bridge.errors import CompileError
from tests.support.catalogs import catalog, column


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
        (column("a", "numeric"), "numeric"),
        (Column("a", "uuid[]", "pg_catalog._uuid", "b"), "uuid[]"),
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
        (["timestamptz"], "timestamptz"),
        (["money"], "other:money"),
    ],
)
def test_a_cast_names_a_family_or_other(names: list[str], expected: str) -> None:
    """Without schema, or of pg_catalog, it is the built-in type."""
    assert named_type(names, catalog(enums=["mood"])) == expected


@pytest.mark.parametrize(("name", "bits"), [("int2", 16), ("integer", 32), ("bigint", 64), ("text", 64)])
def test_integers_have_a_width(name: str, bits: int) -> None:
    """A cast to a narrower one can fail in Postgres."""
    assert int_bits(["pg_catalog", name]) == bits


@pytest.mark.parametrize(
    ("op", "left", "right", "fine"),
    [
        ("=", "uuid", "uuid", True),
        ("<", "int", "int", True),
        ("<", "text", "text", False),
        (">=", "enum:public.mood", "enum:public.mood", False),
        ("=", "text", "uuid", False),
        ("=", "enum:a.x", "enum:b.x", False),
        ("=", "numeric", "int", True),
        ("=", "other:money", "other:money", False),
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
        ("timestamptz", True),
        ("jsonb", True),
        ("other:row a.b", False),
    ],
)
def test_null_is_tested_where_json_tells_it(of: str, fine: bool) -> None:  # noqa: FBT001
    """A row of NULLs is not told from NULL."""
    if fine:
        check_null_test(of)
    else:
        with pytest.raises(CompileError):
            check_null_test(of)
