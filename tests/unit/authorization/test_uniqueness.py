"""Scalar subqueries of at most one row."""

import pytest

from bridge.authorization.algebra import And, Arm, ColumnRef, Const, Expr, Rows, Source, Uid
from bridge.authorization.expressions import compare
from bridge.authorization.uniqueness import at_most_one

KEYS = {"public.rooms": [["id"]], "public.members": [["room_id", "user_id"], ["code"]]}


def column(scope: int, name: str) -> ColumnRef:
    return ColumnRef(scope, name, "uuid")


def found(where: Expr, *tables: str) -> bool:
    sources = tuple(Source(table, scope) for scope, table in enumerate(tables, start=1))
    rows = Rows("one", (Arm(sources, where, Const(1, "int")),), "int")
    return at_most_one(rows, unique_keys=lambda table: KEYS[table])


ROOM = compare("=", column(1, "id"), column(0, "room_id"))
MINE = compare("=", column(1, "user_id"), Uid())


@pytest.mark.parametrize(
    ("where", "table", "expected"),
    [
        (ROOM, "public.rooms", True),
        (MINE, "public.members", False),
        (And((MINE, compare("=", column(1, "room_id"), column(0, "id")))), "public.members", True),
        (compare("=", column(1, "code"), column(0, "id")), "public.members", True),
        (compare("=", column(1, "code"), column(1, "room_id")), "public.members", False),
        (compare("<", column(1, "id"), column(0, "room_id")), "public.rooms", False),
    ],
)
def test_a_whole_key_has_to_be_given_from_outside(where: Expr, table: str, *, expected: bool) -> None:
    """By equality; its own columns do not settle anything."""
    assert found(where, table) is expected


def test_a_joined_table_is_settled_by_the_first() -> None:
    """Its key equals a column of a row of which there is one; in a circle neither is."""
    joined = compare("=", column(2, "id"), column(1, "room_id"))
    one = And((compare("=", column(1, "code"), column(0, "code")), joined))
    circle = And((compare("=", column(1, "code"), column(2, "id")), joined))

    assert found(one, "public.members", "public.rooms")
    assert not found(circle, "public.members", "public.rooms")


def test_elements_of_an_array_are_many() -> None:
    """They have no key."""
    sources = (Source("", 1, column(0, "ids")),)
    rows = Rows("one", (Arm(sources, compare("=", column(1, "element"), Uid()), Const(1, "int")),), "int")

    assert not at_most_one(rows, unique_keys=lambda _table: [[]])
