"""Reach: what a condition reads, and whom a look-up row can concern."""

import pytest

from bridge.authorization.algebra import (
    And,
    Arm,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    Not,
    Or,
    Rows,
    Source,
    Uid,
)
from bridge.authorization.reach import Reach, lookup_columns, reaches, row_columns, user_columns

M = (Source("m", 1),)
ROOM, KIND = ColumnRef(0, "room", "uuid"), ColumnRef(0, "kind", "jsonb")
M_ROOM, M_WHO, M_KIND = (
    ColumnRef(1, "room", "uuid"),
    ColumnRef(1, "who", "uuid"),
    ColumnRef(1, "kind", "jsonb"),
)
IN_ROOM, MINE = Compare("=", ROOM, M_ROOM), Compare("=", M_WHO, Uid())
OWNER = Compare("=", ColumnRef(1, "role", "text"), Const("owner", "text"))


def reach(*link: tuple[str, str], user: str | None = None) -> Reach:
    return Reach(lookup="m", link=link, user_column=user)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Exists(M, And((IN_ROOM, MINE, OWNER))), [reach(("room", "room"), user="who")]),
        (
            Exists(M, And((Compare("=", M_ROOM, ROOM), Compare("=", Uid(), M_WHO)))),
            [reach(("room", "room"), user="who")],
        ),
        (Exists(M, Or((IN_ROOM, MINE))), [reach()]),
        (Exists(M, OWNER), [reach()]),
        (Not(Exists(M, MINE)), [reach(user="who")]),
        (InRows(ROOM, M_ROOM, M, MINE), [reach(user="who")]),
        (Compare("=", ROOM, Rows("first", (Arm(M, MINE, M_ROOM),), "uuid")), [reach(user="who")]),
        (Exists(M, And((Compare("=", KIND, M_KIND), MINE))), [reach(user="who")]),
        (Exists(M, And((Compare("<>", ROOM, M_ROOM), Compare("<>", M_WHO, Uid())))), [reach()]),
    ],
)
def test_whom_a_look_up_row_can_concern(condition: Expr, found: list[Reach]) -> None:
    """The rows that must equal it and the user that it names: by what has to be true, not by what may be."""
    assert list(reaches(condition)) == found


def test_each_table_of_a_join_has_its_own_reach() -> None:
    """Also inside of another subquery; what names no user may concern everybody."""
    people = Source("p", 2)
    same = Compare("=", ColumnRef(2, "id", "uuid"), M_WHO)
    inner = Exists((people,), And((same, Compare("=", ColumnRef(2, "id", "uuid"), Uid()))))

    assert set(reaches(Exists(M, And((IN_ROOM, inner))))) == {
        reach(("room", "room")),
        Reach(lookup="p", link=(), user_column="id", joined=(("m", (("who", "id"),)),)),
    }


def test_the_columns_that_are_read() -> None:
    """Of the row itself, and of each look-up table."""
    condition = And((Exists(M, And((IN_ROOM, MINE))), Compare("=", KIND, Const({}, "jsonb"))))

    assert row_columns(condition) == {"room", "kind"}
    assert lookup_columns(condition) == {"m": {"room", "who"}}


def test_the_columns_that_name_the_user() -> None:
    """Only of the subquery's own tables."""
    assert user_columns(M, And((MINE, Compare("=", ColumnRef(0, "owner", "uuid"), Uid())))) == [M_WHO]
