"""Coercion: constants in the form of values."""

import contextlib
import itertools

import msgspec
import pytest

from bridge.authorization.algebra import ColumnRef, Const
from bridge.authorization.catalog import NamedType
from bridge.authorization.translation.coercion import cast, constant
from bridge.errors import CompileError
from tests.support.catalogs import catalog


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("a b", "text", "a b"),
        ("00000000-0000-0000-0000-00000000000A", "uuid", "00000000-0000-0000-0000-00000000000a"),
        (" -7 ", "int", -7),
        ("t", "bool", True),
        (" False ", "bool", False),
        ("sad", "enum:public.mood", "sad"),
    ],
)
def test_a_constant_has_the_form_of_rows(text: str, type_: str, value: object) -> None:
    """As to_jsonb prints such values."""
    assert constant(text, type_, catalog(enums=["mood"])) == Const(value, type_)


@pytest.mark.parametrize(
    ("text", "type_"),
    [("x", "uuid"), ("1.5", "int"), ("maybe", "bool"), ("1", "other:money"), ("n" * 64, "name")],
)
def test_a_constant_that_is_none_is_refused(text: str, type_: str) -> None:
    """Rather than a guess."""
    with pytest.raises(CompileError):
        constant(text, type_, catalog(enums=["mood"]))


_FAMILIES = ("uuid", "text", "int", "numeric", "bool", "timestamptz", "timestamp", "date", "interval")
_FAMILIES += ("enum:public.mood", "jsonb", "json", "name")


def test_casts_are_those_of_the_documentation() -> None:
    """docs/policies.md says which of a column or a computed value are decided in memory; no other is."""
    mood = NamedType("public", "mood", "e", ("sad", "ok"))
    database = msgspec.structs.replace(catalog(), types=(mood,))
    found: dict[str, set[str]] = {}
    for source, target in itertools.permutations((*_FAMILIES, *(f"{name}[]" for name in _FAMILIES)), 2):
        with contextlib.suppress(CompileError):
            cast(ColumnRef(0, "c", source), target, database)
            found.setdefault(source, set()).add(target)
    assert found == {
        "uuid": {"text"},
        "text": {"uuid", "int", "bool", "enum:public.mood"},
        "int": {"text", "numeric"},
        "bool": {"text"},
        "enum:public.mood": {"text"},
        "name": {"text"},
        "jsonb": {"int", "bool", "json"},
        "json": {"jsonb"},
        "timestamptz": {"date"},
        "timestamp": {"date"},
        "uuid[]": {"text[]"},
        "text[]": {"uuid[]", "enum:public.mood[]"},
        "int[]": {"numeric[]"},
        "enum:public.mood[]": {"text[]"},
        "name[]": {"text[]"},
        "jsonb[]": {"json[]"},
        "json[]": {"jsonb[]"},
    }
