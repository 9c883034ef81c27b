"""How a subquery walks its tables."""

import pytest

from bridge.authorization.algebra import ColumnRef, Compare, Const, Expr, Source
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test, compile_value
from bridge.authorization.lookup import LookupTable
from bridge.authorization.steps import Step, plan_steps, rows_of

ROOM = ColumnRef(0, "room", "text")
M_ROOM, M_WHO, M_ROLE = (ColumnRef(1, name, "text") for name in ("room", "who", "role"))
P_ID, P_AT = ColumnRef(2, "id", "text"), ColumnRef(2, "at", "timestamptz")
M, P = Source("m", 1), Source("p", 2)
IN_ROOM, SAME = Compare("=", M_ROOM, ROOM), Compare("=", P_ID, M_WHO)
OWNER = Compare("=", M_ROLE, Const("owner", "text"))


def tables() -> dict[str, LookupTable]:
    members = LookupTable("m", primary_key=["room", "who"], columns=["role"])
    people = LookupTable("p", primary_key=["id"], columns=["at"])
    for row in (("r", "a", "owner"), ("r", "b", None), ("s", "a", "guest")):
        members.put(row)
    people.put(("a", "infinity"))
    return {"m": members, "p": people}


def planned(sources: tuple[Source, ...], *conditions: Expr) -> list[Step]:
    known, layout = tables(), {1: "m", 2: "p"}
    return plan_steps(
        sources,
        conditions,
        known,
        value=lambda expr: compile_value(expr, known, layout),
        test=lambda expr: compile_test(expr, known, layout),
    )


def asked(room: str | None) -> Env:
    env = Env(3, lambda: 0)
    env.row = {"room": room}
    return env


def test_a_table_is_reached_by_what_is_known() -> None:
    """By an index on the compared columns; a NULL finds nothing."""
    (step,) = planned((M,), IN_ROOM)

    assert not step.by_key
    assert step.tests == ()
    assert sorted(row[1] for row in rows_of(step, asked("r"))) == ["a", "b"]
    assert [list(rows_of(step, asked(room))) for room in ("x", None)] == [[], []]


def test_a_whole_primary_key_needs_no_index() -> None:
    """The rows are found by it already, in whatever order it is compared."""
    (step,) = planned((M,), Compare("=", M_WHO, Const("a", "text")), IN_ROOM, OWNER)

    assert (step.by_key, step.index, len(step.tests)) == (True, None, 1)
    assert list(rows_of(step, asked("r"))) == [("r", "a", "owner")]
    assert list(rows_of(step, asked(None))) == []


def test_the_table_that_is_known_best_comes_first() -> None:
    """Then the others can be reached by it; each condition is tested as soon as its rows are there."""
    steps = planned((P, M), SAME, IN_ROOM, Compare(">", P_AT, Const(0, "timestamptz")))

    assert [(s.scope, s.by_key, len(s.tests)) for s in steps] == [(1, False, 0), (2, True, 1)]


@pytest.mark.parametrize(
    "condition",
    [
        Compare("<>", M_ROOM, ROOM),
        Compare("=", M_ROOM, M_WHO),
        Compare("=", ColumnRef(1, "role", "jsonb"), ROOM),
    ],
)
def test_other_conditions_walk_the_table(condition: Expr) -> None:
    """No inequality, no comparison in the row itself, no type whose JSON is not canonical."""
    (step,) = planned((M,), condition)

    assert (step.index, len(step.tests), len(rows_of(step, asked("r")))) == (None, 1, 3)


def test_a_second_equality_of_a_column_is_tested() -> None:
    """The first one finds the rows."""
    (step,) = planned((M,), IN_ROOM, Compare("=", M_ROOM, Const("s", "text")))
    env = asked("r")
    (row, _) = rows_of(step, env)
    env.rows[1] = row

    assert [test(env) for test in step.tests] == [False]
