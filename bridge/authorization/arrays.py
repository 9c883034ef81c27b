"""Arrays as lists: their operators, and what is known of those with several dimensions.

The elements compare in Python as in Postgres; for types where they do not, arrays are not compared here.
"""

from typing import Any

from bridge.authorization.undecided import UndecidedError


class Flattened(list[Any]):
    """The elements of an array of several dimensions, as operators that ignore dimensions see them."""


def contains(array: list[Any], part: list[Any]) -> bool:
    """``array @> part``: a NULL is found nowhere."""
    return all(item is not None and item in array for item in part)


def overlap(array: list[Any], other: list[Any]) -> bool:
    """``array && other``: a NULL is in none of them."""
    return any(item is not None and item in array for item in other)


def concatenated(array: list[Any], other: list[Any]) -> list[Any]:
    """``array || other``."""
    if isinstance(array, Flattened) or isinstance(other, Flattened):
        raise UndecidedError("arrays of several dimensions are put together")
    return [*array, *other]


def subscript(array: list[Any], position: int) -> Any:
    """``array[position]`` of an array that starts at 1: NULL outside."""
    if isinstance(array, Flattened):
        raise UndecidedError("a subscript of an array of several dimensions")
    return array[position - 1] if 1 <= position <= len(array) else None


def part(array: list[Any], first: int, last: int) -> list[Any]:
    """``array[first:last]`` of an array that starts at 1, as the result does; what is outside is left out."""
    if isinstance(array, Flattened):
        raise UndecidedError("a part of an array of several dimensions")
    return array[max(first, 1) - 1 : max(last, 0)]


def split(text: str, separator: str) -> list[str]:
    """``string_to_array(text, separator)``."""
    if not text:
        return []
    return text.split(separator) if separator else [text]


def cardinality(array: list[Any]) -> int:
    """Return the number of elements in all dimensions."""
    return len(array)


def length(array: list[Any], dimension: int) -> int | None:
    """``array_length(array, dimension)``: NULL for an empty array."""
    if dimension != 1 or isinstance(array, Flattened):
        raise UndecidedError("array_length of another dimension than the only one")
    return len(array) or None
