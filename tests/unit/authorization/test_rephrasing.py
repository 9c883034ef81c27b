"""Single conditions said in another way: what a subquery, a count and NOT come to."""

import pytest

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    AnyOf,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    IsNull,
    IsTrue,
    Not,
    Operator,
)
from bridge.authorization.rephrasing import OPPOSITE, among, opposite, some_rows

A, X = ColumnRef(0, "a", "bool"), ColumnRef(0, "x", "int")
ELEMENT, ARRAY = ColumnRef(1, "element", "int"), ColumnRef(0, "numbers", "int[]")


@pytest.mark.parametrize("equal", [Compare("=", ELEMENT, X), Compare("=", X, ELEMENT)])
def test_an_element_that_equals_something_is_asked_for_without_a_subquery(equal: Expr) -> None:
    """What is asked of other values as well stays beside it."""
    assert among(1, ARRAY, equal) == AnyOf(X, ARRAY)
    assert among(1, ARRAY, And((A, equal))) == And((A, AnyOf(X, ARRAY)))


@pytest.mark.parametrize(
    "where",
    [
        Compare("<", ELEMENT, X),
        Compare("=", ELEMENT, ELEMENT),
        Compare("=", ELEMENT, ColumnRef(0, "wide", "numeric")),
        And((Compare("=", ELEMENT, X), Not(IsNull(ELEMENT)))),
        A,
    ],
)
def test_more_than_that_stays_a_subquery(where: Expr) -> None:
    """Another comparison, another type, two conditions of the element, or none."""
    assert among(1, ARRAY, where) is None


def test_not_of_what_is_never_null() -> None:
    """Twice is itself; what may be NULL is tested for truth first."""
    exists = Exists((), A)
    assert [opposite(TRUE), opposite(FALSE), opposite(NULL)] == [FALSE, TRUE, TRUE]
    assert (opposite(exists), opposite(Not(exists))) == (Not(exists), exists)
    assert opposite(A) == Not(IsTrue(A))


def test_each_operator_has_one_that_is_true_where_it_is_false() -> None:
    """Both ways."""
    assert all(OPPOSITE[OPPOSITE[op]] == op for op in OPPOSITE)


@pytest.mark.parametrize(
    ("op", "number", "some"),
    [(">", 0, True), (">=", 1, True), ("<>", 0, True), ("=", 0, False), ("<", 1, False), ("=", 1, None)],
)
def test_a_count_that_asks_for_any_row(op: Operator, number: int, some: object) -> None:
    """For some row, for none, or for a number of them."""
    assert some_rows(op, Const(number, "int")) is some
    assert some_rows(op, X) is None
