"""How a column of a row is read, and where its JSON does not tell its value."""

from decimal import Decimal
from typing import Any

import pytest

from bridge.authorization import columns
from bridge.authorization.algebra import ELEMENT, And, Call, ColumnRef, Const, IsNull
from bridge.authorization.env import Env
from bridge.authorization.jsonb import JSON_NULL
from bridge.authorization.lookup import LookupTable
from bridge.authorization.undecided import UndecidedError

TABLES = {"t": LookupTable("t", primary_key=["id"], columns=["j"])}
LAYOUT = {1: "t", 2: ""}


def env(**row: Any) -> Env:
    made = Env(3, lambda: 0)
    made.row = row
    made.rows[1] = (7, None)
    made.rows[2] = (None,)
    return made


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        (ColumnRef(0, "s", "text"), "x"),
        (ColumnRef(0, "n", "numeric"), Decimal("1.5")),
        (ColumnRef(0, "none", "numeric"), None),
        (ColumnRef(0, "j", "jsonb"), {"k": 1}),
        (ColumnRef(0, "none", "jsonb", nullable=False), JSON_NULL),
        (ColumnRef(1, "id", "int"), 7),
        (ColumnRef(1, "j", "jsonb", nullable=False), JSON_NULL),
        (ColumnRef(2, ELEMENT, "jsonb"), None),
    ],
)
def test_what_json_tells(expr: ColumnRef, value: object) -> None:
    """Of the row, of a look-up row, and of an element, which is a value already."""
    assert columns.column(expr, TABLES, LAYOUT)(env(s="x", n=1.5, none=None, j={"k": 1})) == value


def test_a_null_of_a_look_up_row_may_be_both() -> None:
    """It reads the same in the row's JSON, so only Postgres knows; it cannot fail to tell whether it is NULL."""
    expr, row = ColumnRef(1, "j", "jsonb"), env()
    with pytest.raises(UndecidedError) as read:
        columns.column(expr, TABLES, LAYOUT)(row)
    with pytest.raises(UndecidedError) as tested:
        columns.is_null(expr, TABLES, LAYOUT)(row)
    assert (read.value.raises, tested.value.raises) == (True, False)


def test_a_null_of_the_asked_row_is_tried_as_both() -> None:
    """Where it matters: one reading for each combination."""
    j, k, s = ColumnRef(0, "j", "jsonb"), ColumnRef(0, "k", "jsonb"), ColumnRef(0, "s", "text")
    field = Call("jsonb ->> text", (k, Const("a", "text")), "text")
    condition = And(
        (IsNull(j), IsNull(s), IsNull(ColumnRef(0, "js", "other:pg_catalog.json")), IsNull(field))
    )

    assert columns.unsure(condition) == ("j", "js")
    assert columns.unsure(IsNull(ColumnRef(0, "j", "jsonb", nullable=False))) == ()
    row = {"j": None, "k": None, "s": None, "js": {}}
    assert list(columns.readings(row, ("j", "js"))) == [row, {**row, "j": JSON_NULL}]
    assert [columns.is_null(j, {}, {})(env(**r)) for r in columns.readings(row, ("j",))] == [True, False]


def test_keys_of_either_null_are_none() -> None:
    """``?`` is not true then, but false or NULL."""
    read = columns.operand(
        Call("jsonb ? text", (ColumnRef(1, "j", "jsonb"), Const("k", "text")), "bool"), TABLES, LAYOUT
    )
    assert read is not None
    with pytest.raises(UndecidedError) as error:
        read(env())
    assert (error.value.raises, error.value.untrue) == (False, True)

    of_row = columns.document(ColumnRef(1, "j", "jsonb"), TABLES, LAYOUT)
    assert of_row is not None
    assert of_row(env()) is None
    assert columns.document(ColumnRef(0, "s", "text"), TABLES, LAYOUT) is None


@pytest.mark.parametrize(
    ("name", "right", "alike"),
    [
        ("jsonb ->> text", Const("k", "text"), True),
        ("json -> text", Const("k", "text"), True),
        ("jsonb #>> text[]", Const([], "text[]"), True),
        ("jsonb #> text[]", Const(["k"], "text[]"), True),
        ("jsonb #> text[]", Const([], "text[]"), False),
        ("jsonb -> int", Const(0, "int"), False),
        ("jsonb ? text", Const("k", "text"), False),
    ],
)
def test_operators_to_which_both_nulls_are_alike(name: str, right: Const, *, alike: bool) -> None:
    """A field of NULL and of the JSON null is NULL: these need not ask."""
    read = columns.operand(Call(name, (ColumnRef(0, "j", "jsonb"), right), "text"), TABLES, LAYOUT)
    assert (read is not None) == alike
    assert read is None or read(env(j=None)) is None
