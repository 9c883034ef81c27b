"""Subqueries as closures: conditions of no row first, and what several rows mean."""

from typing import Any

import pytest

from bridge.authorization.algebra import (
    TRUE,
    And,
    Arm,
    Call,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    Not,
    Rows,
    Source,
)
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_value
from bridge.authorization.lookup import LookupTable
from bridge.authorization.undecided import UndecidedError

M = (Source("m", 1),)
ROOM, DATA = ColumnRef(1, "room", "int"), ColumnRef(1, "data", "jsonb")
IN_ROOM = Compare("=", ROOM, ColumnRef(0, "room", "int"))
FAILS = Compare("=", Call("text::int", (ColumnRef(0, "text", "text"),), "int"), Const(1, "int"))


def value(expr: Expr, *data: Any, room: int | None = 1, text: str = "1") -> Any:
    """The value for a row of a room, whose look-up rows have ``data``."""
    table = LookupTable("m", primary_key=["id"], columns=["room", "data"])
    for i, item in enumerate(data):
        table.put((i, item, 1))
    env = Env(2, lambda: 0)
    env.row = {"room": room, "text": text}
    return compile_value(expr, {"m": table}, {})(env)


@pytest.mark.parametrize(
    "expr",
    [
        Exists(M, And((IN_ROOM, FAILS))),
        InRows(Const(1, "int"), ROOM, M, And((IN_ROOM, FAILS))),
        Rows("count", (Arm(M, And((IN_ROOM, FAILS)), ROOM),), "int"),
    ],
)
def test_a_condition_of_no_row_comes_first(expr: Expr) -> None:
    """Postgres looks at it once, also where there is no row: it may fail there."""
    with pytest.raises(UndecidedError):
        value(expr, text="x")
    assert value(expr, text="2") in (False, 0)
    assert value(expr, None, text="1") in (True, 1)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("one", [], None),
        ("one", [7], 7),
        ("first", [7, 7], 7),
        ("array", [], []),
        ("array", [7], [7]),
        ("array_agg", [], None),
        ("array_agg", [7], [7]),
        ("count", [7, 8], 2),
    ],
)
def test_what_is_made_of_the_rows(kind: Any, data: list[object], expected: object) -> None:
    """One value, the first, all of them, or their number."""
    assert value(Rows(kind, (Arm(M, IN_ROOM, DATA),), "jsonb"), *data) == expected


@pytest.mark.parametrize(
    ("kind", "data"),
    [("one", [7, 7]), ("first", [7, 8]), ("first", [1, True]), ("first", [1, 1.0]), ("first", [None, 1])],
)
def test_which_row_comes_first_is_left_to_postgres(kind: Any, data: list[object]) -> None:
    """Unless all are the same, in print as well; two rows are an error where one is expected."""
    with pytest.raises(UndecidedError):
        value(Rows(kind, (Arm(M, IN_ROOM, DATA),), "jsonb"), *data)


@pytest.mark.parametrize(
    ("left", "data", "expected"),
    [
        (1, [], False),
        (None, [], False),
        (1, [1], True),
        (1, [1.0], True),
        (1, [True], False),
        (None, [1], None),
    ],
)
def test_in_compares_as_the_type_does(left: object, data: list[object], expected: bool | None) -> None:  # noqa: FBT001
    """jsonb: 1 is 1.0 but not true; NULL leaves it open where there are rows."""
    expr = InRows(Const(left, "jsonb"), DATA, M, IN_ROOM)

    assert value(expr, *data) is expected
    assert value(Not(expr), *data) is (None if expected is None else not expected)


def test_a_null_of_json_leaves_it_to_postgres() -> None:
    """It may be the JSON null, which is not NULL."""
    with pytest.raises(UndecidedError):
        value(InRows(Const(1, "jsonb"), DATA, M, IN_ROOM), 2, None)


def test_a_null_finds_no_row() -> None:
    """It equals nothing."""
    assert value(Exists(M, IN_ROOM), 1, room=None) is False
    assert value(Exists(M, TRUE), 1, room=None) is True
