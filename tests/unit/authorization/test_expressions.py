"""Walking and rewriting expressions; what AND and OR fold is tested with the algebra."""

import pytest

from bridge.authorization.algebra import (
    And,
    Arm,
    Call,
    Claims,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    Fails,
    InRows,
    IsNull,
    Now,
    Opaque,
    Rows,
    Source,
    Uid,
)
from bridge.authorization.expressions import (
    children,
    compare,
    failure,
    mentions_time,
    mentions_user,
    never_fails,
    opaque,
    own_sources,
    rebuild,
    scopes,
    walk,
    with_null,
)

A, B = ColumnRef(0, "a", "int"), ColumnRef(1, "b", "int")
M = (Source("m", 1),)
INSIDE = Exists(M, Compare("=", A, B))
ONE = Rows("one", (Arm(M, Compare("=", A, B), B),), "int")


def test_both_ways_of_writing_an_equality_are_one() -> None:
    """The row's column first; an order keeps its sides."""
    assert compare("=", B, A) == compare("=", A, B)
    assert compare("=", Uid(), A) == compare("=", A, Uid())
    assert compare("<", B, A) != compare("<", A, B)


@pytest.mark.parametrize(
    "expr", [INSIDE, ONE, InRows(A, B, M, IsNull(B)), And((IsNull(A), IsNull(Claims())))]
)
def test_an_expression_is_rebuilt_from_its_parts(expr: Expr) -> None:
    """The same one where nothing changes."""
    assert rebuild(expr, lambda part: part) == expr
    assert [expr, *(node for child in children(expr) for node in walk(child))] == list(walk(expr))


def test_the_scopes_that_are_read_from_outside() -> None:
    """Not those that a subquery brings itself."""
    assert [scopes(expr) for expr in (INSIDE, ONE, B)] == [{0}, {0}, {1}]
    assert own_sources(ONE) == M


def test_a_row_that_is_not_there_is_all_null() -> None:
    """Also where it is read in a subquery below."""
    assert with_null(And((IsNull(B), IsNull(A))), 1) == And((IsNull(Const(None, "int")), IsNull(A)))
    assert with_null(INSIDE, 0) == Exists(M, compare("=", Const(None, "int"), B))


def test_what_an_expression_mentions() -> None:
    """Opaque parts may mention everything."""
    assert [mentions_user(e) for e in (Uid(), Claims(), Opaque("x"), Now(), A)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [mentions_time(e) for e in (Now(), Opaque("x"), Uid())] == [True, True, False]
    assert opaque(And((Opaque("x"), IsNull(Opaque("x"))))) == (Opaque("x"),)
    assert failure([INSIDE, IsNull(Fails("no"))]) == Fails("no")


def test_what_never_fails() -> None:
    """Columns, constants and their comparisons; no cast, no look-up of one row."""
    cast = Call("text::int", (ColumnRef(0, "t", "text"),), "int")

    assert all(
        map(never_fails, (A, Uid(), Const(1, "int"), compare("=", A, B), Call("same", (A,), "numeric")))
    )
    assert not any(map(never_fails, (cast, compare("=", A, cast), ONE, Opaque("x", raises=True), Fails("x"))))
    assert all(map(never_fails, (INSIDE, Opaque("x"))))
    assert never_fails(ONE, at_most_one=lambda _rows: True)
