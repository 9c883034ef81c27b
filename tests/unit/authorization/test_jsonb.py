"""jsonb: navigation, containment, equality."""

from decimal import Decimal
from typing import Any

import pytest

from bridge.authorization import jsonb
from bridge.authorization.jsonb import JSON_NULL
from bridge.authorization.undecided import UndecidedError


@pytest.mark.parametrize(
    ("value", "name", "found"),
    [
        ({"a": 1}, "a", 1),
        ({"a": None}, "a", JSON_NULL),
        ({"a": 1}, "b", None),
        ({"": 1}, "", 1),
        (["a"], "0", None),
        ("a", "a", None),
        (JSON_NULL, "a", None),
    ],
)
def test_a_field(value: Any, name: str, found: object) -> None:
    """Of an object; the JSON null in it is not NULL."""
    assert jsonb.field(value, name) is found or jsonb.field(value, name) == found


@pytest.mark.parametrize(
    ("value", "position", "json", "of_jsonb"),
    [
        ([1, None], 1, JSON_NULL, JSON_NULL),
        ([1, 2], -1, 2, 2),
        ([1, 2], -3, None, None),
        ([], 0, None, None),
        ({"0": 1}, 0, None, None),
        ("a", 0, None, "a"),
        ("a", 1, None, None),
        (JSON_NULL, -1, None, JSON_NULL),
    ],
)
def test_an_element(value: Any, position: int, json: object, of_jsonb: object) -> None:
    """Of an array; for jsonb a scalar is an array of itself."""
    assert jsonb.element(value, position) == json
    assert jsonb.element_or_scalar(value, position) == of_jsonb


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ([], {"a": [1, {"b": None}], "1": "x"}),
        (["a", "0"], 1),
        (["a", " +1", "b"], JSON_NULL),
        (["a", "-2"], 1),
        (["1"], "x"),
        (["a", "0 "], None),
        (["a", "1_0"], None),
        (["a", "\uff10"], None),
        (["a", ""], None),
        (["a", "99999999999999999999"], None),
        (["a", None], None),
        ([None], None),
        (["a", "0", "0"], None),
    ],
)
def test_a_path(path: list[str | None], found: object) -> None:
    """A position is a number as Postgres reads it, and a NULL leads nowhere."""
    assert jsonb.at_path({"a": [1, {"b": None}], "1": "x"}, path) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), (JSON_NULL, None), ("a", "a"), (True, "true"), (False, "false"), (-7, "-7")],
)
def test_the_text_of_a_scalar(value: Any, text: str | None) -> None:
    """As ``->>`` prints it."""
    assert jsonb.as_text(value) == text


@pytest.mark.parametrize("value", [1.5, Decimal("1.0"), [], {}])
def test_the_text_of_other_values_is_left_to_postgres(value: Any) -> None:
    """It prints them in its own way."""
    with pytest.raises(UndecidedError):
        jsonb.as_text(value)


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ({"a": 1, "b": 2}, {"a", "b"}),
        (["a", 1, None, ["b"], {"c": 1}], {"a"}),
        ("abc", {"abc"}),
        (1, set()),
        (True, set()),
        (JSON_NULL, set()),
    ],
)
def test_the_keys_that_it_has(value: Any, keys: set[str]) -> None:
    """Those of an object, the strings of an array, and a string itself: not its letters."""
    assert set(jsonb.keys(value)) == keys
    assert [jsonb.has_key(value, key) for key in ("a", "abc")] == ["a" in keys, "abc" in keys]


@pytest.mark.parametrize(
    ("value", "part", "contains"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": [2]}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": {"b": 1}}, {"b": 1}, False),
        ([1, 2], 1, True),
        ([[1]], 1, False),
        ([[1, 2]], [[1]], True),
        ([1], [[1]], False),
        ([True], [1], False),
        ([1], [1.0], True),
        ([], [], True),
        (1, [1], False),
        ("a", "a", True),
        ([None], [None], True),
        ([None], JSON_NULL, True),
        ({}, [], False),
        ([{"a": 1}], {"a": 1}, False),
    ],
)
def test_containment(value: Any, part: Any, contains: bool) -> None:  # noqa: FBT001
    """``@>``: an array contains a scalar, but only at the top."""
    assert jsonb.contains(value, part) is contains


def test_equality_is_that_of_jsonb() -> None:
    """1 and 1.0 are equal, 1 and true are not, and the order of keys does not count."""
    same = [(1, 1.0), (Decimal("1.50"), 1.5), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}), (None, JSON_NULL)]
    other = [(1, True), (0, False), ("1", 1), ([1, 2], [2, 1]), ({}, []), ({"a": 1}, {"a": True})]

    assert all(jsonb.canonical(a) == jsonb.canonical(b) for a, b in same)
    assert not any(jsonb.canonical(a) == jsonb.canonical(b) for a, b in other)
    assert len({jsonb.canonical(value) for pair in same for value in pair}) == len(same)


def test_the_elements_of_an_array() -> None:
    """What is no array has none: Postgres answers with an error."""
    assert jsonb.elements_as_text(["a", 1, None]) == ["a", "1", None]
    for value in ({}, "a", JSON_NULL):
        with pytest.raises(UndecidedError):
            jsonb.elements_as_text(value)
