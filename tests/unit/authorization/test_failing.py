"""What may fail stays where it stands."""

import pytest

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    IsNull,
    IsTrue,
    Not,
    Or,
    Source,
    Uid,
)
from bridge.authorization.expressions import never_fails
from bridge.authorization.failing import (
    all_in_order,
    any_in_order,
    claims_that_fail,
    computed,
    computed_first,
    is_computed,
    is_false_as_written,
)

A, B = ColumnRef(0, "a", "bool"), ColumnRef(0, "b", "bool")
CAST = Call("text::int", (ColumnRef(0, "t", "text"),), "int")
FAILS = Compare("=", CAST, Const(1, "int"))
CLAIM = Call("text::int", (Call("jsonb ->> text", (Claims(), Const("n", "text")), "text"),), "int")
COLUMN = ColumnRef(1, "n", "int")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(A, True), (B, True)], And((A, B))),
        ([(A, True), (FALSE, True)], FALSE),
        ([(FALSE, True), (FAILS, True)], FALSE),
        ([(FAILS, True), (FALSE, True), (A, True)], And((FAILS, FALSE))),
        ([(A, True), (FAILS, True)], And((A, FAILS))),
        ([(A, False), (FAILS, True)], And((Or((A, NULL)), FAILS))),
        ([(FALSE, False), (FAILS, True)], And((NULL, FAILS))),
        ([(FAILS, False), (A, False)], And((FAILS, A))),
        ([(TRUE, True), (FAILS, True)], FAILS),
    ],
)
def test_an_and_keeps_what_fails_before_a_false_part(parts: list[tuple[Expr, bool]], expected: Expr) -> None:
    """And what stands after one that may be NULL, which does not stop Postgres."""
    assert all_in_order(parts, never_fails) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([A, TRUE, FAILS], TRUE),
        ([FAILS, FALSE, TRUE, A], Or((FAILS, TRUE))),
        ([FAILS, A], Or((FAILS, A))),
        ([Or((FAILS, TRUE)), A], Or((FAILS, TRUE))),
    ],
)
def test_an_or_keeps_what_fails_before_a_true_part(parts: list[Expr], expected: Expr) -> None:
    """What stands after it is never looked at."""
    assert any_in_order(parts, never_fails) == expected


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (And((A, Not(Or((B, IsTrue(NULL)))))), True),
        (Exists((Source("m", 1),), NULL), True),
        (Compare("=", A, Const(None, "bool")), False),
        (Or((A, Coalesce((A, B), "bool"))), False),
        (Case(((A, B),), NULL, "bool"), False),
    ],
)
def test_what_may_be_false_instead_of_null(expr: Expr, *, expected: bool) -> None:
    """What normalizing rewrites, unless it is never NULL."""
    assert is_false_as_written(expr) is expected


def test_a_value_is_computed_whether_it_is_needed_or_not() -> None:
    """An argument of a function, and a variable, if that may fail."""
    assert computed_first([A, Uid()], B, "bool") == B
    assert computed_first([CAST], B, "bool") == Case(((computed(CAST), B),), NULL, "bool")
    assert is_computed(computed(CAST))
    assert not is_computed(Or((IsNull(A), Not(IsNull(B)))))
    assert not is_computed(A)


def test_what_may_fail_of_the_claims_alone() -> None:
    """Wherever it stands; not what a row has a part in, and not what never fails."""
    inside = Exists((Source("m", 1),), Compare("=", COLUMN, CLAIM))

    assert claims_that_fail(Or((A, inside, Compare("=", COLUMN, CLAIM)))) == (CLAIM,)
    assert claims_that_fail(Compare("=", CAST, Const(1, "int"))) == ()
    assert claims_that_fail(IsNull(Claims())) == ()
