"""The algebra's own rules: folding that three-valued logic allows, and no other."""

import itertools

import pytest

from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    And,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    Fails,
    InRows,
    IsNull,
    Not,
    Or,
    Source,
    Uid,
)
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test
from bridge.authorization.expressions import (
    all_of,
    any_of,
    children,
    compare,
    conjuncts,
    failure,
    mentions_user,
    scopes,
    walk,
)

A, B, C = (ColumnRef(0, name, "bool") for name in "abc")
NULL = Const(None, "bool")
INNER = ColumnRef(1, "x", "uuid")
EXISTS = Exists((Source("t", 1),), Compare("=", INNER, Uid()))


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], TRUE),
        ([TRUE, A], A),
        ([A, FALSE], FALSE),
        ([A, A], A),
        ([A, B], And((A, B))),
        ([And((A, B)), C], And((A, B, C))),
        ([A, NULL], And((A, NULL))),
        ([A, Or((A, B))], A),
        ([Or((And((A, B)), C)), A, B], And((A, B))),
        ([A, Or((B, C))], And((A, Or((B, C))))),
        ([A, Or((A, Fails("x")))], And((A, Or((A, Fails("x")))))),
    ],
)
def test_all_of(items: list[Expr], expected: Expr) -> None:
    """Constants fold, parts are said once, and a choice that is implied is dropped, unless it fails."""
    assert all_of(items) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [([], FALSE), ([FALSE, A], A), ([A, TRUE], TRUE), ([A, B], Or((A, B))), ([A, NULL], Or((A, NULL)))],
)
def test_any_of(items: list[Expr], expected: Expr) -> None:
    """Constants fold; NULL does not."""
    assert any_of(items) == expected


@pytest.mark.parametrize(
    "items", [[A, Or((A, B))], [Or((And((A, B)), C)), A, B], [A, Or((B, C)), Or((A, C))], [A, A]]
)
def test_simplifying_keeps_all_three_values(items: list[Expr]) -> None:
    """Also below NOT, where NULL and false differ."""
    plain, simple = compile_test(And(tuple(items)), {}, {}), compile_test(all_of(items), {}, {})
    for a, b, c in itertools.product((True, False, None), repeat=3):
        env = Env(1, lambda: 0)
        env.row = {"a": a, "b": b, "c": c}
        assert plain(env) is simple(env)


def test_an_equality_is_written_one_way() -> None:
    """Columns first, by scope and name; the order of others and of < stays."""
    assert compare("=", Uid(), INNER) == Compare("=", INNER, Uid())
    assert compare("<>", INNER, ColumnRef(0, "y", "uuid")) == Compare("<>", ColumnRef(0, "y", "uuid"), INNER)
    assert compare("<", Const(1, "int"), ColumnRef(0, "n", "int")).op == "<"
    assert compare("<", Const(1, "int"), ColumnRef(0, "n", "int")).left == Const(1, "int")


def test_parts_are_walked() -> None:
    """Every node once, outermost first."""
    expr = Not(Or((IsNull(A), InRows(B, INNER, (Source("t", 1),), EXISTS))))

    assert [type(node).__name__ for node in walk(expr)] == (
        [
            "Not",
            "Or",
            "IsNull",
            "ColumnRef",
            "InRows",
            "ColumnRef",
            "ColumnRef",
            "Exists",
            "Compare",
            "ColumnRef",
            "Uid",
        ]
    )
    assert children(A) == ()


def test_what_an_expression_needs_from_outside() -> None:
    """The scopes that its own subqueries bring do not count."""
    assert scopes(EXISTS) == frozenset()
    assert scopes(Compare("=", INNER, ColumnRef(2, "y", "uuid"))) == {1, 2}
    assert mentions_user(EXISTS)
    assert not mentions_user(A)


def test_conjuncts_are_flat() -> None:
    """TRUE has none."""
    assert conjuncts(And((A, And((B, TRUE)), C))) == (A, B, C)
    assert conjuncts(TRUE) == ()


def test_a_failure_is_found_anywhere() -> None:
    """The first one."""
    assert failure([A, Not(Or((B, Fails("x"))))]) == Fails("x")
    assert failure([A, EXISTS]) is None
