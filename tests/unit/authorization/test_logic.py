"""Three-valued logic: the truth tables of SQL, and what stands before and after an error."""

import pytest

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    Case,
    Compare,
    Const,
    Expr,
    IsNull,
    IsTrue,
    Not,
    Opaque,
    Or,
)
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test
from bridge.authorization.undecided import UndecidedError

VALUES: tuple[tuple[Const, bool | None], ...] = ((TRUE, True), (FALSE, False), (NULL, None))


def answer(expr: Expr) -> bool | None:
    return compile_test(expr, {}, {})(Env(1, lambda: 0))


@pytest.mark.parametrize(("left", "a"), VALUES)
@pytest.mark.parametrize(("right", "b"), VALUES)
def test_and_or_have_three_values(left: Const, a: bool | None, right: Const, b: bool | None) -> None:  # noqa: FBT001
    """The truth tables of SQL: NULL is neither true nor false until the end."""
    both = False if False in (a, b) else None if None in (a, b) else True
    either = True if True in (a, b) else None if None in (a, b) else False

    assert answer(And((left, right))) is both
    assert answer(Or((left, right))) is either


@pytest.mark.parametrize(
    ("operand", "negated", "is_true", "is_null"),
    [(TRUE, False, True, False), (FALSE, True, False, False), (NULL, None, False, True)],
)
def test_tests_of_one_operand(operand: Const, negated: object, is_true: object, is_null: object) -> None:
    """NOT NULL is NULL; IS TRUE and IS NULL never are."""
    assert answer(Not(operand)) is negated
    assert answer(IsTrue(operand)) is is_true
    assert answer(IsNull(operand)) is is_null


def test_the_empty_and_is_true_the_empty_or_is_false() -> None:
    """As a WHERE that is not there, and a list without elements."""
    assert answer(And(())) is True
    assert answer(Or(())) is False


FAILS, UNKNOWN = Opaque("fails", raises=True), Opaque("unknown")


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (Or((TRUE, FAILS)), True),
        (Or((UNKNOWN, TRUE)), True),
        (And((FALSE, FAILS)), False),
        (And((UNKNOWN, FALSE)), False),
        (Or((FAILS, TRUE)), "fails"),
        (And((FAILS, TRUE)), "fails"),
        (And((FAILS, FALSE)), "fails, or is not true"),
        (And((NULL, FAILS)), "fails, or is not true"),
        (Or((And((FAILS, FALSE)), FALSE)), "fails, or is not true"),
        (Or((And((FAILS, FALSE)), TRUE)), "fails"),
        (Or((And((FAILS, FALSE)), UNKNOWN)), "fails"),
        (IsTrue(And((FAILS, FALSE))), "fails, or is not true"),
        (Not(And((FAILS, FALSE))), "fails"),
        (IsNull(And((FAILS, FALSE))), "fails"),
        (Compare("=", And((FAILS, FALSE)), TRUE), "fails"),
        (Case(((And((FAILS, FALSE)), FALSE),), TRUE, "bool"), "fails"),
        (Or((UNKNOWN, FALSE)), "unknown"),
    ],
)
def test_an_error_hides_what_stands_after_it(expr: Expr, expected: object) -> None:
    """An AND with a false part is not true at any rate, but NOT and CASE tell false from an error."""
    try:
        found: object = answer(expr)
    except UndecidedError as error:
        found = "fails, or is not true" if error.untrue else "fails" if error.raises else "unknown"
    assert found == expected
