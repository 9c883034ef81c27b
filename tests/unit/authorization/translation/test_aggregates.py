"""Aggregates: what a subquery makes of all of its rows."""

import pytest

from tests.support.catalogs import function
from tests.support.policies import answer, refused

OF_ROOM = "from members m where m.room_id = notes.room_id"


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("(select count(*) {}) = 2", 1, True),
        ("(select count(*) {}) = 0", 9, True),
        ("(select count(m.role) {}) = 1", 1, True),
        ("(select count(null) {}) = 0", 1, True),
        ("(select count(1) {}) = 2", 1, True),
        ("(select count(*) > 1 {})", 1, True),
        ("(select array_agg(m.role) {}) is null", 9, True),
        ("'owner' = any ((select array_agg(m.role) {})::text[])", 1, True),
        ("'x' = any ((select array_agg(m.role) {})::text[])", 1, None),
        ("(select bool_or(m.level > 2) {})", 1, True),
        ("(select bool_and(m.level > 2) {})", 1, True),
        ("(select bool_or(m.level > 2) {})", 2, False),
        ("(select every(m.level > 2) {}) is null", 9, True),
        ("coalesce((select bool_or(true) {}), false)", 9, False),
    ],
)
def test_an_aggregate(text: str, room: int, expected: bool | None) -> None:  # noqa: FBT001
    """NULLs do not count, and without a row only count has a value."""
    assert answer(text.format(OF_ROOM), room_id=room) is expected


def test_count_of_the_rows_without_a_partner() -> None:
    """Their column is NULL, which does not count."""
    joined = "from rooms r left join members m on m.room_id = r.id"

    assert answer(f"(select count(*) {joined}) = 4")
    assert answer(f"(select count(m.user_id) {joined}) = 3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(select sum(m.level) from members m) > 1", "aggregate sum"),
        ("(select count(distinct m.role) from members m) > 1", "aggregate count"),
        ("(select count(*) filter (where m.level > 1) from members m) > 1", "FILTER"),
        ("(select count(*) over () from members m) > 1", "FILTER or OVER"),
        ("(select count(*) from members m group by m.role) > 1", "GROUP BY"),
        ("(select count(*) from members m having count(*) > 1) > 1", "HAVING"),
        ("(select distinct count(*) from members m) > 1", "DISTINCT"),
        ("(select count(*) from (select distinct m.role from members m) s) > 1", "distinct rows"),
        ("(select count(*) from members m limit 1) > 1", "LIMIT"),
        ("exists (select count(*) from members m)", "agg_star"),
    ],
)
def test_other_aggregates_are_refused(text: str, reason: str) -> None:
    """Those that need an order, numbers that are not integers, or groups."""
    refused(text, reason)


def test_a_function_with_the_name_of_an_aggregate_is_none() -> None:
    """It is the project's own, and makes a value of each row."""
    own = function("private.bool_or", "given boolean", "boolean", "select not given")

    text = "(select {}(m.level > 2) from members m where m.room_id = notes.room_id and m.role is not null)"
    assert answer(text.format("bool_or"), [own], room_id=1) is True
    assert answer(text.format("private.bool_or"), [own], room_id=1) is False
