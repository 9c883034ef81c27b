"""A variable or an argument that is used more than once, and rows that make a look-up fail."""

import pytest

from bridge.events import Principal, Row, Seen
from tests.oracle.agreement import agree
from tests.oracle.grammar import ChangeSpec
from tests.oracle.test_facts import ANN, R1, TABLES, select, world
from tests.oracle.world import World, finish, principal

__all__ = ["world"]

PLANS = [table.qualified for table in TABLES[:2]]
LOOP = "begin for i in 1..2 loop return {}; end loop; return false; end"
RECORD = "declare r record; begin select * into r from o.rooms where id = x; return {}; end"


def asked(answer: str) -> str:
    """Return a helper that only Postgres can run."""
    body = LOOP.format(answer)
    return f"create or replace function o.f(x uuid) returns boolean language plpgsql as $$ {body} $$"


@pytest.mark.parametrize(
    "body",
    [
        "declare v int; begin select level into v from o.rooms where id = x; return v <= coalesce(v, 3); end",
        "declare v int; w int; begin select level into v from o.rooms where id = x; w := coalesce(v, 0); return w >= v; end",
        "begin x := null; return x is null; end",
        "begin x := coalesce(x, auth.uid()); return x = auth.uid(); end",
        RECORD.format("r.level < case when r.open then 5 else r.level end"),
        RECORD.format("r.owner_id = coalesce(r.owner_id, auth.uid())"),
        RECORD.format("nullif(r.title, '') = r.title"),
        RECORD.format("r.title = any (array[r.title, 'z'])"),
        RECORD.format("r.level + 1 > r.level"),
        RECORD.format("r.level between r.level and coalesce(r.level, 9)"),
        RECORD.format("(select count(*) from o.members m where m.room_id = r.id) >= r.level"),
        RECORD.format(
            "not exists (select 1 from o.members m where m.room_id = r.id and m.user_id <> r.owner_id)"
        ),
    ],
)
def test_a_variable_is_used_twice(world: World, body: str) -> None:
    """Each use has rows of its own, also where one stands in the other's subquery."""
    agree(
        world,
        select("rooms", "true"),
        select("members", "true"),
        f"create function o.f(x uuid) returns boolean language plpgsql as $$ {body} $$",
        select("notes", "o.f(room_id)"),
    )


def test_a_record_that_is_not_assigned_hides_a_table(world: World) -> None:
    """Postgres answers 55000 for every row: it is left to it."""
    world.execute(
        "create function o.f(x uuid) returns boolean language plpgsql as $$ declare m record;"
        " begin select * into m from o.members m where m.room_id = x; return m.role = 'owner'; end $$"
    )
    world.execute(select("notes", "o.f(room_id)"))
    plans = world.load(PLANS, dialog_column="room_id").planset.plans
    assert plans["o.notes", "authenticated"].opaque


@pytest.mark.parametrize(
    "body",
    [
        "select $1 <= coalesce($1, 3)",
        "select x = coalesce(x, 3) or x > 1",
        "select case when x > 1 then x else 3 end = x",
        "select x between 1 and coalesce(x, 2)",
    ],
)
def test_a_look_up_is_an_argument_that_is_used_twice(world: World, body: str) -> None:
    """Put in place of each use, it is asked again."""
    agree(
        world,
        select("rooms", "true"),
        f"create function o.f(x int) returns boolean language sql as $$ {body} $$",
        select("notes", "o.f((select r.level from o.rooms r where r.id = notes.room_id))"),
    )


@pytest.mark.parametrize("body", ["select $1 is not null", "select ($1).author_id = auth.uid()"])
def test_a_whole_row_is_an_argument_by_number(world: World, body: str) -> None:
    """Postgres is asked."""
    agree(
        world,
        f"create function o.f(n o.notes) returns boolean language sql as '{body}'",
        select("notes", "o.f(notes.*)"),
    )


@pytest.mark.parametrize(
    "using",
    [
        "exists (select 1 from o.conf c where c.value::uuid = notes.author_id)",
        "author_id in (select c.value::uuid from o.conf c)",
        "exists (select 1 from o.conf c where c.value::uuid = auth.uid())",
        "exists (select 1 from o.conf c where c.kind = 'admin' and c.value::uuid = auth.uid())",
        "author_id = any (array(select c.value::uuid from o.conf c))",
    ],
)
def test_one_look_up_row_that_fails_fails_the_query(world: World, using: str) -> None:
    """Also beside another one that matches."""
    agree(
        world,
        "create table o.conf (id int primary key, kind text, value text)",
        f"insert into o.conf values (1, 'admin', 'junk'), (2, 'admin', '{ANN}')",
        "grant select on o.conf to anon, authenticated; alter publication supabase_realtime add table o.conf",
        select("notes", using),
    )


def test_a_renamed_enum_label_means_something_else(world: World) -> None:
    """The rows in memory hold the old one."""
    member = "m.room_id = notes.room_id and m.user_id = auth.uid() and m.k::text = 'owner'"
    world.execute("create type o.kind as enum ('owner', 'guest'); alter table o.members add k o.kind")
    world.execute(select("notes", f"exists (select 1 from o.members m where {member})"))
    before = world.load(PLANS, dialog_column="room_id").planset
    world.execute("alter type o.kind rename value 'owner' to 'boss'")
    assert not world.load(PLANS, dialog_column="room_id").planset.means_the_same(before)


def test_a_changed_helper_that_postgres_is_asked_about_means_something_else(world: World) -> None:
    """Its plan is the same before and after, but sight is not."""
    world.execute(asked("true"))
    world.execute(select("notes", "o.f(room_id)"))
    before = world.load(PLANS, dialog_column="room_id").planset
    assert world.load(PLANS, dialog_column="room_id").planset.means_the_same(before)
    world.execute(asked("false"))
    assert not world.load(PLANS, dialog_column="room_id").planset.means_the_same(before)


def test_who_comes_while_postgres_is_asked_reads_again(world: World) -> None:
    """Nobody asked about them, and the change is not in the history yet."""
    world.execute(asked("true"))
    world.execute(select("notes", "o.f(room_id)"))
    stage = world.load(PLANS, dialog_column="room_id")
    late = principal(ANN, email="other")

    class Slow:
        row = world.row

        async def visible(self, table: str, rows: list[Row], asked: list[Principal]) -> Seen:
            stage._roster.add(late)
            return await world.visible(table, rows, asked)

    values = {"id": 77, "room_id": R1, "author_id": ANN}
    change = world.make(ChangeSpec(table=1, action="INSERT", row=0, values=values, full_old=True))
    _, told = finish(stage.apply(change, Slow()))
    assert told.principals == (late,)
    stage._roster.add(principal(ANN, email="later"))
    assert stage._came is None  # nobody is remembered who comes while nothing is asked


def test_a_claim_that_a_policy_names_is_known(world: World) -> None:
    """In quotes or in a path, in a policy or in a function; others change with every token and are left out."""
    world.execute(
        "create function o.issued() returns text language sql stable as $$ select auth.jwt() ->> 'iat' $$"
    )
    world.execute(select("notes", "(auth.jwt() #>> '{jti}') is null and body <> 'expired'"))
    claims = world.load(PLANS, dialog_column="room_id").planset.catalog.volatile_claims
    assert claims == {"iat", "jti"}
