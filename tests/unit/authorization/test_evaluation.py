"""Comparisons, values of the row and the user, and subqueries answered by index."""

from collections.abc import Sequence

import pytest

from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    And,
    Call,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    Not,
    Operator,
    Source,
    Uid,
)
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test, compile_value, steps_of
from bridge.authorization.lookup import LookupTable
from bridge.authorization.undecided import UndecidedError
from bridge.events import Row

NULL = Const(None, "bool")


def answer(expr: Expr, row: Row | None = None, uid: str | None = None, *tables: LookupTable) -> bool | None:
    env = Env(5, lambda: 0)
    env.row, env.uid = row or {}, uid
    return compile_test(expr, {t.name: t for t in tables}, {})(env)


def members(*rows: tuple[object, ...]) -> LookupTable:
    """A table ``m`` with columns id, room, who."""
    table = LookupTable("m", primary_key=["id"], columns=["room", "who"])
    for row in rows:
        table.put(row)
    return table


ROOM, WHO, ID = ColumnRef(1, "room", "text"), ColumnRef(1, "who", "text"), ColumnRef(1, "id", "int")
ASKED = ColumnRef(0, "room", "text")
M = (Source("m", 1),)


@pytest.mark.parametrize(
    ("op", "less", "same", "more"),
    [
        ("=", False, True, False),
        ("<>", True, False, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
    ],
)
def test_comparisons(op: Operator, less: object, same: object, more: object) -> None:
    """Each operator, and NULL on either side."""
    two = Const(2, "int")
    answers = [answer(Compare(op, Const(value, "int"), two)) for value in (1, 2, 3, None)]

    assert answers == [less, same, more, None]
    assert answer(Compare(op, two, Const(None, "int"))) is None


def test_values_come_from_the_row_and_the_user() -> None:
    """A column of the asked row, and auth.uid(), which is NULL for anon."""
    expr = Compare("=", ASKED, Uid("text"))

    assert answer(expr, {"room": "a"}, "a") is True
    assert answer(expr, {"room": "a"}, None) is None
    env = Env(1, lambda: 0)
    assert compile_value(TRUE, {}, {})(env) is True
    assert compile_value(Not(NULL), {}, {})(env) is None


def test_exists_by_index_alone() -> None:
    """One key, one look-up; NULL equals nothing."""
    table = members((1, "a", "u"), (2, None, "u"))
    expr = Exists(M, Compare("=", ROOM, ASKED))

    assert [answer(expr, {"room": room}, None, table) for room in ("a", "b", None)] == [True, False, False]


def test_exists_by_an_index_of_two_columns() -> None:
    """NULL in one part of the key equals nothing, either."""
    table = members((1, "a", "u"), (2, "a", None))
    expr = Exists(M, And((Compare("=", ROOM, ASKED), Compare("=", WHO, Uid("text")))))

    assert [answer(expr, {"room": "a"}, uid, table) for uid in ("u", "v", None)] == [True, False, False]


def test_exists_tests_what_no_index_answers() -> None:
    """A condition that is NULL for a row does not count the row."""
    table = members((1, "a", "u"), (2, "a", None))
    same_room = Compare("=", ROOM, ASKED)
    expr = Exists(M, And((same_room, Compare("<>", WHO, Const("u", "text")))))

    assert answer(expr, {"room": "a"}, None, table) is False
    table.put((3, "a", "v"))
    assert answer(expr, {"room": "a"}, None, table) is True
    assert answer(expr, {"room": None}, None, table) is False


def test_exists_without_a_condition_asks_for_any_row() -> None:
    """And one whose condition reads no column of it for any row as well."""
    table = members()
    assert answer(Exists(M, TRUE), {}, None, table) is False
    table.put((1, None, None))
    assert answer(Exists(M, TRUE), {}, None, table) is True
    assert answer(Exists(M, NULL), {}, None, table) is False


def test_exists_without_tables_is_its_condition() -> None:
    """``exists (select where condition)`` is false where that is NULL."""
    assert [answer(Exists((), constant)) for constant in (TRUE, FALSE, NULL)] == [True, False, False]


def test_a_column_that_is_bound_twice_is_tested() -> None:
    """Both equalities have to hold."""
    table = members((1, "a", "a"), (2, "b", "c"))
    expr = Exists(M, And((Compare("=", ROOM, ASKED), Compare("=", ROOM, Uid("text")))))

    assert answer(expr, {"room": "a"}, "a", table) is True
    assert answer(expr, {"room": "a"}, "b", table) is False


def test_a_join_asks_each_table_by_index() -> None:
    """The table that is determined comes first, whatever the order of FROM."""
    rooms = LookupTable("r", primary_key=["id"], columns=["open"])
    rooms.put(("a", True))
    rooms.put(("b", False))
    table = members((1, "a", "u"), (2, "b", "u"))
    sources = (Source("r", 2), Source("m", 1))
    conditions = (
        Compare("=", ColumnRef(2, "id", "text"), ROOM),
        Compare("=", WHO, Uid("text")),
        ColumnRef(2, "open", "bool"),
    )
    steps = steps_of(sources, conditions, {"m": table, "r": rooms}, {1: "m", 2: "r"})

    assert [(step.scope, step.by_key, len(step.tests)) for step in steps] == [
        (1, False, 0),
        (2, True, 1),
    ]
    assert answer(Exists(sources, And(conditions)), {}, "u", table, rooms) is True
    rooms.put(("a", False))
    assert answer(Exists(sources, And(conditions)), {}, "u", table, rooms) is False


def test_a_nested_subquery_reads_the_outer_ones_row() -> None:
    """Each scope keeps its own current row."""
    rooms = LookupTable("r", primary_key=["id"], columns=[])
    rooms.put(("a",))
    table = members((1, "a", "u"))
    inner = Exists(M, And((Compare("=", ROOM, ColumnRef(2, "id", "text")), Compare("=", WHO, ASKED))))
    expr = Exists((Source("r", 2),), inner)

    assert answer(expr, {"room": "u"}, None, table, rooms) is True
    assert answer(expr, {"room": "v"}, None, table, rooms) is False


@pytest.mark.parametrize(
    ("listed", "asked", "expected"),
    [
        ([], "a", False),
        ([], None, False),
        (["a"], "a", True),
        (["a"], "b", False),
        (["a"], None, None),
        ([None], "a", None),
        (["a", None], "a", True),
        (["a", None], "b", None),
    ],
)
def test_in_rows_has_three_values(listed: Sequence[object], asked: object, expected: object) -> None:
    """NOT IN over a list with NULL is never true, over an empty one always."""
    table = members(*((number, value, "u") for number, value in enumerate(listed)))
    expr = InRows(ASKED, ROOM, M, Compare("=", WHO, Uid("text")))

    assert answer(expr, {"room": asked}, "u", table) is expected
    assert answer(expr, {"room": asked}, "else", table) is False


def test_in_rows_counts_rows_that_pass_every_test() -> None:
    """A row whose test is not true is not in the list."""
    table = members((1, "a", "u"), (2, "b", None))
    expr = InRows(ASKED, ROOM, M, Compare("<>", WHO, Const("v", "text")))

    assert answer(expr, {"room": "a"}, None, table) is True
    assert answer(expr, {"room": "b"}, None, table) is False


def test_exists_looks_at_each_row_where_one_may_fail() -> None:
    """Postgres may come to it before it comes to the row that matches."""
    table = members((1, "7", "u"), (2, "x", "u"), (3, "y", "v"))
    number = Compare("=", Call("text::int", (ROOM,), "int"), Const(7, "int"))
    expr = Exists(M, And((Compare("=", WHO, ASKED), number)))

    assert answer(Exists(M, number), {}, None, members((1, "7", "u"))) is True
    assert answer(expr, {"room": "w"}, None, table) is False
    with pytest.raises(UndecidedError):
        answer(expr, {"room": "u"}, None, table)
    with pytest.raises(UndecidedError):
        answer(expr, {"room": "v"}, None, table)
