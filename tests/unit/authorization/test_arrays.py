"""Arrays: operators, and those of several dimensions."""

import pytest

from bridge.authorization import arrays
from bridge.authorization.arrays import Flattened
from bridge.authorization.undecided import UndecidedError


@pytest.mark.parametrize(
    ("array", "part", "contains", "overlaps"),
    [
        ([], [], True, False),
        ([1], [], True, False),
        ([1, 2], [2, 2], True, True),
        ([1], [1, 3], False, True),
        ([None], [None], False, False),
        ([1, None], [1, None], False, True),
        (Flattened([1, 2]), [2], True, True),
    ],
)
def test_a_null_is_found_nowhere(
    array: list[int | None],
    part: list[int | None],
    contains: bool,  # noqa: FBT001
    overlaps: bool,  # noqa: FBT001
) -> None:
    """Containing and overlapping compare element by element, and NULL equals nothing."""
    assert arrays.contains(array, part) is contains
    assert arrays.overlap(array, part) is overlaps


def test_how_long_an_array_is() -> None:
    """The empty one has no length, and elements of all dimensions count."""
    assert [arrays.length([], 1), arrays.length([None], 1)] == [None, 1]
    assert [arrays.cardinality([]), arrays.cardinality(Flattened([1, 2, 3, 4]))] == [0, 4]


@pytest.mark.parametrize(("array", "dimension"), [([1], 0), ([1], 2), (Flattened([1, 2]), 1)])
def test_the_length_of_a_dimension_that_is_not_known(array: list[int], dimension: int) -> None:
    """Only Postgres knows it."""
    with pytest.raises(UndecidedError):
        arrays.length(array, dimension)
