"""One case per fact of row-level security that decides exactness, each compared with Postgres.

The generated cases of ``test_oracle.py`` meet most of these by chance; here each has a name.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from bridge.events import Row
from tests.oracle.agreement import agree
from tests.oracle.grammar import OWNER, USERS, TableSpec
from tests.oracle.world import World, principal

ANN, BOB, CAT, DAN = USERS
R1, R2, R3 = (f"00000000-0000-0000-0000-0000000000{n}0" for n in (1, 2, 3))

ROOMS = TableSpec(
    name="rooms",
    columns={"id": "uuid", "owner_id": "uuid", "title": "text", "open": "boolean", "level": "integer"},
    key=("id",),
)
MEMBERS = TableSpec(
    name="members",
    columns={"room_id": "uuid", "user_id": "uuid", "role": "text", "left_at": "timestamptz"},
    key=("room_id", "user_id"),
)
NOTES = TableSpec(
    name="notes",
    columns={"id": "integer", "room_id": "uuid", "author_id": "uuid", "body": "text"},
    key=("id",),
)
BLOCKS = TableSpec(name="blocks", columns={"who": "uuid", "whom": "uuid", "id": "integer"}, key=("id",))
TABLES = (ROOMS, NOTES, MEMBERS, BLOCKS)

SCHEMA = f"""
create schema o;
grant usage on schema o to public;
create table o.rooms (id uuid primary key, owner_id uuid, title text, open boolean, level integer);
create table o.members (
    room_id uuid, user_id uuid, role text, left_at timestamptz, primary key (room_id, user_id)
);
create table o.notes (id integer primary key, room_id uuid, author_id uuid, body text);
create table o.blocks (id integer primary key, who uuid, whom uuid);
grant select on all tables in schema o to anon, authenticated, {OWNER};
alter table o.rooms enable row level security;
alter table o.members enable row level security;
alter table o.notes enable row level security;
alter table o.blocks enable row level security;
alter publication supabase_realtime add table o.rooms, o.members, o.notes, o.blocks;
insert into o.rooms values
    ('{R1}', '{ANN}', 'one', true, 1), ('{R2}', '{BOB}', 'two', false, 2), ('{R3}', null, null, null, null);
insert into o.members values
    ('{R1}', '{ANN}', 'owner', null), ('{R1}', '{BOB}', 'member', null), ('{R1}', '{CAT}', null, now()),
    ('{R2}', '{BOB}', 'owner', null), ('{R2}', '{DAN}', 'blocked', null);
insert into o.notes values
    (1, '{R1}', '{ANN}', 'a'), (2, '{R1}', '{BOB}', null), (3, '{R2}', '{CAT}', ''),
    (4, '{R3}', null, 'a'), (5, null, '{ANN}', 'b');
insert into o.blocks values (1, '{ANN}', '{BOB}'), (2, '{BOB}', null), (3, '{CAT}', '{ANN}');
"""

MEMBER = "exists (select 1 from o.members m where m.room_id = {} and m.user_id = auth.uid())"


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[World]:
    with connection.transaction(force_rollback=True):
        made = World(connection, TABLES)
        made.execute(SCHEMA)
        yield made


def select(table: str, using: str, rest: str = "for select") -> str:
    """A policy under a name of its own."""
    name = f"p{zlib.crc32(f'{table} {using} {rest}'.encode())}"
    return f"create policy {name} on o.{table} {rest} using ({using})"


def seen_by(world: World, table: TableSpec, user: str | None) -> Sequence[Row]:
    """What Postgres shows a user."""
    (rows,) = world.seen([table], [principal(user)]).values()
    return rows


MEMBER_OF_ROOM = MEMBER.format("notes.room_id")

SHAPES = {
    "constant true": select("notes", "true"),
    "constant false": select("notes", "false"),
    "constant null": select("notes", "null::boolean"),
    "uid is a column": select("notes", "auth.uid() = author_id"),
    "a column is uid, selected once": select("notes", "author_id = (select auth.uid())"),
    "one of several columns": select("notes", "auth.uid() = author_id or room_id = auth.uid()"),
    "another user": select("notes", "author_id <> auth.uid()"),
    "not mine": select("notes", "not (author_id = auth.uid())"),
    "somebody signed in": select("notes", "auth.uid() is not null"),
    "a role": select("notes", "auth.role() = 'authenticated'"),
    "a text": select("notes", "body = 'a'"),
    "no text": select("notes", "body is null"),
    "one of texts": select("notes", "body in ('a', 'b')"),
    "none of texts": select("notes", "body not in ('a', 'x')"),
    "none of texts with null": select("notes", "body not in ('a', null)"),
    "any of an array": select("notes", "body = any (array['a', ''])"),
    "an order": select("rooms", "level >= 2"),
    "a boolean column": select("rooms", "open"),
    "a boolean column is not true": select("rooms", "open is not true"),
    "a boolean column is unknown": select("rooms", "open is unknown"),
    "correlated EXISTS": select("members", "true") + ";" + select("notes", MEMBER_OF_ROOM),
    "IN a subquery": select("members", "true")
    + ";"
    + select("notes", "room_id in (select m.room_id from o.members m where m.user_id = auth.uid())"),
    "NOT IN with a NULL": select("blocks", "true")
    + ";"
    + select("notes", "author_id not in (select b.whom from o.blocks b where b.who = auth.uid())"),
    "a filter inside": select("members", "true")
    + ";"
    + select(
        "notes",
        "exists (select 1 from o.members m where m.room_id = notes.room_id and m.user_id = auth.uid()"
        " and m.left_at is null and m.role <> 'blocked' and m.role = any (array['owner', 'member']))",
    ),
    "a join": select("members", "true")
    + ";"
    + select("rooms", "true")
    + ";"
    + select(
        "notes",
        "exists (select 1 from o.rooms r, o.members m where r.id = notes.room_id and m.room_id = r.id"
        " and m.user_id = auth.uid() and r.open)",
    ),
    "a subquery in a subquery": select("members", "true")
    + ";"
    + select("rooms", "true")
    + ";"
    + select(
        "notes", f"exists (select 1 from o.rooms r where r.id = notes.room_id and {MEMBER.format('r.id')})"
    ),
    "OR of everything": select("members", "true")
    + ";"
    + select("rooms", "true")
    + ";"
    + select(
        "notes",
        f"author_id = auth.uid() or {MEMBER_OF_ROOM} or room_id in (select r.id from o.rooms r where r.open)",
    ),
    "a global switch": select("members", "true")
    + ";"
    + select("notes", "exists (select 1 from o.members m where m.user_id = auth.uid() and m.role = 'owner')"),
    "not blocked": select("blocks", "who = auth.uid()")
    + ";"
    + select(
        "notes",
        "not exists (select 1 from o.blocks b where b.whom = auth.uid() and b.who = notes.author_id)",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_real_policies_have(world: World, shape: str) -> None:
    """It compiles, and every user sees what Postgres shows them."""
    plans = agree(world, SHAPES[shape]).plans
    assert not any(plan.opaque for plan in plans.values())


def test_inner_rls_hides_rows_from_a_subquery(world: World) -> None:
    """A subquery reads only what the user may read: EXISTS shows less."""
    agree(
        world,
        select("rooms", "owner_id = auth.uid()"),
        select("notes", "exists (select 1 from o.rooms r where r.id = notes.room_id)"),
    )
    assert {row["id"] for row in seen_by(world, NOTES, ANN)} == {1, 2}


def test_inner_rls_hides_what_not_exists_looks_for(world: World) -> None:
    """Blocks that only the blocker may read never hide anything from the blocked."""
    agree(
        world,
        select("blocks", "who = auth.uid()"),
        select(
            "notes", "not exists (select 1 from o.blocks b where b.whom = auth.uid() and b.who = author_id)"
        ),
    )
    assert len(seen_by(world, NOTES, BOB)) == 5


def test_a_table_without_policies_that_a_subquery_reads_is_empty(world: World) -> None:
    """RLS without a policy lets nothing through, in a subquery, too."""
    agree(world, select("notes", MEMBER_OF_ROOM))
    assert seen_by(world, NOTES, ANN) == []


def test_policies_in_a_circle_show_nothing(world: World) -> None:
    """42P17 fails every SELECT, also where a sibling policy would let rows through."""
    plans = agree(
        world,
        select("rooms", MEMBER.format("rooms.id")),
        select("rooms", "true"),
        select("members", "exists (select 1 from o.rooms r where r.id = members.room_id)"),
    )
    assert "42P17" in plans.nobody["o.rooms", "authenticated"]
    assert seen_by(world, ROOMS, ANN) == []


def test_a_policy_that_reads_its_own_table_shows_nothing(world: World) -> None:
    """The smallest circle, and the most common mistake."""
    plans = agree(world, select("members", MEMBER.format("members.room_id")))
    assert "42P17" in plans.nobody["o.members", "authenticated"]


@pytest.mark.parametrize("asked", ["", " and n.body ~ 'a'"])
def test_a_circle_behind_a_missing_grant_shows_nothing(world: World, asked: str) -> None:
    """A constant spares the subquery the look at privileges, but not at policies."""
    plans = agree(
        world,
        "revoke select on o.notes, o.blocks from authenticated; grant select (id) on o.notes to authenticated",
        select(
            "rooms",
            "exists (select 1 from o.blocks b, o.notes n where n.body = rooms.title" + asked + ") or true",
        ),
        select("notes", "room_id in (select r.id from o.rooms r)"),
    )
    assert "42P17" in plans.nobody["o.rooms", "authenticated"]


def test_a_missing_grant_counts_beside_what_is_asked(world: World) -> None:
    """In a policy of a table that is read, of which another policy is asked about."""
    plans = agree(
        world,
        "revoke select on o.members from authenticated; grant select (room_id) on o.members to authenticated",
        "create policy a on o.notes for select using (exists (select 1 from o.members m where m.role = notes.body))",
        "create policy z on o.notes for select using (notes.body ~ 'a')",
        select(
            "rooms", "owner_id = auth.uid() or exists (select 1 from o.notes n where n.room_id = rooms.id)"
        ),
    )
    assert "42501" in plans.nobody["o.rooms", "authenticated"]


def test_a_definer_function_breaks_the_circle(world: World) -> None:
    """Its owner is not bound by the policies, so the table can be looked into."""
    agree(
        world,
        "create function o.is_member(room uuid) returns boolean language sql volatile security definer as"
        f" $$ select {MEMBER.format('room')} $$",
        select("members", "o.is_member(room_id)"),
        select("notes", "o.is_member(room_id)"),
    )
    assert {row["id"] for row in seen_by(world, NOTES, ANN)} == {1, 2}


def test_a_definer_function_of_a_bound_owner_reads_under_rls(world: World) -> None:
    """An owner without BYPASSRLS that does not own the table sees what policies show it."""
    agree(
        world,
        "create function o.is_member(room uuid) returns boolean language sql stable security definer as"
        f" $$ select {MEMBER.format('room')} $$",
        f"alter function o.is_member(uuid) owner to {OWNER}",
        select("members", "role = 'owner'", f"for select to {OWNER}"),
        select("members", "true", "for select to authenticated"),
        select("notes", "o.is_member(room_id)"),
    )
    assert seen_by(world, NOTES, DAN) == []
    assert seen_by(world, NOTES, ANN) != []


def test_an_invoker_function_reads_under_the_users_rls(world: World) -> None:
    """A function without SECURITY DEFINER sees what the user sees."""
    agree(
        world,
        "create function o.is_member(room uuid) returns boolean language sql volatile as"
        f" $$ select {MEMBER.format('room')} $$",
        select("members", "role = 'owner'"),
        select("notes", "o.is_member(room_id)"),
    )
    assert seen_by(world, NOTES, CAT) == []


def test_a_function_that_may_not_be_called_shows_nothing(world: World) -> None:
    """42501 fails every SELECT."""
    plans = agree(
        world,
        "create function o.yes() returns boolean language sql stable"
        " as $$ select exists (select 1 from o.rooms r) $$",
        "revoke execute on function o.yes() from public",
        select("notes", "author_id = auth.uid() or o.yes()"),
    )
    assert "42501" in plans.nobody["o.notes", "authenticated"]


def test_a_table_owner_is_bound_only_by_force(world: World) -> None:
    """Inside a definer function the owner of the table sees all rows, unless FORCE binds it."""
    function = (
        (
            "create function o.is_member(room uuid) returns boolean language sql stable security definer as"
            f" $$ select {MEMBER.format('room')} $$"
        ),
        f"alter function o.is_member(uuid) owner to {OWNER}",
        f"grant create on schema o to {OWNER}",
        f"alter table o.members owner to {OWNER}",
        select("notes", "o.is_member(room_id)"),
    )
    agree(world, *function)
    assert seen_by(world, NOTES, ANN) != []
    agree(world, "alter table o.members force row level security")
    assert seen_by(world, NOTES, ANN) == []


def test_a_missing_grant_hides_a_table_with_policies(world: World) -> None:
    """42501 for the role without SELECT, rows for the other."""
    plans = agree(world, select("notes", "true"), "revoke select on o.notes from anon")
    assert "no SELECT privilege" in plans.nobody["o.notes", "anon"]
    assert len(seen_by(world, NOTES, ANN)) == 5


def test_a_schema_that_may_not_be_used_hides_its_tables(world: World) -> None:
    """42501 without USAGE on the schema, whatever is granted on the table."""
    plans = agree(
        world,
        select("notes", "true"),
        "revoke usage on schema o from public",
        "grant usage on schema o to anon",
    )
    assert "no USAGE on schema" in plans.nobody["o.notes", "authenticated"]
    assert seen_by(world, NOTES, ANN) == []


def test_a_missing_grant_on_a_table_that_a_policy_reads_shows_nothing(world: World) -> None:
    """The whole SELECT fails, also for rows that another policy would show."""
    plans = agree(
        world,
        select("notes", "author_id = auth.uid()"),
        select("notes", MEMBER_OF_ROOM),
        select("members", "true"),
        "revoke select on o.members from authenticated",
    )
    assert "42501" in plans.nobody["o.notes", "authenticated"]
    assert seen_by(world, NOTES, ANN) == []


def test_a_constant_spares_what_would_fail(world: World) -> None:
    """Postgres folds constants before it asks for privileges: beside TRUE the other policy is not read."""
    plans = agree(
        world,
        select("notes", "true"),
        select("notes", MEMBER_OF_ROOM),
        "revoke select on o.members from authenticated",
    )
    assert ("o.notes", "authenticated") not in plans.nobody
    assert len(seen_by(world, NOTES, ANN)) == 5


def test_a_comparison_with_null_spares_what_would_fail(world: World) -> None:
    """It is folded to NULL, which is false for a policy: the subquery beside it is never planned."""
    agree(
        world,
        select("notes", "author_id = auth.uid()"),
        select("notes", f"body <> null and {MEMBER_OF_ROOM}"),
        "revoke select on o.members from authenticated",
    )
    assert len(seen_by(world, NOTES, ANN)) == 2


def test_what_is_always_true_but_no_constant_spares_nothing(world: World) -> None:
    """A column that is never NULL is tested later than privileges are asked for."""
    plans = agree(
        world,
        select("notes", "id is not null or auth.jwt() is not null"),
        select("notes", MEMBER_OF_ROOM),
        "revoke select on o.members from authenticated",
    )
    assert "42501" in plans.nobody["o.notes", "authenticated"]


def test_a_false_restrictive_policy_spares_nothing(world: World) -> None:
    """It is a qualifier of its own, so a subquery on its table fails all the same."""
    agree(
        world,
        select("blocks", "true", "as restrictive for select"),
        select("blocks", "false", "as restrictive for select"),
        select("blocks", MEMBER.format("blocks.whom")),
        select("notes", "not exists (select 1 from o.blocks b)"),
        "revoke select on o.members from authenticated",
    )
    assert seen_by(world, NOTES, ANN) == []
    assert len(seen_by(world, NOTES, None)) == 5


def test_rows_that_nobody_sees_do_not_spare_what_fails_beside_them(world: World) -> None:
    """A subquery over a table without policies is empty, but what its WHERE reads needs the privilege."""
    agree(
        world,
        select("notes", f"author_id not in (select b.who from o.blocks b where {MEMBER.format('b.whom')})"),
        "revoke select on o.members from authenticated",
    )
    assert seen_by(world, NOTES, ANN) == []
    assert seen_by(world, NOTES, None) != []


def test_column_grants_cut_the_row_not_the_rows(world: World) -> None:
    """All rows that the policies show, with the granted columns only; the policy may read the others."""
    agree(
        world,
        select("notes", "author_id = auth.uid()"),
        "revoke select on o.notes from anon, authenticated",
        "grant select (id, body) on o.notes to authenticated",
        "grant select (room_id) on o.notes to public",
    )
    assert seen_by(world, NOTES, BOB) == [{"id": 2, "body": None, "room_id": R1}]


def test_a_subquery_needs_the_columns_that_it_names(world: World) -> None:
    """A column grant that leaves one of them out fails the SELECT; inner policies need none."""
    agree(
        world,
        select("members", "role <> 'blocked'"),
        select("notes", MEMBER_OF_ROOM),
        "revoke select on o.members from anon, authenticated",
        "grant select (room_id, user_id) on o.members to authenticated",
        "grant select (room_id) on o.members to anon",
    )
    assert seen_by(world, NOTES, BOB) != []


def test_a_role_that_is_granted_brings_its_rights(world: World) -> None:
    """Grants and policies of a role count for its members that inherit."""
    agree(
        world,
        "create role readers; create role inheriting inherit in role readers",
        "revoke select on o.notes from authenticated; grant select on o.notes to readers",
        select("notes", "true", "for select to readers"),
        "grant readers to authenticated",
    )


@pytest.mark.parametrize(("option", "sees"), [("false", 0), ("true", 5)])
def test_how_a_membership_was_granted_decides(world: World, option: str, sees: int) -> None:
    """WITH INHERIT of the grant counts, whatever the role's own attribute says (Postgres 16)."""
    agree(
        world,
        f"create role staff; grant staff to authenticated with inherit {option}",
        select("notes", "true", "for select to staff"),
    )
    assert len(seen_by(world, NOTES, ANN)) == sees


def test_for_all_without_using_shows_nothing(world: World) -> None:
    """FOR ALL WITH CHECK says nothing about SELECT."""
    agree(world, "create policy p on o.notes for all to authenticated with check (true)")
    assert seen_by(world, NOTES, ANN) == []


def test_restrictive_policies_are_ands(world: World) -> None:
    """Permissive ones are ORed, each restrictive one has to hold as well; alone it shows nothing."""
    agree(
        world,
        select("notes", "author_id = auth.uid()"),
        select("notes", "body = 'a'"),
        select("notes", "room_id is not null", "as restrictive for select"),
        select("rooms", "true", "as restrictive for select"),
    )
    assert {row["id"] for row in seen_by(world, NOTES, ANN)} == {1, 4}
    assert seen_by(world, ROOMS, ANN) == []


def test_without_a_permissive_policy_the_restrictive_ones_are_not_looked_at(world: World) -> None:
    """So a circle or a missing grant in one of them fails nothing: NOT EXISTS over the table is true."""
    agree(
        world,
        select("blocks", "exists (select 1 from o.blocks b)", "as restrictive for select"),
        select("notes", "not exists (select 1 from o.blocks b)"),
    )
    assert len(seen_by(world, NOTES, ANN)) == 5


def test_the_last_policy_by_name_is_asked_first(world: World) -> None:
    """So an error in an earlier one does not hide what it shows: two rows where one is expected."""
    agree(
        world,
        "create policy a on o.notes for select using ((select m.role from o.members m) = 'x')",
        "create policy z on o.notes for select using (author_id = auth.uid())",
        select("members", "true"),
    )
    agree(world, "create policy zz on o.notes for select using ((select m.role from o.members m) = 'x')")


def test_policies_of_other_commands_do_not_count(world: World) -> None:
    """INSERT, UPDATE and DELETE policies show nothing."""
    agree(
        world,
        "create policy i on o.notes for insert with check (true)",
        "create policy u on o.notes for update using (true)",
        "create policy d on o.notes for delete using (true)",
    )
    assert seen_by(world, NOTES, ANN) == []


def test_a_table_without_rls_shows_everything(world: World) -> None:
    """Its policies do not count while RLS is off."""
    agree(world, select("notes", "false"), "alter table o.notes disable row level security")
    assert len(seen_by(world, NOTES, None)) == 5


def test_null_is_not_false(world: World) -> None:
    """auth.uid() is NULL for anon: neither the condition nor its negation lets a row through."""
    agree(world, select("notes", "not (author_id = auth.uid())"))
    assert seen_by(world, NOTES, None) == []
