"""Constants are folded as Postgres does it before it asks for privileges."""

import pytest

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    Call,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    IsNull,
    Not,
    Or,
    Source,
)
from bridge.authorization.folding import folded, folded_qualifier

A, B = ColumnRef(0, "a", "bool"), ColumnRef(0, "b", "bool")
NEVER_NULL = IsNull(ColumnRef(0, "id", "int", nullable=False))
NOTHING = Const(None, "int")


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (And((A, NULL)), FALSE),
        (Or((A, NULL)), A),
        (And((A, Or((B, Compare("=", NOTHING, A))))), And((A, B))),
        (Or((A, Not(FALSE))), TRUE),
        (NEVER_NULL, NEVER_NULL),
        (Exists((Source("m", 1),), FALSE), Exists((Source("m", 1),), FALSE)),
    ],
)
def test_a_policy_is_folded_as_far_as_postgres_does_it(expr: Expr, expected: Expr) -> None:
    """NULL counts as false; what only its values decide stays, and so does a subquery."""
    assert folded_qualifier(expr) == expected


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (NEVER_NULL, FALSE),
        (Not(Not(A)), A),
        (Not(NULL), NULL),
        (Compare("=", Const(1, "int"), Const(1, "int")), TRUE),
        (Compare("<>", Const(1, "int"), Const(1, "int")), FALSE),
        (Call("text::int", (Const(None, "text"),), "int"), NOTHING),
        (Coalesce((NOTHING, Const(1, "int")), "int"), Const(1, "int")),
        (Coalesce((NOTHING,), "int"), NOTHING),
        (And((A, FALSE)), FALSE),
        (Or((A, TRUE)), TRUE),
    ],
)
def test_a_constant_is_found(expr: Expr, expected: Expr) -> None:
    """Also where Postgres finds it later, or never."""
    assert folded(expr) == expected
