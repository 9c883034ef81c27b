"""Values that a row's JSON does not tell: nulls of JSON, texts of json, first positions, signs of zero."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bridge.authorization.authorizer import Deliver, Effect, Resync
from bridge.events import Action, Change, Principal
from tests.oracle.agreement import agree
from tests.oracle.grammar import USERS, ChangeSpec, TableSpec
from tests.oracle.world import PRINCIPALS, World, finish

ANN, BOB, CAT, DAN = USERS
R = tuple(f"00000000-0000-0000-0000-00000000001{n}" for n in range(7))

DOCS = TableSpec(
    name="docs",
    columns={
        "id": "uuid",
        "room_id": "uuid",
        "owner_id": "uuid",
        "data": "jsonb",
        "more": "jsonb",
        "firm": "jsonb",
        "js": "json",
        "ints": "int4[]",
        "f8": "float8",
    },
    key=("id",),
)
ROOMS = TableSpec(name="rooms", columns={"id": "uuid", "owner_id": "uuid", "settings": "jsonb"}, key=("id",))

SCHEMA = f"""
create schema o;
grant usage on schema o to public;
create table o.rooms (id uuid primary key, owner_id uuid, settings jsonb);
create table o.docs (id uuid primary key, room_id uuid, owner_id uuid, data jsonb, more jsonb, firm jsonb not null, js json, ints int[], f8 double precision);
alter table o.docs enable row level security;
grant select on o.docs, o.rooms to anon, authenticated;
alter publication supabase_realtime add table o.docs, o.rooms;
insert into o.rooms values ('{R[0]}', '{ANN}', null), ('{R[1]}', '{BOB}', 'null'), ('{R[2]}', '{CAT}', '{{"{ANN}": 1, "k": "a"}}'), ('{R[3]}', '{DAN}', '["{BOB}"]');
insert into o.docs values
    ('{R[0]}', '{R[0]}', '{ANN}', null, 'null', 'null', 'null', '[0:1]={{1,2}}', '-0'),
    ('{R[1]}', '{R[1]}', '{ANN}', 'null', null, '{{"k": "a"}}', null, '{{1,2}}', '0'),
    ('{R[2]}', '{R[2]}', '{BOB}', '{{"k": null}}', 'null', '[]', '{{"b":1,  "a":2}}', '{{}}', 'NaN'),
    ('{R[3]}', '{R[3]}', '{BOB}', '{{"k": "a", "{BOB}": 1}}', null, '"{BOB}"', '{{"b":1,"b":2}}', null, '1e300'),
    ('{R[4]}', '{R[0]}', '{CAT}', '[]', '["{ANN}"]', '1', '[1]', '[2:2]={{7}}', null),
    ('{R[5]}', '{R[1]}', null, null, null, 'null', null, '{{{{1}},{{2}}}}', '-1');
"""

POLICIES = {
    "is null": "data is null",
    "is not null": "data is not null",
    "is null, or mine": "owner_id = auth.uid() or data is null",
    "is null of what is not null": "firm is null",
    "both are null": "data is null and more is null",
    "one is null": "(data is null) <> (more is null)",
    "a field": "data ->> 'k' = 'a'",
    "no field": "data -> 'k' is null",
    "not a field": "not (data ->> 'k' = 'a')",
    "a path": "data #>> '{k}' is null",
    "the whole as a path": "data #> '{}' is null",
    "a field of what is not null": "firm ->> 'k' is null",
    "an element": "data -> 0 is null",
    "a key": "data ? 'k'",
    "not a key": "not data ? 'k'",
    "a key is unknown": "(data ? 'k') is null",
    "some key": "data ?| array['k', 'x'] or more ?| array[auth.uid()::text]",
    "me among keys": "data ? auth.uid()::text",
    "not me among keys": "not data ? auth.uid()::text",
    "me among keys of what is not null": "firm ? auth.uid()::text",
    "equal": "data = '{}'",
    "not equal": "data <> '{}'",
    "equal to each other": "data = more",
    "equal to null": "data = 'null'::jsonb",
    "distinct": "data is distinct from 'null'::jsonb",
    "among": "data in ('[]', 'null')",
    "contains": 'data @> \'{"k": "a"}\'',
    "contains me": "more @> jsonb_build_array(auth.uid())",
    "coalesce": "coalesce(data, '{\"k\": \"a\"}') ->> 'k' = 'a'",
    "kind": "jsonb_typeof(data) = 'null'",
    "no kind": "jsonb_typeof(data) is null",
    "length": "jsonb_array_length(data) = 0",
    "cast": "data::text = 'null'",
    "case": "case when data is null then owner_id = auth.uid() else firm <> '1' end",
    "json is null": "js is null",
    "json is not null": "js is not null",
    "text of json": 'js::text = \'{"b":1,  "a":2}\'',
    "text of json, twice": "js::text like '%1%2%'",
    "other text of json": "js::text <> '{\"b\": 2}'",
    "field of json": "js ->> 'b' = '1'",
    "the first position": "ints[1] = 1",
    "another position": "ints[0] = 1",
    "bounds": "array_lower(ints, 1) <> 1",
    "an element of any": "7 = any (ints)",
    "dimensions": "array_dims(ints) = '[0:1]'",
    "the sign of zero": "f8::text = '-0'",
    "no number": "f8 = 'NaN'",
    "a row": "docs.* is not null",
    "in a look-up row": "exists (select from o.rooms r where r.id = room_id and r.settings is null)",
    "not in a look-up row": "exists (select from o.rooms r where r.id = room_id and r.settings is not null)",
    "a key of a look-up row": "exists (select from o.rooms r where r.id = room_id and r.settings ? auth.uid()::text)",
    "no key of a look-up row": "exists (select from o.rooms r where r.id = room_id and not r.settings ? auth.uid()::text)",
    "a field of a look-up row": "exists (select from o.rooms r where r.id = room_id and r.settings ->> 'k' is null)",
    "contained in a look-up row": "exists (select from o.rooms r where r.id = room_id and r.settings @> jsonb_build_array(auth.uid()))",
    "of my look-up row": "(select r.settings from o.rooms r where r.owner_id = auth.uid()) is null",
    "in a left join": "exists (select from o.rooms r left join o.rooms s on s.id = r.id and s.settings ? 'k' where r.id = room_id and s.settings is null)",
    "not in look-up rows": "more not in (select r.settings from o.rooms r where r.owner_id = auth.uid())",
}


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[World]:
    with connection.transaction(force_rollback=True):
        made = World(connection, (ROOMS, DOCS), PRINCIPALS)
        made.execute(SCHEMA)
        yield made


def seen_if(condition: str) -> str:
    return f"create policy seen on o.docs using ({condition})"


@pytest.mark.parametrize("condition", POLICIES.values(), ids=POLICIES)
def test_rows_in_the_table_are_decided_as_postgres_does(world: World, condition: str) -> None:
    """In both directions, for everybody."""
    agree(world, seen_if(condition))


def told(effects: list[Effect]) -> dict[Action, set[Principal]]:
    found: dict[Action, set[Principal]] = {}
    for effect in effects:
        assert not isinstance(effect, Resync)
        for delivery in effect.deliveries:
            found.setdefault(delivery.view.action, set()).update(delivery.principals)
    return found


LATE = {
    "is null": ("data is not null", "null", {"data": {}}),
    "json is null": ("js is not null", "null", {"js": {}}),
    "first position": ("ints[1] is distinct from 1", "[0:0]={1}", {"ints": [1, 2]}),
    "asked": ("data::text is distinct from 'null'", "null", {"data": {}}),
}


@pytest.mark.parametrize(("condition", "hidden", "values"), LATE.values(), ids=LATE)
def test_a_version_that_is_gone_is_shown_to_nobody(
    world: World, condition: str, hidden: str, values: dict[str, Any]
) -> None:
    """Where its JSON is that of another row, which some would see; what follows is told as ever."""
    column = next(iter(values))
    world.execute(f"delete from o.docs; {seen_if(f'not ({condition})')}")
    stage = world.load(["o.rooms", "o.docs"], dialog_column="room_id")
    first = world.make(
        ChangeSpec(table=1, action="INSERT", row=0, values={"id": R[6], "firm": {}}, full_old=True)
    )
    assert isinstance(first, Change)
    world.execute(f"update o.docs set {column} = '{hidden}'")
    row = world.table_rows(DOCS)[0]
    change = ChangeSpec(table=1, action="UPDATE", row=0, values=values, full_old=True)
    then = world.make(change)
    assert isinstance(then, Change)
    late = Change(table="o.docs", action="INSERT", new=row, old=None, commit_timestamp="", received_s=0.0)

    effects = finish(stage.apply(late, world))
    assert told(effects) == {}
    assert all(isinstance(effect, Deliver) for effect in effects)


def test_who_seemed_to_see_a_row_is_told_that_it_went(world: World) -> None:
    """A NULL is the likeliest: nobody keeps a row that is gone."""
    world.execute(f"delete from o.docs; {seen_if('data is null')}")
    stage = world.load(["o.rooms", "o.docs"], dialog_column="room_id")
    everybody = set(PRINCIPALS)
    for action, values, expected in (
        ("INSERT", {"id": R[6], "firm": {}}, {"INSERT": everybody}),
        ("UPDATE", {"firm": []}, {"UPDATE": everybody}),
        ("UPDATE", {"data": {}}, {"DELETE": everybody}),
        ("UPDATE", {"data": None}, {"INSERT": everybody}),
        ("DELETE", {}, {"DELETE": everybody}),
    ):
        change = world.make(ChangeSpec(table=1, action=action, row=0, values=values, full_old=False))  # type: ignore[arg-type]
        assert change is not None
        assert told(finish(stage.apply(change, world))) == expected, (action, values)


@pytest.mark.parametrize("column", ["data", "js", "ints"])
def test_what_an_update_leaves_alone_was_what_it_is(world: World, column: str) -> None:
    """So it is known who saw the row before, and who has to lose it."""
    value, seen = {
        "data": ("null", "data is not null"),
        "js": ("null", "js is not null"),
        "ints": ("[0:0]={1}", "ints[1] is null"),
    }[column]
    world.execute(f"delete from o.docs; {seen_if(f'{seen} and firm = $${{}}$$')}")
    stage = world.load(["o.rooms", "o.docs"], dialog_column="room_id")
    everybody = set(PRINCIPALS)
    world.execute(f"alter table o.docs alter {column} set default '{value}'")
    for action, values, expected in (
        ("INSERT", {"id": R[6], "firm": {}}, {"INSERT": everybody}),
        ("UPDATE", {"owner_id": BOB}, {"UPDATE": everybody}),
        ("UPDATE", {"firm": []}, {"DELETE": everybody}),
        ("UPDATE", {"firm": {}}, {"INSERT": everybody}),
    ):
        change = world.make(ChangeSpec(table=1, action=action, row=0, values=values, full_old=True))  # type: ignore[arg-type]
        assert change is not None
        assert told(finish(stage.apply(change, world))) == expected, (action, values)
