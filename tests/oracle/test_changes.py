"""After every change of a row that a policy reads, the plan, its cohorts and the clients are those of Postgres."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest

from bridge.authorization.authorizer import Authorizer
from bridge.events import Change, Principal, Row
from tests.oracle.agreement import audience, visible
from tests.oracle.client import Client, Key
from tests.oracle.grammar import ChangeSpec
from tests.oracle.test_corners import EXTRAS, HERE, MORE, POLICIES, using
from tests.oracle.test_shapes import (
    ANN,
    BOB,
    CAT,
    DAN,
    ORG,
    OTHER,
    R1,
    R3,
    ROOM_POLICIES,
    SCHEMA,
    TABLES,
)
from tests.oracle.world import World, canonical, finish, project

WATCHED = TABLES[:2]
ALL = (*TABLES, EXTRAS)
ROOMS, NOTES, MEMBERS, PROFILES, EXTRA = range(5)


def insert(table: int, **values: Any) -> ChangeSpec:
    return ChangeSpec(table=table, action="INSERT", row=0, values=values, full_old=True)


def update(table: int, row: int, *, full_old: bool = True, **values: Any) -> ChangeSpec:
    return ChangeSpec(table=table, action="UPDATE", row=row, values=values, full_old=full_old)


def delete(table: int, row: int, *, full_old: bool = True) -> ChangeSpec:
    return ChangeSpec(table=table, action="DELETE", row=row, values={}, full_old=full_old)


CHANGES = (
    insert(MEMBERS, room_id=R3, user_id=DAN, role="owner", level=4),
    update(MEMBERS, 0, level=0, role=None),
    update(MEMBERS, 1, user_id=DAN, full_old=False),
    update(PROFILES, 0, is_admin=None, kind="guest"),
    update(PROFILES, 1, org_id=ORG, is_admin=True),
    insert(PROFILES, id=DAN, org_id=OTHER, kind="staff", room_id=R1, is_admin=False),
    update(PROFILES, 2, room_id=None),
    delete(MEMBERS, 3),
    update(EXTRA, 0, data='{"on": 1, "n": true, "kinds": ["admin"]}', budget="10", nums="{10}"),
    # Equal in Python, but not in Postgres.
    update(EXTRA, 0, data='{"on": true, "n": 1, "kinds": ["admin"]}'),
    update(EXTRA, 0, data='{"on": true, "n": 1.0, "kinds": ["admin"]}'),
    update(
        EXTRA,
        0,
        data='{"on": true, "n": 1.0, "who": ["00000000-0000-0000-0000-00000000000c"]}',
        full_old=False,
    ),
    update(EXTRA, 1, user_id=DAN, ids="{" + R3 + "}", seen_at="2020-01-01 08:00+00"),
    update(ROOMS, 0, owner_id=CAT, price="10.0", tags="{NULL,blue}", open=False),
    update(ROOMS, 1, settings='{"users": ["' + DAN + '"], "n": 1}', kind=None, full_old=False),
    insert(ROOMS, id=DAN, owner_id=ANN, open=True, kind="staff", people="{" + DAN + "," + BOB + "}"),
    insert(MEMBERS, room_id=DAN, user_id=DAN, role="member", level=1),
    delete(PROFILES, 0, full_old=False),
    delete(EXTRA, 2),
    update(MEMBERS, 0, room_id=DAN, user_id=BOB),
    delete(ROOMS, 2, full_old=False),
    delete(MEMBERS, 0, full_old=False),
)


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[World]:
    with connection.transaction(force_rollback=True):
        made = World(connection, ALL, HERE)
        made.execute(SCHEMA)
        made.execute(MORE)
        yield made


def seen(world: World, stage: Authorizer, principal: Principal) -> dict[str, dict[Key, Row]]:
    """Return what ``principal`` would read, by the filter."""
    found: dict[str, dict[Key, Row]] = {}
    for table in WATCHED:
        plan = stage.planset.plans[table.qualified, principal.role]
        found[table.qualified] = {
            tuple(row[c] for c in table.key): row
            for row in world.table_rows(table)
            if visible(world, plan, row, principal)
        }
    return found


def compare(world: World, stage: Authorizer, truth: Mapping[tuple[Principal, str], list[Row]]) -> None:
    for table in WATCHED:
        rows = world.table_rows(table)
        for role in ("authenticated", "anon"):
            plan = stage.planset.plans[table.qualified, role]
            found = [audience(world, plan, row, stage._roster) for row in rows]
            for principal in (p for p in HERE if p.role == role):
                expected = truth[principal, table.qualified]
                shown = [project(r, plan.columns) for r in rows if visible(world, plan, r, principal)]
                heard = [
                    project(r, plan.columns) for r, who in zip(rows, found, strict=True) if principal in who
                ]
                assert canonical(shown) == expected, ("filter", table.name, principal, plan.condition)
                assert canonical(heard) == expected, ("audience", table.name, principal, plan.condition)


def run(world: World, *statements: str, changes: Sequence[ChangeSpec] = CHANGES) -> None:
    world.execute(";\n".join(statements))
    stage = world.load([table.qualified for table in WATCHED], dialog_column="room_id")
    rooms, notes = (table.qualified for table in WATCHED)
    clients = [
        Client(
            principal,
            keys={table.qualified: table.key for table in WATCHED},
            dialog_table=rooms,
            dialog_columns={rooms: "id", notes: "room_id"},
        )
        for principal in HERE
    ]
    compare(world, stage, world.seen(WATCHED))
    for client in clients:
        client.read(seen(world, stage, client.principal))
    for spec in changes:
        change = world.make(spec)
        if change is None or change.table not in stage.planset.upstream_tables:
            continue
        effects = finish(stage.apply(change, world))
        truth = world.seen(WATCHED)
        compare(world, stage, truth)
        if any(plan.opaque for plan in stage.planset.plans.values()):
            continue  # it is not known which rows Postgres looks at: nobody is told when one of them changes
        for client in clients:
            wrong = client.receive(effects, seen(world, stage, client.principal))
            assert not wrong, (client.principal, spec, wrong)
            for table in WATCHED:
                plan = stage.planset.plans[table.qualified, client.principal.role]
                known = [project(row, plan.columns) for row in client.rows[table.qualified].values()]
                expected = truth[client.principal, table.qualified]
                assert canonical(known) == expected, (
                    "told",
                    table.name,
                    client.principal,
                    spec,
                    plan.condition,
                )


SHAPES = {**ROOM_POLICIES, **POLICIES}


@pytest.mark.parametrize("shape", SHAPES)
def test_after_changes(world: World, shape: str) -> None:
    """Whoever gains or loses sight is told, and nothing that was computed before is used again."""
    run(world, *using(SHAPES[shape]))


def test_keys_that_are_exchanged(world: World) -> None:
    """Two rows may have one key until the commit where it is deferrable: one must not take the other's place."""
    world.execute(
        "create table o.seats (number int primary key deferrable, user_id uuid);"
        "alter table o.seats replica identity full;"
        "grant select on o.seats to authenticated; alter publication supabase_realtime add table o.seats;"
        f"insert into o.seats values (1, '{ANN}'), (2, '{BOB}');"
        "create table o.log (id serial, old jsonb, new jsonb);"
        "create function o.note() returns trigger language plpgsql as"
        " 'begin insert into o.log (old, new) values (to_jsonb(old), to_jsonb(new)); return null; end';"
        "create trigger note after update on o.seats for each row execute function o.note();"
        "create policy p on o.rooms for select using (exists (select 1 from o.seats s"
        " where s.number = 2 and s.user_id = rooms.owner_id) and auth.uid() is not null)"
    )
    stage = world.load([table.qualified for table in WATCHED], dialog_column="room_id")
    world.execute("update o.seats set number = 3 - number")
    rows = world._one("select jsonb_agg(to_jsonb(l) order by l.id) from o.log l")
    for row in rows if "o.seats" in stage.planset.lookups else ():
        change = Change(
            table="o.seats",
            action="UPDATE",
            new=row["new"],
            old=row["old"],
            commit_timestamp="t",
            received_s=0.0,
        )
        finish(stage.apply(change, world))

    compare(world, stage, world.seen(WATCHED))
