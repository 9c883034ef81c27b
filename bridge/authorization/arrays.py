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


def cardinality(array: list[Any]) -> int:
    """Return the number of elements in all dimensions."""
    return len(array)


def length(array: list[Any], dimension: int) -> int | None:
    """``array_length(array, dimension)``: NULL for an empty array."""
    if dimension != 1 or isinstance(array, Flattened):
        raise UndecidedError("array_length of another dimension than the only one")
    return len(array) or None
