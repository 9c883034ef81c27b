"""``bridge_visible()`` runs policies as they are stored: names in them were resolved when they were created."""

import psycopg
import pytest

from tests.sql.conftest import Connection
from tests.sql.test_visible import ANN, BOB, claims, visible

SCHEMA = """
create schema private;
create type private.kind as enum ('open', 'closed');
create domain private.level as int check (value < 100);
create table private.members (room_id int, user_id uuid);
create table private.listed (room_id int, user_id uuid);
alter table private.listed enable row level security;
create policy own on private.listed using (user_id = auth.uid());
grant select on private.listed to anon, authenticated;
insert into private.members values (1, '{ann}'), (2, '{bob}');
insert into private.listed values (1, '{ann}'), (2, '{bob}');
create function private.is_member(room int) returns boolean language sql stable security definer set search_path = ''
    as 'select exists (select from private.members m where m.room_id = room and m.user_id = auth.uid())';
create function private.is_listed(room int) returns boolean language plpgsql stable
    as 'begin return room in (select l.room_id from private.listed l); end';
create function private.inlined(room int) returns boolean language sql stable as 'select room > 1';
create function private.kept(room int) returns boolean language sql stable as 'select true';
revoke execute on function private.kept(int) from public, anon, authenticated;
create table public.rooms (id int primary key, kind private.kind, level private.level);
alter table public.rooms enable row level security;
insert into public.rooms values (1, 'open', 1), (2, 'closed', 2), (3, 'open', 3);
""".replace("{ann}", ANN).replace("{bob}", BOB)


def selected(connection: Connection, user: str | None) -> list[int]:
    """Return the positions of the rooms that ``user`` selects; none where that is refused."""
    try:
        with connection.transaction(force_rollback=True):
            asked = claims(user)
            connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                (asked["claims"], asked["role"]),
            )
            found = connection.execute("select id from public.rooms order by id").fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return []
    return [number - 1 for (number,) in found]


POLICIES = {
    "definer, SQL": ("private.is_member(id)", [[0], [1], []]),
    "invoker whose text names the schema": ("auth.uid() is null or not private.is_listed(id)", None),
    "invoker, SQL": ("private.inlined(id)", [[1, 2]] * 3),
    "without EXECUTE": ("private.kept(id)", [[]] * 3),
    "table with SELECT and policies": (
        "exists (select from private.listed l where l.room_id = rooms.id)",
        [[0], [1], []],
    ),
    "table without SELECT": ("exists (select from private.members m where m.room_id = rooms.id)", [[]] * 3),
    "enum": ("kind = 'open'::private.kind", [[0, 2]] * 3),
    "domain": ("level = 2::private.level", [[1]] * 3),
    "row": ("rooms.* is not null and (rooms).level > 2", [[2]] * 3),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_needs_no_usage_of_the_schemas_that_it_names(connection: Connection, name: str):
    """Privileges on functions and tables are asked for, and inner policies apply, as in a SELECT."""
    using, expected = POLICIES[name]
    connection.execute(f"create policy p on public.rooms for select using ({using})")
    truth = [selected(connection, user) for user in (ANN, BOB, None)]
    rows = [row for (row,) in connection.execute("select to_jsonb(r) from public.rooms r order by id")]
    assert visible(connection, rows, ANN, BOB, None, table="public.rooms") == truth
    assert expected is None or truth == expected


def test_functions_that_are_made_for_nobody_do_not_hide_the_question(connection: Connection):
    """Where default privileges keep EXECUTE from everybody, the user may still be asked for."""
    connection.execute(
        "alter default privileges revoke execute on functions from public, anon, authenticated"
    )
    connection.execute("create policy p on public.rooms for select using (private.is_member(id))")
    assert visible(connection, [{"id": 1}, {"id": 2}], ANN, BOB, table="public.rooms") == [[0], [1]]


def test_a_question_leaves_nothing_in_the_session(connection: Connection):
    """Sessions are pooled: nothing that was made for the question is there afterwards."""
    connection.execute("create policy p on public.rooms for select using (private.is_member(id))")
    made = "select count(*) from pg_proc where proname like 'bridge%'"
    before = connection.execute(made).fetchone()
    for _ in range(2):
        assert visible(connection, [{"id": 1}], ANN, table="public.rooms") == [[0]]
    assert connection.execute(made).fetchone() == before


def test_service_role_needs_no_usage_either(connection: Connection):
    """What a policy names is resolved with the rights of the owner of the bridge's functions."""
    connection.execute("create policy p on public.rooms for select using (private.is_member(id))")
    connection.execute("set local role service_role")
    assert visible(connection, [{"id": 1}, {"id": 2}], ANN, table="public.rooms") == [[0]]
    assert connection.execute("select current_user").fetchone() == ("service_role",)


def test_a_policy_that_reads_system_columns_shows_nothing(connection: Connection):
    """The row of a change has none (docs/policies.md)."""
    connection.execute("create policy p on public.rooms using (tableoid = 'public.rooms'::regclass)")
    assert visible(connection, [{"id": 1}], ANN, table="public.rooms") == [[]]


def test_columns_are_the_tables_own_whatever_their_names(connection: Connection):
    """No name in the question hides a column or a table that the policy means."""
    connection.execute(
        "create table public.bridge_given (id int primary key, bridge_row int, bridge_position int, bridge_given int)"
    )
    connection.execute("alter table public.bridge_given enable row level security")
    connection.execute(
        "create policy p on public.bridge_given using (bridge_row = bridge_position and bridge_given = 2"
        " and bridge_given.bridge_row = 1)"
    )
    row = {"id": 1, "bridge_row": 1, "bridge_position": 1, "bridge_given": 2}
    rows = [row, row | {"bridge_position": 2}]
    assert visible(connection, rows, ANN, table="public.bridge_given") == [[0]]
