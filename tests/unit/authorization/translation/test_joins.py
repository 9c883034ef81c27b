"""FROM: tables, joins, subqueries, WITH and functions."""

import pytest

from tests.support.catalogs import BOB, function
from tests.support.policies import answer, refused

MINE = "m.user_id = auth.uid()"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"exists (select 1 from members m join rooms r on r.id = m.room_id where {MINE} and r.open)", True),
        ("exists (select 1 from members m, rooms r where r.id = m.room_id and r.open and m.user_id = owner_id)", True),
        ("exists (select 1 from rooms r left join members m on m.room_id = r.id where m.user_id is null)", True),
        (f"exists (select 1 from rooms r left join members m on m.room_id = r.id and {MINE} where r.id = 1 and m.role is null)", True),
        ("exists (select 1 from rooms r left join members m on m.room_id = r.id where r.id = 2 and m.user_id is null)", False),
        ("exists (select 1 from members a join members b using (room_id) where room_id = 1 and a.user_id <> b.user_id)", True),
        (f"exists (select 1 from (select m.room_id as room from members m where {MINE}) s where s.room = 2)", True),
        (f"exists (select 1 from (select m.room_id from members m where {MINE}) s (room) where s.room = 3)", False),
        (f"exists (with mine as (select m.room_id from members m where {MINE}) select 1 from mine a where a.room_id = 1)", True),
        ("exists (with members as (select r.id from rooms r) select 1 from members where members.id = 3)", True),
        ("exists (select 1 from (select 1 as x union select 2) s where s.x = 2)", True),
        ("exists (select 1 from (select 1 as x union all select null) s where s.x is null)", True),
        (f"exists (select 1 from (select m.room_id as x from members m where {MINE} union select r.org_id from rooms r) s where s.x = 7)", True),
        ("exists (select 1 from (select r.id, m.user_id as who from rooms r left join members m on m.room_id = r.id) s where s.id = 3 and s.who is null)", True),
        ("exists (select 1 from unnest(tags) t where t is null)", True),
        ("exists (select 1 from unnest(tags) t (x) where t is null and t.x is null)", True),
        ("exists (select 1 from jsonb_array_elements_text(extra) e where e.value = e and value = '1')", True),
        ("exists (select 1 from rooms r, lateral (select r.id as x) s where s.x = 3)", True),
        ("auth.uid()::text in (select unnest(tags))", None),
        ("auth.uid()::text in (select jsonb_array_elements_text(extra))", True),
    ],
)  # fmt: skip
def test_from(text: str, expected: bool | None) -> None:  # noqa: FBT001
    """As Postgres combines the rows."""
    assert answer(text, uid=BOB, tags=[None], extra=[1, BOB]) is expected


def test_functions_that_return_rows() -> None:
    """In FROM and in the select list, by the names of their columns."""
    rooms = function(
        "public.my_rooms", "", "integer", f"select m.room_id from members m where {MINE}", returns_set=True
    )

    assert answer("room_id in (select public.my_rooms())", [rooms])
    assert answer("exists (select 1 from public.my_rooms() r where r = notes.room_id)", [rooms])
    assert not answer("3 in (select my_rooms from public.my_rooms())", [rooms])
    refused("public.my_rooms() = 1", "returns a set", [rooms])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("nowhere", "public.nowhere does not exist"),
        ("public.nowhere", "public.nowhere does not exist"),
        ("pg_roles", "pg_roles is not known"),
        ("vault.secrets", "vault.secrets is not known"),
    ],
)
def test_a_table_that_a_function_reads_does_not_exist(table: str, reason: str) -> None:
    """That is said only where the catalog tells of all that is there."""
    refused(
        "public.f()", reason, [function("public.f", "", "boolean", f"select exists (select from {table})")]
    )


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ("members m full join rooms r on true", "FULL JOIN"),
        ("members m right join rooms r on true", "RIGHT JOIN"),
        ("members natural join rooms", "NATURAL"),
        ("members m join rooms r using (nothing)", "nothing of USING"),
        ("nowhere", "nowhere is not known"),
        ("members m (a, b)", "column aliases"),
        ("unnest(tags, tags) as t", "several arrays"),
        ("unnest(tags) with ordinality as t", "function in FROM"),
        ("generate_series(1, 2) as t", "function in FROM"),
        ("members m left join unnest(tags) t on true", "LEFT JOIN"),
        ("members m left join (select 1 as x union select 2) s on true", "LEFT JOIN of a UNION"),
        ("members m left join (select r.id from rooms r where r.open) s on true", "LEFT JOIN"),
        ("members m tablesample system (1)", "RangeTableSample in FROM"),
    ],
)
def test_another_from_is_refused(clause: str, reason: str) -> None:
    """With its name."""
    refused(f"exists (select 1 from {clause})", reason)
