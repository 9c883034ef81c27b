"""Built-ins: what is answered here, and what is left to Postgres; tests/oracle/test_builtins.py compares all of them."""

from typing import Any

import pytest

from bridge.authorization import builtins
from bridge.authorization.undecided import UndecidedError


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("jsonb -> int", ("a", 0), "a"),
        ("json -> int", ("a", 0), None),
        ("jsonb ->> text", ({"a": True}, "a"), "true"),
        ("jsonb #>> text[]", ({"a": [1]}, ["a", "0"]), "1"),
        ("jsonb ?| text[]", (["a"], [None, "a"]), True),
        ("jsonb ?& text[]", ({}, []), True),
        ("jsonb <@ jsonb", ([1], [1, 2]), True),
        ("text || text", ("a", ""), "a"),
        ("text !~~ text", ("ab", "a_"), False),
        ("text !~~* text", ("AB", "a%"), False),
        ("int + int", (32766, 1), 32767),
        ("array <@", ([1], [1, 2]), True),
        ("array &&", ([None], [None]), False),
        ("lower(text)", ("AB",), "ab"),
        ("btrim(text)", (" a\t ",), "a\t"),
        ("length(text)", ("é😀",), 2),
        ("split_part(text, text, int)", ("a,b", ",", 2), "b"),
        ("split_part(text, text, int)", ("a,b", ",", 3), ""),
        ("strpos(text, text)", ("ab", "b"), 2),
        ("strpos(text, text)", ("ab", ""), 1),
        ("replace(text, text, text)", ("ab", "", "x"), "ab"),
        ("cardinality(array)", ([None],), 1),
        ("array_length(array)", ([], 1), None),
        ("jsonb_array_elements_text(jsonb)", ([1, None, "a"],), ["1", None, "a"]),
        ("bool::text", (False,), "false"),
        ("text[]::uuid[]", ([None],), [None]),
        ("int16", (-32768,), -32768),
    ],
)
def test_what_is_answered(name: str, arguments: tuple[Any, ...], answer: object) -> None:
    """As Postgres does."""
    found = builtins.run(name).run(*arguments)

    assert (found, type(found)) == (answer, type(answer))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("int + int", (32767, 1)),
        ("int - int", (-32768, 1)),
        ("lower(text)", ("É",)),
        ("text ~~* text", ("K", "\u212a")),
        ("text ~~ text", ("a", "a\\")),
        ("split_part(text, text, int)", ("a", ",", -1)),
        ("split_part(text, text, int)", ("a", "", 1)),
        ("array_length(array)", ([1], 2)),
        ("jsonb_array_elements_text(jsonb)", ({},)),
    ],
)
def test_what_is_left_to_postgres(name: str, arguments: tuple[Any, ...]) -> None:
    """What depends on the locale, on how a value was written, or may be an error there."""
    with pytest.raises(UndecidedError):
        builtins.run(name).run(*arguments)


def test_every_builtin_has_one_name() -> None:
    """By which an expression refers to it."""
    tables = (
        builtins.OPERATORS,
        builtins.ARRAY_OPERATORS,
        builtins.FUNCTIONS,
        builtins.ARRAY_FUNCTIONS,
        builtins.CASTS,
        builtins.ELEMENTS,
    )

    assert len(builtins._BY_NAME) == sum(map(len, tables)) + 16
