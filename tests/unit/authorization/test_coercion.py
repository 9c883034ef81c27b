"""Coercion: constants in the form of values."""

import pytest

from bridge.authorization.algebra import Const
from bridge.authorization.translation.coercion import constant
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
    ("text", "type_"), [("x", "uuid"), ("1.5", "int"), ("maybe", "bool"), ("1", "other:money")]
)
def test_a_constant_that_is_none_is_refused(text: str, type_: str) -> None:
    """Rather than a guess."""
    with pytest.raises(CompileError):
        constant(text, type_, catalog(enums=["mood"]))
