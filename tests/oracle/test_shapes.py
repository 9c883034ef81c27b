"""The constructs of real policies, on tables with all the types they use, each compared with Postgres.

``MEMORY`` are decided without asking; ``ASKED`` are not known here, so Postgres decides: both agree with
``select`` under RLS for every row and user.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.oracle.agreement import agree
from tests.oracle.grammar import OWNER, USERS, TableSpec
from tests.oracle.world import World, principal

ANN, BOB, CAT, DAN = USERS
R1, R2, R3 = (f"00000000-0000-0000-0000-0000000000{n}0" for n in (1, 2, 3))
ORG, OTHER = (f"00000000-0000-0000-0000-00000000c{n}00" for n in (1, 2))

PRINCIPALS = (
    principal(ANN, email="ann@example.org", app_metadata={"org_id": ORG, "role": "admin", "teams": ["red"]}),
    principal(
        BOB, email="BOB@example.org", app_metadata={"org_id": OTHER, "teams": ["blue", "red"]}, aal="aal2"
    ),
    principal(CAT, email=None, app_metadata={"org_id": None, "level": 3}, user_metadata={"vip": True}),
    principal(DAN),
    principal(None),
)

ROOMS = TableSpec(
    name="rooms",
    columns={
        "id": "uuid",
        "owner_id": "uuid",
        "org_id": "uuid",
        "kind": "o.kind",
        "settings": "jsonb",
        "people": "uuid[]",
        "tags": "text[]",
        "closes_at": "timestamptz",
        "day": "date",
        "price": "numeric",
        "email": "text",
        "open": "boolean",
    },
    key=("id",),
)
NOTES = TableSpec(
    name="notes",
    columns={"id": "integer", "room_id": "uuid", "author_id": "uuid", "body": "text", "level": "integer"},
    key=("id",),
)
MEMBERS = TableSpec(
    name="members",
    columns={
        "room_id": "uuid",
        "user_id": "uuid",
        "role": "text",
        "left_at": "timestamptz",
        "level": "smallint",
    },
    key=("room_id", "user_id"),
)
PROFILES = TableSpec(
    name="profiles",
    columns={"id": "uuid", "org_id": "uuid", "kind": "o.kind", "is_admin": "boolean", "room_id": "uuid"},
    key=("id",),
)
TABLES = (ROOMS, NOTES, MEMBERS, PROFILES)

SCHEMA = f"""
create schema o;
grant usage on schema o to public;
create type o.kind as enum ('admin', 'staff', 'guest');
create table o.rooms (
    id uuid primary key, owner_id uuid, org_id uuid, kind o.kind, settings jsonb, people uuid[], tags text[],
    closes_at timestamptz, day date, price numeric, email text, open boolean not null default false
);
create table o.notes (id integer primary key, room_id uuid, author_id uuid, body text, level integer);
create table o.members (
    room_id uuid, user_id uuid, role text, left_at timestamptz, level smallint, primary key (room_id, user_id)
);
create table o.profiles (id uuid primary key, org_id uuid, kind o.kind, is_admin boolean, room_id uuid);
create table o.hidden (id uuid primary key, user_id uuid);
grant select on all tables in schema o to anon, authenticated, {OWNER};
alter table o.rooms enable row level security;
alter table o.notes enable row level security;
alter publication supabase_realtime add table o.rooms, o.notes, o.members, o.profiles;
insert into o.rooms values
    ('{R1}', '{ANN}', '{ORG}', 'admin', '{{"visibility": "public", "n": 1, "flags": {{"a": true}}, "users": ["{BOB}"]}}',
     '{{{ANN},{BOB}}}', '{{red,green}}', '2020-01-01 10:00+02', '2020-01-01', 1.50, 'ann@example.org', true),
    ('{R2}', '{BOB}', '{OTHER}', 'guest', '{{"visibility": null, "n": 2.5, "flags": {{}}, "users": []}}',
     array[null, '{CAT}']::uuid[], '{{}}', '2120-01-01', '2120-01-01', 10, 'Bob@Example.org', false),
    ('{R3}', null, null, null, null, null, null, 'infinity', null, null, 'é@example.org', false);
insert into o.rooms (id, settings, people) values ('{OTHER}', '{{}}', '{{}}'), ('{ORG}', '["public"]', null);
insert into o.members values
    ('{R1}', '{ANN}', 'owner', null, 3), ('{R1}', '{BOB}', 'member', null, 1), ('{R1}', '{CAT}', null, now(), null),
    ('{R2}', '{BOB}', 'owner', '2120-01-01', 2), ('{R2}', '{DAN}', 'blocked', null, 0);
insert into o.profiles values
    ('{ANN}', '{ORG}', 'admin', true, '{R1}'), ('{BOB}', '{OTHER}', 'guest', false, null), ('{CAT}', null, null, null, '{R2}');
insert into o.notes values
    (1, '{R1}', '{ANN}', 'a', 1), (2, '{R1}', '{BOB}', null, 2), (3, '{R2}', '{CAT}', 'A_b', 3),
    (4, '{R3}', null, 'a%', null), (5, null, '{ANN}', 'public/{ANN}', 0);
insert into o.hidden values ('{R1}', '{BOB}');
"""


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[World]:
    with connection.transaction(force_rollback=True):
        made = World(connection, TABLES, PRINCIPALS)
        made.execute(SCHEMA)
        yield made


JWT = "current_setting('request.jwt.claims', true)::json"

ROOM_POLICIES = {
    "claim cast to uuid": "org_id = ((auth.jwt() -> 'app_metadata' ->> 'org_id')::uuid)",
    "claim by path": "org_id::text = auth.jwt() #>> '{app_metadata,org_id}'",
    "claim by current_setting": f"owner_id::text = {JWT} ->> 'sub'",
    "claim by current_setting, cast": f"owner_id = ({JWT} ->> 'sub')::uuid",
    "an admin by claim": "(auth.jwt() -> 'app_metadata' ->> 'role') = 'admin'",
    "an admin by claim or the owner": "coalesce(auth.jwt() -> 'app_metadata' ->> 'role', '') = 'admin' or owner_id = auth.uid()",
    "a boolean claim": "coalesce((auth.jwt() -> 'user_metadata' ->> 'vip')::boolean, false)",
    "a number claim": "(auth.jwt() -> 'app_metadata' ->> 'level')::int >= 3",
    "a team among the claims": "auth.jwt() -> 'app_metadata' -> 'teams' ? tags[1] or tags[1] is null or true",
    "two factors": "(select auth.jwt() ->> 'aal') = 'aal2'",
    "not two factors": "(auth.jwt() ->> 'aal') is distinct from 'aal2'",
    "email is mine": "email = auth.email()",
    "email is mine, by claim": "email = (auth.jwt() ->> 'email')",
    "email in lower case": "lower(email) = lower(auth.jwt() ->> 'email')",
    "email of a domain": "(auth.jwt() ->> 'email') like '%@example.org'",
    "email is not like": "email not like 'ann@%'",
    "email ilike": "email ilike 'BOB@%'",
    "database role": "current_user = 'authenticated'",
    "auth.role": "auth.role() = 'authenticated'",
    "auth.role in a list": "auth.role() in ('authenticated', 'service_role')",
    "request header": "coalesce(current_setting('request.headers', true)::json ->> 'x-key', '') = 'x'",
    "in people": "auth.uid() = any (people)",
    "not in people": "not (auth.uid() = any (people))",
    "in people, by contains": "people @> array[auth.uid()] or owner_id = auth.uid()",
    "tag among constants": "tags && array['red', 'blue']",
    "has all tags": "tags @> '{red,green}'",
    "tag of an array": "'red' = any (tags)",
    "tag is none": "'red' <> all (tags)",
    "how many tags": "array_length(tags, 1) > 1",
    "cardinality": "cardinality(people) = 2",
    "setting": "settings ->> 'visibility' = 'public'",
    "setting is not": "settings ->> 'visibility' <> 'public'",
    "setting, coalesced": "coalesce(settings ->> 'visibility', 'private') = 'private'",
    "setting by path": "settings #>> '{flags,a}' = 'true'",
    "setting as boolean": "(settings -> 'flags' ->> 'a')::boolean",
    "setting as jsonb boolean": "(settings -> 'flags' -> 'a')::boolean is true",
    "setting as number": "(settings ->> 'n')::int = 1 or owner_id = auth.uid()",
    "setting has key": "settings ? 'visibility'",
    "setting contains": 'settings @> \'{"visibility": "public"}\'',
    "setting contains me": "settings -> 'users' ? auth.uid()::text",
    "setting equals": "settings -> 'n' = '1'",
    "setting is null": "settings -> 'visibility' is null",
    "enum": "kind = 'admin'",
    "enum in a list": "kind in ('admin', 'staff')",
    "enum order": "kind <= 'staff'",
    "enum order of a look-up": "(select p.kind from o.profiles p where p.id = auth.uid()) >= 'staff'",
    "enum order of a look-up and the row": "kind >= (select p.kind from o.profiles p where p.id = auth.uid())",
    "enum order in a membership": "exists (select 1 from o.profiles p where p.room_id = rooms.id and p.id = auth.uid() and p.kind < 'guest')",
    "enum between": "kind between 'admin' and 'staff'",
    "enum as text": "kind::text = 'guest'",
    "enum any": "kind = any (array['admin', 'guest']::o.kind[])",
    "case": "case when kind = 'admin' then owner_id = auth.uid() when kind is null then true else false end",
    "case of a value": "case kind when 'admin' then 'x' when 'guest' then 'y' else 'z' end = 'y'",
    "nullif": "nullif(email, 'ann@example.org') is null",
    "coalesce of columns": "coalesce(owner_id, org_id) = auth.uid()",
    "coalesce of a boolean": "coalesce(open, true)",
    "still open": "closes_at > now()",
    "closed or mine": "closes_at < now() or owner_id = auth.uid()",
    "closed long ago": "closes_at < now() - interval '30 days'",
    "closed within": "now() - closes_at < interval '1 year 2 mons'",
    "closes before a time": "closes_at <= '2020-01-01 08:00:00+00'",
    "a day": "day = '2020-01-01'",
    "today or later": "day >= current_date",
    "price": "price > 1.5",
    "price and integer": "price >= 10",
    "price between": "price between 1 and 2.5",
    "price is": "price = 1.5",
    "distinct from": "owner_id is distinct from auth.uid()",
    "not distinct from": "owner_id is not distinct from auth.uid()",
    "length": "length(email) > 15",
    "split": "split_part(email, '@', 1) = 'ann'",
    "concatenation": "'room:' || id::text = 'room:' || owner_id::text or email || 'x' = 'ann@example.orgx'",
    "scalar look-up": "org_id = (select p.org_id from o.profiles p where p.id = auth.uid())",
    "scalar look-up, turned": "(select p.org_id from o.profiles p where p.id = auth.uid()) = org_id",
    "scalar look-up, not": "org_id <> (select p.org_id from o.profiles p where p.id = auth.uid())",
    "scalar look-up is null": "(select p.org_id from o.profiles p where p.id = auth.uid()) is null",
    "scalar look-up of a boolean": "(select p.is_admin from o.profiles p where p.id = auth.uid())",
    "scalar look-up, coalesced": "coalesce((select p.is_admin from o.profiles p where p.id = auth.uid()), false)",
    "scalar look-up of an enum": "(select p.kind from o.profiles p where p.id = auth.uid()) in ('admin', 'staff')",
    "a scalar look-up not in": "(select p.kind from o.profiles p where p.id = auth.uid()) not in ('guest')",
    "scalar look-up with limit": "org_id = (select p.org_id from o.profiles p where p.id = auth.uid() limit 1)",
    "an enum look-up compared": "kind = (select p.kind from o.profiles p where p.id = auth.uid())",
    "count": "(select count(*) from o.members m where m.room_id = rooms.id) > 2",
    "count is none": "(select count(*) from o.members m where m.room_id = rooms.id and m.user_id = auth.uid()) = 0",
    "count of mine": "(select count(*) from o.members m where m.room_id = rooms.id and m.user_id = auth.uid()) >= 1",
    "count of values": "(select count(m.role) from o.members m where m.room_id = rooms.id) = 2",
    "array of a subquery": "id = any (array(select m.room_id from o.members m where m.user_id = auth.uid()))",
    "not in an array of a subquery": "not (id = any (array(select m.room_id from o.members m where m.user_id = auth.uid())))",
    "array_agg": "id = any ((select array_agg(m.room_id) from o.members m where m.user_id = auth.uid())::uuid[])",
    "bool_or": "(select bool_or(m.level > 1) from o.members m where m.room_id = rooms.id)",
    "in unnest": "owner_id in (select unnest(people))",
    "unnest of a look-up": "auth.uid() in (select unnest(r.people) from o.rooms r where r.owner_id = rooms.owner_id)",
    "unnest of a look-up, as printed": "auth.uid() = any (select unnest(r.people) from o.rooms r where r.id = rooms.id)",
    "not in unnest of a look-up": "auth.uid() not in (select unnest(r.people) from o.rooms r where r.id = rooms.id)",
    "unnest in from": "exists (select 1 from unnest(people) as p where p = auth.uid())",
    "unnest in from, joined": "exists (select 1 from unnest(people) as p join o.profiles s on s.id = p where s.is_admin is not true and p = auth.uid())",
    "unnest in from, of members": "exists (select 1 from unnest(people) as p (who), o.members m where m.user_id = p.who and m.room_id = rooms.id and m.role is null)",
    "json elements": "auth.uid()::text in (select jsonb_array_elements_text(settings -> 'users'))",
    "json elements in from": "exists (select 1 from jsonb_array_elements_text(settings -> 'users') u where u.value = auth.uid()::text)",
    "json elements, cast": "auth.uid() in (select (jsonb_array_elements_text(settings -> 'users'))::uuid)",
    "json elements of a look-up": "auth.uid()::text in (select jsonb_array_elements_text(r.settings -> 'users') from o.rooms r where r.id = rooms.id)",
    "json elements, array": "auth.uid()::text = any (array(select jsonb_array_elements_text(settings -> 'users')))",
    "claimed elements": "'red' in (select jsonb_array_elements_text(auth.jwt() -> 'app_metadata' -> 'teams'))",
    "claimed elements and the row": "exists (select 1 from jsonb_array_elements_text(auth.jwt() -> 'app_metadata' -> 'teams') x where x = any (tags))",
    "claimed elements, changed": "email || upper('x') = any (coalesce(array(select trim(x) || upper('x') from jsonb_array_elements_text(coalesce(auth.jwt() -> 'app_metadata' -> 'teams', '[]')) as t (x) where trim(x) <> ''), '{}'::text[]))",
    "claimed elements beside a look-up": "exists (select 1 from o.members m, jsonb_array_elements_text(auth.jwt() -> 'app_metadata' -> 'teams') x where m.room_id = rooms.id and x = m.role)",
    "union in from": "exists (select 1 from (select m.room_id, m.user_id from o.members m union select p.room_id, p.id from o.profiles p) s where s.room_id = rooms.id and s.user_id = auth.uid())",
    "union in from, of constants": "exists (select 1 from (select 1 as n, m.user_id as who from o.members m where m.room_id = rooms.id union all select 2, null) s where s.n = 1 and s.who = auth.uid())",
    "union in from, with null": "auth.uid() not in (select s.who from (select m.user_id as who from o.members m where m.room_id = rooms.id union select null) s)",
    "left join in from": "exists (select 1 from (select p.id as who, m.role from o.profiles p left join o.members m on m.user_id = p.id and m.room_id = rooms.id) s where s.who = auth.uid() and s.role is null)",
    "two unions in from": "exists (select 1 from (select m.room_id as a from o.members m where m.user_id = auth.uid() union select p.room_id from o.profiles p) s join (select r.id as b from o.rooms r where r.open union all select null) t on s.a = t.b where t.b = rooms.id)",
    "with, of a union": "id in (with mine as (select m.room_id from o.members m where m.user_id = auth.uid() union select p.room_id from o.profiles p where p.id = auth.uid()) select a.room_id from mine a join mine b using (room_id))",
    "with, first row": "exists (with me as (select p.id, p.org_id from o.profiles p where p.id = auth.uid() limit 1) select 1 from me cross join o.members m where m.room_id = rooms.id and m.user_id = me.id and me.org_id is not null)",
    "with, what is outside": "exists (with mine as (select m.user_id from o.members m where m.room_id = owner_id or m.user_id = owner_id) select 1 from o.profiles p where p.id = auth.uid() and exists (select 1 from mine where mine.user_id = p.id))",
    "limit in a subquery": "id in (select m.room_id from o.members m where m.user_id = auth.uid() and m.level > 1 limit 1)",
    "made array contained": "settings -> 'users' @> jsonb_build_array(auth.uid()::text)",
    "made array contained, uuid": "jsonb_build_array((select auth.uid())) <@ (settings -> 'users')",
    "made array contained, of two": "settings -> 'users' @> jsonb_build_array(auth.uid(), owner_id)",
    "made array contained, of a number": "settings -> 'users' @> jsonb_build_array(auth.uid(), 1)",
    "made object contained": "jsonb_build_object('id', owner_id, 'n', 1) @> jsonb_build_object('id', auth.uid())",
    "made object of null": "jsonb_build_object('id', owner_id) @> jsonb_build_object('id', auth.uid()) or settings @> jsonb_build_object('visibility', auth.uid())",
    "made array in an object": "settings @> jsonb_build_object('users', jsonb_build_array(auth.uid()::text))",
    "made object in an object": "jsonb_build_object('of', jsonb_build_object('id', owner_id)) @> jsonb_build_object('of', jsonb_build_object('id', auth.uid()))",
    "made objects in an array": "jsonb_build_array(jsonb_build_object('id', owner_id)) @> jsonb_build_array(jsonb_build_object('id', auth.uid()))",
    "a value of jsonb contained": "settings -> 'users' @> to_jsonb(auth.uid()::text)",
    "an error behind a NULL": "((settings ->> 'nothing') = 'x' and auth.uid()::text = any (array(select jsonb_array_elements_text(to_jsonb(id))))) or owner_id = auth.uid()",
    "kind of json": "jsonb_typeof(settings) = 'object' and jsonb_typeof(settings -> 'n') = 'number'",
    "length of json": "jsonb_array_length(settings -> 'users') > 0 or owner_id = auth.uid()",
    "json elements that are objects": "exists (select 1 from jsonb_array_elements(jsonb_build_array(jsonb_build_object('id', owner_id), settings -> 'flags')) e where (e ->> 'id')::uuid = auth.uid())",
    "least and greatest": "owner_id = least(auth.uid(), owner_id) and id <> greatest(owner_id, org_id)",
    "pair in order": "exists (select 1 from o.members m where m.room_id = greatest(rooms.id, owner_id) and m.user_id = auth.uid() and m.level >= least(1, 2))",
    "claim as an enum": "kind = (case when auth.jwt() -> 'app_metadata' ->> 'role' = 'admin' then 'admin' end)::text::o.kind",
    "text as an enum": "(auth.jwt() -> 'app_metadata' ->> 'role')::o.kind <= kind",
    "a text that is cut": "owner_id::text = (auth.jwt() ->> 'sub')::varchar(64) and email::varchar(3) = 'ann'",
    "an owner put to the people": "auth.uid() = any (people || owner_id)",
    "a part of a text": "auth.uid()::text = (string_to_array('x/' || owner_id::text, '/'))[2]",
    "parts of a text": "auth.uid()::text = any (string_to_array('x,' || owner_id::text, ','))",
    "union": "id in (select m.room_id from o.members m where m.user_id = auth.uid() union select p.room_id from o.profiles p where p.id = auth.uid())",
    "with": "id in (with mine as (select m.room_id from o.members m where m.user_id = auth.uid()) select mine.room_id from mine)",
    "subquery in from": "exists (select 1 from (select m.room_id, m.level from o.members m where m.user_id = auth.uid()) s where s.room_id = rooms.id and s.level > 1)",
    "inner join": "exists (select 1 from o.members m join o.profiles p on p.id = m.user_id where m.room_id = rooms.id and p.is_admin and m.user_id = auth.uid())",
    "join using": "exists (select 1 from o.members m join o.profiles p using (room_id) where room_id = rooms.id and m.user_id = auth.uid())",
    "left join": "exists (select 1 from o.profiles p left join o.members m on m.user_id = p.id and m.room_id = rooms.id where p.id = auth.uid() and (m.user_id is not null or p.is_admin is null))",
    "left join without partner": "exists (select 1 from o.profiles p left join o.members m on m.room_id = p.room_id where p.id = rooms.owner_id and m.user_id is null)",
    "distinct": "id in (select distinct m.room_id from o.members m where m.user_id = auth.uid() and m.left_at is null)",
    "not left yet": "exists (select 1 from o.members m where m.room_id = rooms.id and m.user_id = auth.uid() and (m.left_at is null or m.left_at > now()))",
    "smallint with integer": "exists (select 1 from o.members m, o.notes n where m.room_id = rooms.id and n.level = m.level and m.user_id = auth.uid())",
    "order and limit": "id = (select m.room_id from o.members m order by m.level desc limit 1)",
    "jsonb column is null": "settings is null",
    "uuid order": "id > owner_id",
    "a cast of a text column": "email::uuid = auth.uid() or true",
}

HELPERS = {
    "SQL helper with a literal": (
        (
            "create function o.has_role(wanted text) returns boolean language sql stable security definer set search_path = o as"
            " $$ select exists (select 1 from members where user_id = auth.uid() and role = wanted) $$"
        ),
        "o.has_role('owner')",
    ),
    "SQL helper with unqualified names": (
        (
            "create function o.is_member(room uuid) returns boolean language sql security definer set search_path to 'o', 'public' as"
            " $$ select exists (select 1 from members m where m.room_id = room and m.user_id = (select auth.uid())); $$"
        ),
        "o.is_member(id)",
    ),
    "SQL helper with a default": (
        (
            "create function o.is_user(who uuid, me uuid default auth.uid()) returns boolean language sql stable as"
            " $$ select who = me $$"
        ),
        "o.is_user(owner_id)",
    ),
    "SQL helper of an enum": (
        (
            "create function o.my_kind() returns o.kind language sql stable security definer as"
            " $$ select kind from o.profiles where id = auth.uid() $$"
        ),
        "o.my_kind() = 'admin' or kind = o.my_kind()",
    ),
    "SQL helper with the least rank of an enum": (
        (
            "create function o.is_at_least(room uuid, least_kind o.kind default 'staff') returns boolean language sql stable security definer"
            " set search_path = o as $$ select exists (select 1 from profiles where id = auth.uid() and room_id = room and kind <= least_kind) $$"
        ),
        "o.is_at_least(id) or o.is_at_least(id, 'guest')",
    ),
    "SQL helper that selects the first of one": (
        (
            "create function o.my_org() returns uuid language sql stable as"
            " $$ select org_id from o.profiles where id = auth.uid() limit 1 $$"
        ),
        "org_id = o.my_org()",
    ),
    "SQL body": (
        "create function o.mine(who uuid) returns boolean language sql stable return who = auth.uid()",
        "o.mine(owner_id)",
    ),
    "SQL body, atomic": (
        "create function o.mine(who uuid) returns boolean language sql stable begin atomic select who = auth.uid(); end",
        "o.mine(owner_id)",
    ),
    "strict": (
        "create function o.anybody(who uuid) returns boolean language sql stable strict as $$ select true $$",
        "o.anybody(owner_id)",
    ),
    "set of ids": (
        (
            "create function o.my_rooms() returns setof uuid language sql stable security definer as"
            " $$ select room_id from o.members where user_id = auth.uid() $$"
        ),
        "id in (select o.my_rooms())",
    ),
    "set of ids in from": (
        (
            "create function o.my_rooms() returns setof uuid language sql stable security definer as"
            " $$ select room_id from o.members where user_id = auth.uid() $$"
        ),
        "id in (select * from o.my_rooms()) and exists (select 1 from o.my_rooms() r where r = rooms.id)",
    ),
    "table of ids": (
        (
            "create function o.my_rooms() returns table (room uuid, grade text) language sql stable security definer as"
            " $$ select room_id, role from o.members where user_id = auth.uid() $$"
        ),
        "exists (select 1 from o.my_rooms() r where r.room = rooms.id and r.grade = 'owner')",
    ),
    "set of ids of a union": (
        (
            "create function o.readers(room uuid) returns setof uuid language sql stable security definer set search_path = '' as $$"
            " with r as (select * from o.rooms where id = room) select distinct u from ("
            " select r.owner_id as u from r where r.open union select m.user_id from r join o.members m on m.room_id = r.id where m.role = 'owner'"
            " union select p.id from r join o.profiles p on p.org_id = r.org_id) s where u is not null $$"
        ),
        "auth.uid() in (select o.readers(id)) or exists (select 1 from o.readers(id) x where x = auth.uid())",
    ),
    "set of ids of a left join": (
        (
            "create function o.my_rooms() returns setof uuid language sql stable security definer as"
            " $$ select coalesce(m.room_id, p.room_id) from o.profiles p left join o.members m on m.user_id = p.id where p.id = auth.uid() $$"
        ),
        "id in (select o.my_rooms()) and id in (select * from o.my_rooms() f)",
    ),
    "set of ids in a target list": (
        (
            "create function o.readers(room uuid) returns setof uuid language sql stable security definer as"
            " $$ select m.user_id from o.members m where m.room_id = room union all select unnest(r.people) from o.rooms r where r.id = room $$"
        ),
        "auth.uid() in (select o.readers(r.id) from o.rooms r where r.org_id = rooms.org_id)",
    ),
    "set of ids of claims": (
        (
            "create function o.my_orgs() returns setof uuid language sql stable as $$"
            " select value::uuid from jsonb_array_elements_text(jsonb_build_array(auth.jwt() -> 'app_metadata' ->> 'org_id')) where value is not null $$"
        ),
        "org_id in (select o.my_orgs())",
    ),
    "array of ids": (
        (
            "create function o.my_rooms() returns uuid[] language sql stable security definer as"
            " $$ select array_agg(room_id) from o.members where user_id = auth.uid() $$"
        ),
        "id = any (o.my_rooms())",
    ),
    "array of ids, never null": (
        (
            "create function o.my_rooms() returns uuid[] language sql stable security definer as"
            " $$ select coalesce(array_agg(room_id), '{}') from o.members where user_id = auth.uid() $$"
        ),
        "not (id = any (o.my_rooms()))",
    ),
    "set by plpgsql": (
        (
            "create function o.my_rooms() returns setof uuid language plpgsql stable security definer as"
            " $$ begin return query select room_id from o.members where user_id = auth.uid(); end $$"
        ),
        "id in (select o.my_rooms())",
    ),
    "plpgsql return": (
        (
            "create function o.is_member(room uuid) returns boolean language plpgsql security definer set search_path = '' as"
            " $$ begin return exists (select 1 from o.members m where m.room_id = room and m.user_id = auth.uid()); end; $$"
        ),
        "o.is_member(id)",
    ),
    "plpgsql select into": (
        (
            "create function o.is_member(room uuid) returns boolean language plpgsql as $$ declare found_it boolean; begin"
            " select exists (select 1 from o.members m where m.room_id = $1 and m.user_id = auth.uid()) into found_it;"
            " return found_it; end $$"
        ),
        "o.is_member(id)",
    ),
    "plpgsql chain": (
        "create function o.may(room uuid) returns boolean language plpgsql security definer as $$ declare k o.kind; admin bool := false; begin"
        " select kind, is_admin into k, admin from o.profiles where id = auth.uid();"
        " if not found then return false; end if;"
        " if admin then return true; elsif k = 'guest' then return room = '" + R1 + "'; end if;"
        " if k is null then return null; end if; return false; end $$",
        "o.may(id)",
    ),
    "plpgsql chain, negated": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql security definer as $$ declare k text; begin"
            " k := (select kind::text from o.profiles where id = auth.uid());"
            " if k = 'admin' then return true; end if; return k = 'guest'; end $$"
        ),
        "not o.may(id)",
    ),
    "plpgsql record": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare p record; begin"
            " select * into p from o.profiles where id = auth.uid(); return p.is_admin or p.room_id = room; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql row type": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare p o.profiles%rowtype; begin"
            " select * into p from o.profiles where id = auth.uid(); return p.is_admin or p.room_id = room; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql column type": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare k o.profiles.kind%type; begin"
            " select p.kind into k from o.profiles p where p.id = auth.uid(); return k in ('admin', 'staff'); end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql perform": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin"
            " perform 1 from o.members m where m.room_id = room and m.user_id = auth.uid(); return found; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql count": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare n integer; begin"
            " select count(*) into n from o.members m where m.room_id = room and m.user_id = auth.uid(); return n > 0; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql array put together": (
        (
            "create function o.may(wanted text) returns boolean language plpgsql stable security definer as $$ declare k text; all_of text[]; begin"
            " select p.kind::text, coalesce(r.tags, '{}'::text[]) || array[case when p.is_admin then 'super' else p.kind::text end] into k, all_of"
            " from o.profiles p left join o.rooms r on r.id = p.room_id where p.id = auth.uid() limit 1;"
            " if k is null then return false; end if; if wanted is null then return all_of && array['guest', 'staff']; end if;"
            " return wanted = any (all_of || 'ann@example.org'::text); end $$"
        ),
        "o.may(email)",
    ),
    "plpgsql variable with a length": (
        (
            "create function o.me() returns varchar(64) language plpgsql stable as $$ begin return (auth.jwt() ->> 'sub')::varchar(64); end $$;"
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare who varchar(64); k character varying (36) := o.me(); begin"
            " who := o.me(); return exists (select 1 from o.members m where m.room_id = room and m.user_id::text = who and who = k); end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql variable with a length that just fits": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare k varchar(5); begin"
            " select kind into k from o.profiles where id = auth.uid(); return k = 'admin'; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql enum of a text": (
        (
            "create function o.may(wanted text) returns boolean language plpgsql security definer as $$ begin"
            " return exists (select 1 from o.profiles p where p.id = auth.uid() and p.kind = wanted::o.kind); end $$"
        ),
        "o.may(kind::text)",
    ),
    "plpgsql case of a value": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql security definer as $$ declare k text; allowed uuid[]; begin"
            " select kind::text into k from o.profiles where id = auth.uid();"
            " case k when 'admin', 'staff' then return true; when 'guest' then allowed := array['"
            + R1
            + "']::uuid[];"
            " else return null; end case; return room = any (allowed); end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql case of conditions": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare k o.kind; begin"
            " select kind into k from o.profiles where id = auth.uid();"
            " case when k = 'admin' then null; when k is null then return room is not null; else return room = '"
            + R2
            + "'; end case;"
            " case k when 'admin' then return false; else null; end case; return true; end $$"
        ),
        "not o.may(id)",
    ),
    "plpgsql case of an enum, with a subquery": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin"
            " case (select kind from o.profiles where id = auth.uid()) when 'admin' then return true; when 'guest' then"
            " return exists (select 1 from o.members m where m.room_id = room and m.user_id = auth.uid()); else return false; end case; end $$"
        ),
        "o.may(id)",
    ),
    "plpgsql if of a member": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin"
            " if exists (select 1 from o.members m where m.room_id = room and m.user_id = auth.uid()) then return true; else return false; end if; end $$"
        ),
        "o.may(id)",
    ),
    "helper of a helper": (
        (
            "create function o.my_id() returns uuid language sql stable as $$ select auth.uid() $$;"
            "create function o.is_mine(who uuid) returns boolean language plpgsql as $$ begin return who = o.my_id(); end $$"
        ),
        "o.is_mine(owner_id)",
    ),
    "claims in a helper": (
        (
            "create function o.claim(name text) returns jsonb language sql stable as"
            " $$ select coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb -> 'app_metadata' -> name, null) $$"
        ),
        "o.claim('role') = '\"admin\"' or org_id = (o.claim('org_id') #>> '{}')::uuid",
    ),
    "Supabase's own folders of a path": (
        (
            "create schema storage; grant usage on schema storage to public;"
            "create function storage.foldername(name text) returns text[] language plpgsql immutable as $$ DECLARE"
            " _parts text[]; BEGIN\n -- Split on \"/\"\n SELECT string_to_array(name, '/') INTO _parts;\n"
            " RETURN _parts[1 : array_length(_parts,1) - 1]; END $$;"
            "create function storage.filename(name text) returns text language plpgsql as $$ DECLARE _parts text[]; BEGIN"
            " select string_to_array(name, '/') into _parts; return _parts[array_length(_parts,1)]; END $$"
        ),
        (
            "(storage.foldername('x/' || owner_id::text || '/' || email))[2] = auth.uid()::text"
            " or storage.filename('a/' || email) = auth.uid()::text or (storage.foldername(email))[1] is not null"
            " or cardinality(storage.foldername('')) = 0"
        ),
    ),
    "overloaded": (
        (
            "create function o.f(a uuid) returns boolean language sql as $$ select a = auth.uid() $$;"
            "create function o.f(a text) returns boolean language sql as $$ select a = 'x' $$"
        ),
        "o.f(owner_id)",
    ),
}

ASKED = {
    "text order": "email < 'b'",
    "a regular expression": "email ~ '^ann'",
    "extract": "extract(year from closes_at) = 2020",
    "a table without publication": "exists (select 1 from o.hidden h where h.id = rooms.id and h.user_id = auth.uid())",
    "only a part of an OR": "owner_id = auth.uid() or email ~ '^Bob'",
    "only a part of an AND": "auth.uid() = any (people) and email ~ 'example'",
    "group by": "id in (select m.room_id from o.members m group by m.room_id having count(*) > 2)",
    "recursion": "id in (with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select p.room_id from o.profiles p, r)",
    "sum": "(select sum(m.level) from o.members m where m.room_id = rooms.id) > 2",
}

ASKED_HELPERS = {
    "a loop": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare n int; begin"
            " for n in 1..3 loop if n = 2 then return true; end if; end loop; return false; end $$"
        ),
        "o.may(id)",
    ),
    "an exception handler": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin return email = 'x' from o.rooms where id = room;"
            " exception when others then return true; end $$"
        ),
        "o.may(id)",
    ),
    "a case without ELSE": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare k text; begin"
            " select kind::text into k from o.profiles where id = auth.uid();"
            " case k when 'admin' then return true; when 'guest' then return false; end case; end $$"
        ),
        "o.may(id) or owner_id = auth.uid()",
    ),
    "a case of conditions without ELSE": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin"
            " case when room = '"
            + R1
            + "' then null; when auth.uid() is null then return false; end case; return true; end $$"
        ),
        "o.may(id)",
    ),
    "raises for some": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ begin"
            " if auth.uid() is null then raise exception 'sign in'; end if; return true; end $$"
        ),
        "owner_id = auth.uid() and o.may(id)",
    ),
    "SET in a stable function, beside what would show the row": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql stable as $$ begin"
            " set local row_security = off; return true; end $$"
        ),
        "o.may(id) or owner_id = auth.uid()",
    ),
    "dynamic SQL": (
        (
            "create function o.may(room uuid) returns boolean language plpgsql as $$ declare v boolean; begin"
            " execute 'select true' into v; return v; end $$"
        ),
        "o.may(id)",
    ),
}


def _opaque(world: World, *statements: str) -> list[str]:
    plans = agree(world, *statements).plans
    return [part.reason for plan in plans.values() for part in plan.opaque]


@pytest.mark.parametrize("shape", ROOM_POLICIES)
def test_a_construct_is_decided_in_memory(world: World, shape: str) -> None:
    """Every user sees what Postgres shows them, and nothing had to be asked to compile it."""
    policy = f"create policy p on o.rooms for select using ({ROOM_POLICIES[shape]})"
    assert _opaque(world, policy, "create policy n on o.notes using (true)") == []


NAMED = (
    "made array contained", "made array contained, uuid", "made array contained, of two", "made array contained, of a number", "made object contained",
    "made object of null", "made array in an object", "made object in an object", "a value of jsonb contained", "json elements that are objects", "claim as an enum",
    "an owner put to the people", "parts of a text",
    "unnest of a look-up", "unnest of a look-up, as printed", "unnest in from", "unnest in from, joined", "unnest in from, of members", "json elements",
    "json elements in from", "json elements, cast", "json elements of a look-up", "json elements, array", "claimed elements", "claimed elements, changed",
    "union in from", "union in from, of constants", "left join in from", "two unions in from", "with, of a union", "with, first row", "limit in a subquery",
    "enum order of a look-up", "enum order in a membership",
)  # fmt: skip


@pytest.mark.parametrize("shape", NAMED)
def test_the_users_are_found_by_an_index(world: World, shape: str) -> None:
    """Nobody who is connected has to be looked at."""
    plans = agree(
        world,
        f"create policy p on o.rooms for select using ({ROOM_POLICIES[shape]})",
        "create policy n on o.notes using (true)",
    ).plans

    assert not plans["o.rooms", "authenticated"].walks_everybody


@pytest.mark.parametrize("shape", ROOM_POLICIES)
def test_its_negation_keeps_null_apart(world: World, shape: str) -> None:
    """NOT of a NULL is NULL: the same users see what Postgres shows them."""
    agree(
        world,
        f"create policy p on o.rooms for select using (not ({ROOM_POLICIES[shape]}))",
        "create policy n on o.notes using (true)",
    )


@pytest.mark.parametrize("shape", HELPERS)
def test_a_helper_is_put_in_place(world: World, shape: str) -> None:
    """A function's body counts as if it were written in the policy."""
    function, using = HELPERS[shape]
    assert _opaque(world, function, f"create policy p on o.rooms for select using ({using})") == []


@pytest.mark.parametrize("shape", ASKED)
def test_what_is_not_known_is_asked(world: World, shape: str) -> None:
    """Postgres decides, and the answer is the same."""
    assert (
        _opaque(
            world,
            f"create policy p on o.rooms for select using ({ASKED[shape]})",
            "create policy n on o.notes using (true)",
        )
        != []
    )


@pytest.mark.parametrize("shape", ASKED_HELPERS)
def test_a_helper_that_is_not_known_is_asked(world: World, shape: str) -> None:
    """Postgres runs it."""
    function, using = ASKED_HELPERS[shape]
    assert _opaque(world, function, f"create policy p on o.rooms for select using ({using})") != []
