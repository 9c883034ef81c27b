"""Normalizing: what is true stays true, whatever the values; and what the reverse index can then follow."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    AnyOf,
    Arm,
    ArrayOf,
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Or,
    Rows,
    Source,
    Uid,
)
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test
from bridge.authorization.expressions import compare
from bridge.authorization.lookup import LookupTable
from bridge.authorization.normalization import Normalizer
from bridge.authorization.undecided import UndecidedError

N = Normalizer({"m": [("id",), ("room", "who")], "loose": []}.__getitem__)

A, B = ColumnRef(0, "a", "bool"), ColumnRef(0, "b", "bool")
X, Y = ColumnRef(0, "x", "int"), ColumnRef(0, "y", "int")
M = (Source("m", 1),)
ID, ROOM, WHO = ColumnRef(1, "id", "int"), ColumnRef(1, "room", "int"), ColumnRef(1, "who", "int")
ROWS = ((1, 1, 1), (2, 1, 2), (3, 2, None), (4, None, 2))


def tables() -> dict[str, LookupTable]:
    table = LookupTable("m", primary_key=["id"], columns=["room", "who"])
    for row in ROWS:
        table.put(row)
    return {"m": table}


def answers(expr: Expr) -> list[object]:
    """The condition for every row of a, b, x and y; "open" where it is not decided."""
    test = compile_test(expr, tables(), {})
    env = Env(2, lambda: 0)
    found: list[object] = []
    for a, b, x, y in itertools.product((True, False, None), (True, None), (1, 2, None), (1, None)):
        env.row = {"a": a, "b": b, "x": x, "y": y}
        try:
            found.append(test(env))
        except UndecidedError:
            found.append("open")
    return found


NUMBERS = st.sampled_from([X, Y, Const(1, "int"), Const(2, "int"), Const(None, "int")])
INSIDE = st.sampled_from([X, Y, ID, ROOM, WHO, Const(1, "int")])
OPERATORS = st.sampled_from(["=", "<>", "<", ">="])


def subqueries(conditions: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    wheres = st.lists(st.builds(Compare, OPERATORS, INSIDE, INSIDE), min_size=1, max_size=2).map(
        lambda items: And(tuple(items))
    )
    values = st.sampled_from([ID, ROOM, WHO])
    arms = st.builds(lambda where, value: (Arm(M, where, value),), wheres, values)
    one = st.builds(lambda kind, arms: Rows(kind, arms, "int"), st.sampled_from(["one", "first"]), arms)
    many = st.builds(
        lambda kind, arms: Rows(kind, arms, "int[]"), st.sampled_from(["array", "array_agg"]), arms
    )
    count = st.builds(lambda arms: Rows("count", arms, "int"), arms)
    return st.one_of(
        st.builds(lambda where: Exists(M, where), wheres),
        st.builds(lambda left, value, where: InRows(left, value, M, where), NUMBERS, values, wheres),
        st.builds(Compare, OPERATORS, one, NUMBERS),
        st.builds(Compare, OPERATORS, NUMBERS, one),
        st.builds(IsNull, one),
        st.builds(AnyOf, NUMBERS, many),
        st.builds(Compare, OPERATORS, count, st.sampled_from([Const(0, "int"), Const(1, "int")])),
    )


LEAVES = st.one_of(
    st.sampled_from([A, B, TRUE, FALSE, NULL]),
    st.builds(Compare, OPERATORS, NUMBERS, NUMBERS),
    subqueries(st.just(A)),
)


def larger(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.lists(parts, min_size=1, max_size=3).map(tuple)
    branches = st.lists(st.tuples(parts, parts), min_size=1, max_size=2).map(tuple)
    numbers = st.lists(st.tuples(parts, NUMBERS), min_size=1, max_size=2).map(tuple)
    return st.one_of(
        st.builds(And, pairs),
        st.builds(Or, pairs),
        st.builds(Not, parts),
        st.builds(IsNull, parts),
        st.builds(IsTrue, parts),
        st.builds(lambda items: Coalesce(items, "bool"), pairs),
        st.builds(lambda b, o: Case(b, o, "bool"), branches, parts),
        st.builds(
            lambda op, b, o, right: Compare(op, Case(b, o, "int"), right),
            OPERATORS,
            numbers,
            NUMBERS,
            NUMBERS,
        ),
        st.builds(
            lambda op, items, right: Compare(op, Coalesce(tuple(items), "int"), right),
            OPERATORS,
            st.lists(NUMBERS, min_size=1, max_size=3),
            NUMBERS,
        ),
        st.builds(
            lambda left, items: AnyOf(left, ArrayOf(tuple(items), "int[]")),
            NUMBERS,
            st.lists(NUMBERS, max_size=3),
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=6)


@settings(max_examples=400, deadline=None)
@given(expr=EXPRESSIONS)
def test_what_is_true_stays_true(expr: Expr) -> None:
    """``positive`` is true where the condition is, ``negative`` where it is false, ``neutral`` is the same."""
    before = answers(expr)
    rewritten = zip(
        before, answers(N.positive(expr)), answers(N.negative(expr)), answers(N.neutral(expr)), strict=True
    )
    for was, positive, negative, neutral in rewritten:
        if was == "open":
            continue
        assert "open" in (positive, negative, neutral) or (
            (positive is True) == (was is True) and (negative is True) == (was is False) and neutral is was
        )


MINE = compare("=", WHO, Uid("int"))
BY_KEY = compare("=", ID, X)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (
            Compare("=", X, Rows("one", (Arm(M, BY_KEY, ROOM),), "int")),
            Exists(M, And((BY_KEY, Compare("=", X, ROOM)))),
        ),
        (
            IsNull(Rows("one", (Arm(M, BY_KEY, ROOM),), "int")),
            Not(Exists(M, And((BY_KEY, Not(IsNull(ROOM)))))),
        ),
        (InRows(X, ROOM, M, MINE), Exists(M, And((MINE, Compare("=", X, ROOM))))),
        (
            AnyOf(X, Rows("array", (Arm(M, MINE, ROOM),), "int[]")),
            Exists(M, And((MINE, Compare("=", X, ROOM)))),
        ),
        (
            AnyOf(X, ArrayOf((Y, Const(1, "int")), "int[]")),
            Or((Compare("=", X, Y), Compare("=", X, Const(1, "int")))),
        ),
        (Compare(">", Rows("count", (Arm(M, MINE, ID),), "int"), Const(0, "int")), Exists(M, MINE)),
        (Compare("<", Rows("count", (Arm(M, MINE, ID),), "int"), Const(1, "int")), Not(Exists(M, MINE))),
        (Coalesce((A, FALSE), "bool"), A),
        (Case(((A, TRUE),), FALSE, "bool"), A),
        (Not(Case(((A, FALSE),), TRUE, "bool")), A),
        (Exists((), A), A),
        (IsNull(Claims()), FALSE),
        (IsNull(ColumnRef(0, "id", "int", nullable=False)), FALSE),
        (Call("lower(text)", (Const(None, "text"),), "text"), FALSE),
    ],
)
def test_the_form_that_a_reverse_index_follows(expr: Expr, expected: Expr) -> None:
    """Look-ups of at most one row, arrays of subqueries, CASE and COALESCE become EXISTS, AND and OR."""
    assert N.positive(expr) == expected


@pytest.mark.parametrize(
    "where",
    [
        compare("=", ROOM, X),
        Compare(">", ID, X),
        Compare("=", ID, ROOM),
        Or((BY_KEY, BY_KEY)),
    ],
)
def test_a_look_up_that_may_find_two_rows_stays(where: Expr) -> None:
    """Two rows are an error in Postgres, which EXISTS would hide."""
    expr = Compare("=", X, Rows("one", (Arm(M, where, ROOM),), "int"))

    assert N.positive(expr) == expr


def test_an_element_that_may_fail_stays_in_its_array() -> None:
    """Postgres computes all elements before it compares."""
    expr = AnyOf(X, ArrayOf((X, Call("text::int", (ColumnRef(0, "t", "text"),), "int")), "int[]"))

    assert N.positive(expr) == expr
