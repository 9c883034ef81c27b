"""Subqueries: EXISTS, IN, ARRAY and values, and what changes which rows there are."""

import pytest

from bridge.authorization.undecided import UndecidedError
from tests.support.catalogs import BOB
from tests.support.policies import answer, refused

OF_ROOM = "from members m where m.room_id = notes.room_id"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exists (select 1 {})", True),
        ("exists (select)", True),
        ("exists (select m.role {} order by 1 limit 1)", True),
        ("not exists (select 1 {} and m.user_id = auth.uid())", False),
        ("exists (select distinct m.role {})", True),
        ("exists (select 1 {} union select 1 from rooms)", True),
        ("auth.uid() in (select m.user_id {})", True),
        ("'x' in (select m.role {})", None),
        ("'owner' not in (select m.role {})", False),
        ("null::text in (select m.role {} and false)", False),
        ("'x' <> all (select m.role {})", None),
        ("'owner' = any (select m.role {})", True),
        ("'guest' in (select m.role {} union all select m.role from members m where m.room_id = 2)", True),
        ("'x' = any (array(select m.role {}))", None),
        ("(select m.level {} and m.user_id = auth.uid()) = 3", True),
        ("(select m.level {} and m.room_id = 9) is null", True),
        ("(select distinct m.room_id {}) = 1", True),
        ("(select m.room_id {} limit 1) = 1", True),
        ("'owner' in (select m.role {} and m.level = 3 limit 1)", True),
        ("'owner' in (select m.role {} and m.role = 'x' limit 1)", False),
        ("'x' not in (select m.role {} and m.level is null limit 1)", None),
        ("exists (select 1 from (select m.role {} and m.level = 3 limit 1) s where s.role = 'owner')", True),
        (
            "exists (with o as (select m.room_id {} limit 1) select 1 from o a, o b where a.room_id = b.room_id)",
            True,
        ),
        (
            "exists (with o as (select m.role {} and m.room_id = room_id) select 1 from rooms r where exists (select 1 from o))",
            True,
        ),
        ("exists (select unnest(tags) {} and m.level = 3)", True),
        ("'t' in (select unnest(tags) || coalesce(m.role, '') {} and m.level is null)", True),
        ("(select true)", True),
        ("(select true where false) is null", True),
        ("(select m.room_id {} union select m.room_id {}) = 1", True),
    ],
)
def test_a_subquery(text: str, expected: bool | None) -> None:  # noqa: FBT001
    """NULL among the values leaves IN open; no row is NULL."""
    assert answer(text.format(OF_ROOM, OF_ROOM), tags=["t"]) is expected


@pytest.mark.parametrize("text", ["(select m.role {}) = 'owner'", "(select m.role {} limit 1) = 'owner'"])
def test_several_rows_where_one_is_expected_are_left_to_postgres(text: str) -> None:
    """An error there, or any of them."""
    with pytest.raises(UndecidedError):
        answer(text.format(OF_ROOM))


def test_a_subquery_sees_the_outer_row() -> None:
    """The innermost name counts, others are those of the row."""
    assert answer("exists (select 1 from rooms where rooms.id = room_id)")
    assert answer("exists (select 1 from members where room_id = notes.room_id and user_id = owner_id)")
    assert not answer(
        "exists (select 1 from members where room_id = notes.room_id and user_id = owner_id)", owner_id=None
    )
    assert answer(
        "exists (select 1 from members m where exists (select 1 from rooms r where r.id = m.room_id and m.user_id = auth.uid()))",
        uid=BOB,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("auth.uid() in (select distinct on (m.room_id) m.user_id from members m)", "DISTINCT ON"),
        ("auth.uid() in (select m.user_id from members m limit 2)", "LIMIT"),
        ("auth.uid() in (select m.user_id from members m offset 1)", "OFFSET"),
        (
            "auth.uid() in (select m.user_id from members m union select m.user_id from members m limit 2)",
            "LIMIT",
        ),
        (
            "auth.uid() in (select m.user_id from members m intersect select m.user_id from members m)",
            "INTERSECT",
        ),
        ("auth.uid() in (select m.user_id from members m except select m.user_id from members m)", "EXCEPT"),
        ("exists (select 1 from members m limit 0)", "LIMIT"),
        ("exists (select m.role from members m group by m.role)", "GROUP BY"),
        ("exists (select 1 from members m having true)", "HAVING"),
        ("exists (select 1 from members m for update)", "FOR UPDATE"),
        ("1 in (values (1))", "VALUES"),
        ("3 > any (select m.level from members m)", "ANY_SUBLINK"),
        ("3 > all (select m.level from members m)", "ALL_SUBLINK"),
        ("(select m.level, m.role from members m) is null", "2 columns"),
        ("exists (with recursive r as (select 1) select 1 from r)", "RECURSIVE"),
        ("exists (with r (a) as (select 1) select 1 from r)", "column names"),
        ("exists (select 1 from members m where m.level)", "not boolean"),
        ("exists (select 1 from members a, members b where role = 'x')", "ambiguous"),
        ("id in (select m.role from members m)", "is expected|not supported"),
    ],
)
def test_what_changes_the_rows_is_refused(text: str, reason: str) -> None:
    """Postgres is asked."""
    refused(text, reason)
