"""Helper functions at the edges of what is put in place, each compared with Postgres for every user and row."""

import pytest

from tests.oracle import world as world_module
from tests.oracle.agreement import agree
from tests.oracle.test_corners import using
from tests.oracle.test_corners import world as world  # noqa: PLC0414 - the fixture
from tests.oracle.world import World

PLPGSQL = "language plpgsql stable security definer"
FUNCTIONS = {
    "numeric with a scale": (
        f"create function o.f(p numeric) returns boolean {PLPGSQL} as $$ declare v numeric(5,0) := p; begin return v = 2; end $$",
        "o.f(price)",
    ),
    "text with a length": (
        f"create function o.f(p text) returns boolean {PLPGSQL} as $$ declare v varchar(3) := 'abc'; begin v := left(p, 3); return v = 'ann'; end $$",
        "o.f(email)",
    ),
    "text cut by a cast": (
        "create function o.f(p text) returns boolean language sql as $$ select p::varchar(3) = 'ann' $$",
        "o.f(email)",
    ),
    "a char": (
        f"create function o.f(p text) returns boolean {PLPGSQL} as $$ declare v char(5) := p; begin return v = 'x'; end $$",
        "o.f('x')",
    ),
    "small integer": (
        f"create function o.f(p integer) returns boolean {PLPGSQL} as $$ declare v smallint := p; begin return v > 1; end $$",
        "o.f((select max(n.level) from o.notes n) * 20000)",
    ),
    "a variable named as a parameter": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare who uuid; begin return who is null; end $$",
        "o.f(owner_id)",
    ),
    "a nested block with a variable": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare x uuid := null; begin x := who; declare y uuid := x; begin return y = auth.uid(); end; end $$",
        "o.f(owner_id)",
    ),
    "a nested block that shadows": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare x uuid := who; begin declare x uuid := null; begin x := auth.uid(); end; return x = auth.uid(); end $$",
        "o.f(owner_id)",
    ),
    "a nested block": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare x boolean; begin begin x := who = auth.uid(); end; return x; end $$",
        "o.f(owner_id)",
    ),
    "an alias": (
        f"create function o.f(uuid) returns boolean {PLPGSQL} as $$ declare who alias for $1; begin return who = auth.uid(); end $$",
        "o.f(owner_id)",
    ),
    "case statement": (
        f"create function o.f(k o.kind) returns boolean {PLPGSQL} as $$ begin case k when 'admin' then return true; else return false; end case; end $$",
        "o.f(kind)",
    ),
    "case without else": (
        f"create function o.f(k o.kind) returns boolean {PLPGSQL} as $$ begin case k when 'admin' then return true; end case; end $$",
        "o.f(kind)",
    ),
    "default of another variable": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare a uuid := who; b uuid := a; begin a := null; return b = auth.uid(); end $$",
        "o.f(owner_id)",
    ),
    "constant": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare c constant text not null := 'admin'; begin return c = (auth.jwt() -> 'app_metadata' ->> 'role'); end $$",
        "o.f(owner_id)",
    ),
    "record of a join with star": (
        f"create function o.f() returns boolean {PLPGSQL} as $$ declare r record; begin select * into r from o.profiles p left join o.members m using (room_id) where p.id = auth.uid(); return r.room_id is not null; end $$",
        "o.f()",
    ),
    "record of nothing": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ declare r record; begin select m.role, m.level into r from o.members m where m.room_id = room and m.user_id = auth.uid(); return r.role is null; end $$",
        "o.f(id)",
    ),
    "several rows into one": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ declare x uuid; begin select m.room_id into x from o.members m where m.room_id = room; return x is not null; end $$",
        "o.f(id)",
    ),
    "found after select into of null": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ declare x text; begin select m.role into x from o.members m where m.room_id = room and m.user_id = auth.uid(); if found then return x is null; end if; return true; end $$",
        "o.f(id)",
    ),
    "not found": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ begin perform 1 from o.members m where m.room_id = room and m.user_id = auth.uid(); if not found then return false; end if; return true; end $$",
        "o.f(id)",
    ),
    "perform of an aggregate": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ begin perform max(m.level) from o.members m where m.room_id = room; return found; end $$",
        "o.f(id)",
    ),
    "a value from a table": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ begin return true from o.members m where m.room_id = room and m.user_id = auth.uid(); end $$",
        "o.f(id)",
    ),
    "elsif with null": (
        f"create function o.f(a uuid, b uuid) returns boolean {PLPGSQL} as $$ begin if a = b then return true; elsif a <> b then return false; else return a is null; end if; end $$",
        "o.f(owner_id, org_id)",
    ),
    "ends without return": (
        f"create function o.f(a boolean) returns boolean {PLPGSQL} as $$ begin if a then return true; end if; end $$",
        "o.f(open) or owner_id = auth.uid()",
    ),
    "returns a quoted variable": (
        f'create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare "Result" boolean; begin "Result" := who = auth.uid(); return "Result"; end $$',
        "o.f(owner_id)",
    ),
    "upper case": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ DECLARE Result BOOLEAN; BEGIN SELECT who = auth.uid() INTO RESULT; RETURN Result; END; $$",
        "o.f(owner_id)",
    ),
    "comments": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ -- begin\n declare /* begin; */ x boolean; -- return y;\n begin /* return z; */ x := who = auth.uid(); return x; end $$",
        "o.f(owner_id)",
    ),
    "a dollar quote inside": (
        f"create function o.f() returns boolean {PLPGSQL} as $f$ declare t text := $q$it's; begin$q$; begin return t = 'it''s; begin'; end $f$",
        "o.f()",
    ),
    "a string with begin": (
        f"create function o.f() returns boolean {PLPGSQL} as $$ declare t text := 'begin'; begin return t = 'begin'; end $$",
        "o.f()",
    ),
    "a variable like a column": (
        f"create function o.f(room_id uuid) returns boolean {PLPGSQL} as $$ #variable_conflict use_column\n begin return exists (select 1 from o.members m where room_id = m.room_id and m.user_id = auth.uid()); end $$",
        "o.f(id)",
    ),
    "a parameter like a column in SQL": (
        "create function o.f(room_id uuid) returns boolean language sql stable as $$ select exists (select 1 from o.members m where room_id = m.room_id and m.user_id = auth.uid()) $$",
        "o.f(id)",
    ),
    "the function's own name as qualifier": (
        "create function o.f(room_id uuid) returns boolean language sql stable as $$ select exists (select 1 from o.members m where f.room_id = m.room_id and m.user_id = auth.uid()) $$",
        "o.f(id)",
    ),
    "recursion": (
        f"create function o.f(n integer) returns boolean {PLPGSQL} as $$ begin if n <= 0 then return true; end if; return o.f(n - 1); end $$",
        "o.f(2) and owner_id = auth.uid()",
    ),
    "two statements": (
        "create function o.f() returns boolean language sql volatile as $$ select 1; select auth.uid() is not null $$",
        "o.f()",
    ),
    "a hexadecimal number": (
        "create function o.f() returns boolean language sql stable as $$ select 0xFFFFFFFFFF > 1 and 1_000 = 1000 and 0b101 = 5 and 1e3 = 1000 and .5 < 1 $$",
        "o.f()",
    ),
    "strict of two": (
        "create function o.f(a uuid, b uuid) returns boolean language sql stable strict as $$ select a = auth.uid() or b = auth.uid() $$",
        "o.f(owner_id, org_id)",
    ),
    "strict without need": (
        f"create function o.f(a uuid, b text default null) returns boolean {PLPGSQL} strict as $$ begin return true; end $$",
        "o.f(owner_id)",
    ),
    "named arguments": (
        "create function o.f(a uuid, b uuid) returns boolean language sql stable as $$ select a = auth.uid() and b is not null $$",
        "o.f(b => org_id, a => owner_id)",
    ),
    "variadic": (
        "create function o.f(variadic ids uuid[]) returns boolean language sql stable as $$ select auth.uid() = any (ids) $$",
        "o.f(owner_id, org_id)",
    ),
    "polymorphic": (
        "create function o.f(a anyelement, b anyelement) returns boolean language sql stable as $$ select a = b $$",
        "o.f(owner_id, auth.uid())",
    ),
    "several rows of which one is returned": (
        "create function o.f(room uuid) returns uuid language sql stable security definer as $$ select m.user_id from o.members m where m.room_id = room order by m.level desc nulls last $$",
        "o.f(id) = auth.uid()",
    ),
    "no row": (
        "create function o.f(room uuid) returns boolean language sql stable security definer as $$ select true from o.members m where m.room_id = room and m.user_id = auth.uid() $$",
        "o.f(id) is null",
    ),
    "a set where a value is expected": (
        "create function o.f() returns setof uuid language sql stable security definer as $$ select m.room_id from o.members m where m.user_id = auth.uid() $$",
        "id = (select o.f() limit 1)",
    ),
    "a set by array": (
        "create function o.f() returns setof uuid language sql stable security definer as $$ select m.room_id from o.members m where m.user_id = auth.uid() $$",
        "id = any (array(select o.f()))",
    ),
    "a table function in a join": (
        "create function o.f() returns table (room uuid, grade text) language sql stable security definer as $$ select m.room_id, m.role from o.members m where m.user_id = auth.uid() $$",
        "exists (select 1 from o.f() a join o.members b on b.room_id = a.room where a.room = rooms.id and b.role = 'owner' and a.grade is not null)",
    ),
    "a set of rows": (
        "create function o.f() returns setof o.members language sql stable security definer as $$ select * from o.members m where m.user_id = auth.uid() $$",
        "exists (select 1 from o.f() a where a.room_id = rooms.id)",
    ),
    "counts a set": (
        "create function o.f() returns setof uuid language sql stable security definer as $$ select m.room_id from o.members m where m.user_id = auth.uid() union select m.room_id from o.members m where m.user_id = auth.uid() $$",
        "(select count(*) from o.f()) = 2",
    ),
    "out parameter": (
        f"create function o.f(who uuid, out yes boolean) {PLPGSQL} as $$ begin yes := who = auth.uid(); end $$",
        "o.f(owner_id)",
    ),
    "out parameter of SQL": (
        "create function o.f(who uuid, out yes boolean) language sql stable as $$ select who = auth.uid() $$",
        "o.f(owner_id)",
    ),
    "in the path of the definer": (
        "set local check_function_bodies = off; create function o.g(who uuid) returns boolean language sql stable as $$ select exists (select 1 from profiles p where p.id = who and p.is_admin) $$;create function o.f(who uuid) returns boolean language sql stable security definer set search_path = o as $$ select o.g(who) $$",
        "o.f(auth.uid())",
    ),
    "row_security off": (
        "create function o.f(room uuid) returns boolean language sql stable security definer set row_security = off as $$ select exists (select 1 from o.notes n where n.room_id = room) $$",
        "o.f(id)",
    ),
    "another time zone": (
        "create function o.f(t timestamptz) returns boolean language sql stable set timezone = 'Asia/Tokyo' as $$ select t::date = date '2020-01-01' $$",
        "o.f(closes_at + interval '10 hours')",
    ),
    "writes": (
        "create function o.f() returns boolean language sql volatile security definer as $$ with gone as (delete from o.profiles where false returning id) select not exists (select 1 from gone) $$",
        "o.f()",
    ),
    "select from values": (
        "create function o.f() returns setof text language sql stable as $$ values ('admin'), ('guest') $$",
        "kind::text in (select o.f())",
    ),
    "returns void": (
        "create function o.f() returns void language sql stable as $$ select $$",
        "o.f() is null or owner_id = auth.uid()",
    ),
    "a domain": (
        "create domain o.name3 as text check (length(value) < 4); create function o.f(t text) returns o.name3 language sql stable as $$ select left(t, 3) $$",
        "o.f(email) = 'ann'",
    ),
    "json argument": (
        "create function o.f(claims json) returns boolean language sql stable as $$ select claims ->> 'sub' = (auth.uid())::text $$",
        "o.f(current_setting('request.jwt.claims', true)::json)",
    ),
    "a claim by a helper with a path": (
        "create function o.f(variadic path text[]) returns text language sql stable as $$ select auth.jwt() #>> path $$",
        "o.f('app_metadata', 'role') = 'admin'",
    ),
    "claims by legacy settings": (
        "create function o.f() returns text language sql stable as $$ select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role') $$",
        "o.f() = 'authenticated'",
    ),
    "exception in a branch that is not taken": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ begin if who is null then raise exception 'no'; end if; return who = auth.uid(); end $$",
        "owner_id is not null and o.f(owner_id)",
    ),
    "sqlerrm": (
        f"create function o.f(t text) returns boolean {PLPGSQL} as $$ begin return t::uuid = auth.uid(); exception when others then return false; end $$",
        "o.f(email)",
    ),
    "execute": (
        f"create function o.f(t text) returns boolean {PLPGSQL} as $$ declare x boolean; begin execute format('select %L = ''a''', t) into x; return x; end $$",
        "o.f(email)",
    ),
    "for over a query": (
        f"create function o.f(room uuid) returns boolean {PLPGSQL} as $$ declare r record; begin for r in select * from o.members m where m.room_id = room loop if r.user_id = auth.uid() then return true; end if; end loop; return false; end $$",
        "o.f(id)",
    ),
    "return query and more": (
        f"create function o.f() returns setof uuid {PLPGSQL} as $$ begin return query select m.room_id from o.members m where m.user_id = auth.uid(); return query select p.room_id from o.profiles p where p.id = auth.uid(); end $$",
        "id in (select o.f())",
    ),
    "return query in an if": (
        f"create function o.f() returns setof uuid {PLPGSQL} as $$ begin if auth.uid() is null then return; end if; return query select m.room_id from o.members m where m.user_id = auth.uid(); end $$",
        "id in (select o.f())",
    ),
    "assignment in an if": (
        f"create function o.f(who uuid) returns boolean {PLPGSQL} as $$ declare x boolean := false; begin if who = auth.uid() then x := true; elsif who is null then x := null; end if; return not x; end $$",
        "o.f(owner_id)",
    ),
    "many ifs": (
        f"create function o.f(n numeric) returns boolean {PLPGSQL} as $$ declare x integer := 0; begin "
        + " ".join(f"if n > {i} then x := {i}; end if;" for i in range(12))
        + " return x > 3; end $$",
        "o.f(price)",
    ),
    "too many ifs": (
        f"create function o.f(n numeric) returns boolean {PLPGSQL} as $$ declare x integer := 0; begin "
        + " ".join(f"if n > {i} then x := {i}; end if;" for i in range(40))
        + " return x > 3; end $$",
        "o.f(price)",
    ),
}


@pytest.mark.parametrize("shape", FUNCTIONS)
def test_a_function(world: World, shape: str) -> None:
    """Put in place or asked: every user sees what Postgres shows them."""
    function, policy = FUNCTIONS[shape]
    agree(world, function, *using(policy))


FAILING = {
    "unqualified below an empty path": (
        "create function public.h() returns boolean language sql as $$ select true $$;create function o.g() returns boolean language plpgsql as $$ begin return h(); end $$;create function o.f() returns boolean language sql stable set search_path = '' as $$ select o.g() $$",
        "o.f()",
    ),
    "a column like a column of the result": (
        f"create function o.f() returns table (room_id uuid) {PLPGSQL} as $$ begin return query select m.room_id from o.members m where room_id is not null; end $$",
        "id in (select f.room_id from o.f())",
    ),
    "an unknown column": (
        f"create function o.f() returns boolean {PLPGSQL} as $$ begin return exists (select 1 from o.members m where m.nothing); end $$",
        "owner_id = auth.uid() and o.f()",
    ),
    "a record that is not assigned": (
        f"create function o.f() returns boolean {PLPGSQL} as $$ declare r record; begin return r.x; end $$",
        "owner_id = auth.uid() and o.f()",
    ),
    "a policy in a circle below a function": (
        "create function o.f() returns boolean language sql stable as $$ select exists (select 1 from o.rooms) $$",
        "o.f()",
    ),
}


@pytest.mark.parametrize("shape", FAILING)
def test_a_function_that_fails(world: World, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Postgres fails every SELECT, or that of some user, nothing is shown."""
    codes = {"42P01", "42703", "42702", "55000", "54001", "42883"}
    monkeypatch.setattr("tests.oracle.world.FAILURES", world_module.FAILURES | codes)
    function, policy = FAILING[shape]
    agree(world, function, *using(policy))
