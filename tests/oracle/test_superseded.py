"""Policies that Postgres is asked about decide by what it holds now: no version of a row is shown on the grounds of another."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from bridge import metrics
from bridge.authorization.authorizer import Authorizer, Deliver, Effect, Resync
from bridge.authorization.undecided import UndecidedError
from bridge.events import Action, Change, Principal
from tests.oracle.grammar import TableSpec
from tests.oracle.world import World, finish, principal

ANN, BOB, CAT = (f"00000000-0000-0000-0000-00000000000{c}" for c in "abc")
ann, bob, cat = map(principal, (ANN, BOB, CAT))

SCHEMA = """
create schema o;
create table o.rooms (id int primary key, title text);
create table o.notes (id int primary key, room_id int, owner_id uuid, body text);
create table o.staff (user_id uuid primary key, rank int);
create table o.grants (note_id int references o.notes on delete cascade, user_id uuid);
create view o.numbers as select 1 as n;
grant usage on schema o to anon, authenticated;
grant select on all tables in schema o to anon, authenticated;
alter table o.notes enable row level security;
create function o.can_access(note int) returns boolean language plpgsql security definer as $$
    declare found boolean;
    begin execute 'select owner_id = auth.uid() from o.notes where id = $1' into found using note; return found; end $$;
create function o.ranks_above(lowest int) returns boolean language plpgsql stable security definer as $$
    declare r int;
    begin for r in select rank from o.staff where user_id = auth.uid() loop return r > lowest; end loop;
    return false; end $$;
create function o.is_granted(note int) returns boolean language plpgsql stable security definer as $$
    declare r uuid;
    begin for r in select g.user_id from o.grants g where g.note_id = note loop
    if r = auth.uid() then return true; end if; end loop; return false; end $$;
alter publication supabase_realtime add table o.rooms, o.notes;
"""
ROOMS = TableSpec(name="rooms", columns={"id": "integer", "title": "text"}, key=("id",), rls=False)
NOTES = TableSpec(
    name="notes",
    columns={"id": "integer", "room_id": "integer", "owner_id": "uuid", "body": "text"},
    key=("id",),
)

OWN_ROW = "o.can_access(id)"
"""Looks at the row in the table."""
BY_RANK = "o.ranks_above(3)"
"""Looks at other tables."""
GRANTED = "o.is_granted(id)"
"""Looks at rows that go with the row."""
PURE = "(owner_id::text || body) ~ (current_setting('request.jwt.claims')::jsonb ->> 'sub')"
"""Looks at the row and the claims."""


class Project(World):
    """The world, with changes that are made before anybody is asked about them."""

    def write(self, statement: str, *parameters: object) -> Change:
        """Write one note, and return the change as upstream sends it: whole rows."""
        (number,) = parameters[:1]
        old = self._one("select to_jsonb(n) from o.notes n where id = %s", number)
        self._connection.execute(statement, parameters[1:] if "%s" in statement else None)
        new = self._one("select to_jsonb(n) from o.notes n where id = %s", number)
        action: Action = "INSERT" if old is None else "DELETE" if new is None else "UPDATE"
        return Change(table="o.notes", action=action, new=new, old=old, commit_timestamp="t", received_s=0.0)

    def insert_note(self, number: int, owner: str | None, body: str) -> Change:
        return self.write("insert into o.notes values (%s, 1, %s, %s)", number, number, owner, body)

    def give(self, number: int, owner: str | None, body: str) -> Change:
        return self.write(
            "update o.notes set owner_id = %s, body = %s where id = %s", number, owner, body, number
        )

    def delete(self, number: int) -> Change:
        return self.write("delete from o.notes where id = %s", number, number)

    def stage(self, using: str) -> Authorizer:
        self.execute(f"create policy p on o.notes for select to authenticated using ({using})")
        return self.load(["o.rooms", "o.notes"], dialog_column="room_id")


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[Project]:
    with connection.transaction(force_rollback=True):
        made = Project(connection, [ROOMS, NOTES], [ann, bob, cat])
        made.execute(SCHEMA)
        yield made


def heard(effects: Sequence[Effect]) -> dict[Principal, list[str]]:
    """Return what each is told: the action and the text, or ``resync``."""
    found: dict[Principal, list[str]] = {}
    for effect in effects:
        if isinstance(effect, Resync):
            for who in effect.principals:
                found.setdefault(who, []).append("resync")
            continue
        for delivery in effect.deliveries:
            text = (
                ""
                if delivery.view.action == "DELETE" or effect.event.new is None
                else effect.event.new["body"]
            )
            for who in delivery.principals:
                found.setdefault(who, []).append(f"{delivery.view.action} {text}".strip())
    return found


def applied(world: Project, stage: Authorizer, *changes: Change) -> list[dict[Principal, list[str]]]:
    return [heard(finish(stage.apply(change, world))) for change in changes]


def together(world: Project, stage: Authorizer, *changes: Change) -> list[dict[Principal, list[str]]]:
    begun = [finish(stage.begin(change, world)) for change in changes]
    return [heard(effects) for effects in finish(stage.settle(begun, world))]


def counted(reason: str) -> float:
    return float(metrics.UNDELIVERABLE.labels("o.notes", reason)._value.get())


@pytest.mark.parametrize("ask", [applied, together])
def test_a_new_owner_does_not_get_the_text_of_the_old_one(world: Project, ask: Any) -> None:
    """A helper that looks at the row in the table knows the new owner only; the change that follows shows the row."""
    stage, before = world.stage(OWN_ROW), counted("row_superseded")
    changes = world.insert_note(1, ANN, "secret of ann"), world.give(1, BOB, "for bob")
    first, second = ask(world, stage, *changes)
    assert first == {}
    # Ann may have read it before it was given away.
    assert second == {bob: ["INSERT for bob"], ann: ["resync"], cat: ["resync"]}
    assert counted("row_superseded") == before + 1


@pytest.mark.parametrize("ask", [applied, together])
def test_who_is_promoted_meanwhile_does_not_get_what_was_there_before(world: Project, ask: Any) -> None:
    """Other tables are as of now, too: a version that is gone was never seen by those who see by them now."""
    stage = world.stage(BY_RANK)
    world.execute(f"insert into o.staff values ('{ANN}', 5)")
    changes = world.insert_note(1, None, "secret"), world.give(1, None, "harmless")
    world.execute(f"insert into o.staff values ('{BOB}', 5)")
    assert ask(world, stage, *changes) == [
        {},
        {ann: ["INSERT harmless"], bob: ["INSERT harmless"]},
    ]


def test_who_may_have_lost_sight_reads_again(world: Project) -> None:
    """The old version cannot be asked about any more; who sees the new one has an UPDATE."""
    stage, before = world.stage(OWN_ROW), counted("old_viewers_unknown")
    assert applied(world, stage, world.insert_note(1, ANN, "a")) == [{ann: ["INSERT a"]}]
    assert applied(world, stage, world.give(1, BOB, "b")) == [
        {bob: ["UPDATE b"], ann: ["resync"], cat: ["resync"]}
    ]
    assert counted("old_viewers_unknown") == before + 1


@pytest.mark.parametrize("using", [OWN_ROW, GRANTED])
def test_a_delete_that_cannot_be_asked_about_is_said_and_counted(world: Project, using: str) -> None:
    """The row is gone, or what showed it went with it; whom memory decides gets the DELETE."""
    stage = world.stage(f"owner_id = auth.uid() or {using}")
    world.insert_note(1, ANN, "a")
    world.execute(f"insert into o.grants values (1, '{BOB}')")
    stage = world.load(["o.rooms", "o.notes"], dialog_column="room_id")
    before = counted("old_viewers_unknown")
    (told,) = applied(world, stage, world.delete(1))
    assert told == {ann: ["DELETE"], bob: ["resync"], cat: ["resync"]}
    assert counted("old_viewers_unknown") == before + 1


def test_a_delete_that_other_tables_decide_reaches_those_who_saw_the_row(world: Project) -> None:
    """They have nothing to do with the row, and are as they were."""
    stage = world.stage(BY_RANK)
    world.execute(f"insert into o.staff values ('{ANN}', 5)")
    told = applied(world, stage, world.insert_note(1, None, "a"), world.delete(1))
    assert told == [{}, {ann: ["DELETE"]}]


def test_an_update_that_other_tables_decide_is_exact(world: Project) -> None:
    """Who sees neither version hears nothing, and reads nothing again."""
    stage = world.stage(GRANTED)
    world.insert_note(1, None, "a")
    world.execute(f"insert into o.grants values (1, '{BOB}')")
    assert applied(world, stage, world.give(1, None, "b")) == [{bob: ["UPDATE b"]}]


def test_what_depends_on_the_row_alone_is_asked_of_each_version(world: Project) -> None:
    """Also of those that are gone: the answer is the same whenever it is given."""
    stage = world.stage(PURE)
    changes = world.insert_note(1, ANN, "a"), world.give(1, BOB, "b"), world.delete(1)
    assert applied(world, stage, *changes) == [
        {ann: ["INSERT a"]},
        {ann: ["DELETE"], bob: ["INSERT b"]},
        {bob: ["DELETE"]},
    ]


def test_who_loses_sight_by_a_version_that_is_gone_is_told(world: Project) -> None:
    """And who keeps it gets the version that is there."""
    stage = world.stage("(room_id = 1 and o.ranks_above(3)) or (room_id = 2 and o.ranks_above(7))")
    world.execute(f"insert into o.staff values ('{ANN}', 5), ('{BOB}', 9)")
    assert applied(world, stage, world.insert_note(1, None, "a")) == [{ann: ["INSERT a"], bob: ["INSERT a"]}]
    moved = world.write("update o.notes set room_id = 2, body = 'b' where id = 1", 1)
    again = world.give(1, None, "c")
    assert applied(world, stage, moved, again) == [{ann: ["DELETE"]}, {bob: ["UPDATE c"]}]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("price numeric default 1.50", {"price": 1.5}),
        ("""data json default '{"b": 1.0, "a": [1]}'""", {"data": {"a": [1], "b": 1}}),
        ("at timestamptz default '2026-01-01 12:00+02'", {"at": "2026-01-01T10:00:00Z"}),
        ("ids uuid[] default array['00000000-0000-0000-0000-00000000000a'::uuid]", {"ids": [ANN]}),
        ("name char(5) default 'ab'", {"name": "ab"}),
        ("day date default 'infinity'", {}),
        ("score float8 default 0.1", {}),
    ],
)
def test_a_value_that_is_written_in_another_way_is_the_same(world: Project, columns: str, row: Any) -> None:
    """The row is compared as Postgres reads it."""
    world.execute(f"alter table o.notes add column {columns}")
    stage = world.stage(OWN_ROW)
    change = world.write("insert into o.notes (id, owner_id, body) values (1, %s, 'a')", 1, ANN)
    assert change.new is not None
    change.new.update(row)
    assert applied(world, stage, change) == [{ann: ["INSERT a"]}]


def event_of(stage: Authorizer, world: Project, change: Change) -> Any:
    (deliver,) = (e for e in finish(stage.apply(change, world)) if not isinstance(e, Resync))
    return deliver.event


def test_a_replay_shows_what_is_there_now(world: Project) -> None:
    """Versions that are gone are passed over; where sight may have been lost nobody can tell, so the client reads."""
    stage = world.stage(OWN_ROW)
    changes = world.insert_note(1, ANN, "a"), world.give(1, BOB, "b"), world.insert_note(2, BOB, "c")
    events = [event_of(stage, world, change) for change in changes]
    views = finish(stage.decide(bob, events, world))
    assert [view and view.action for view in views] == [None, "INSERT", "INSERT"]
    with pytest.raises(UndecidedError, match=r"o\.notes"):
        finish(stage.decide(ann, events, world))
    gone = event_of(stage, world, world.delete(2))
    with pytest.raises(UndecidedError):
        finish(stage.decide(bob, [gone], world))


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_row_that_is_read_for_a_membership_may_be_newer_than_it(world: Project, is_removed: bool) -> None:  # noqa: FBT001
    """Who is a member no more by then is not shown what was written since, and who still is, is."""
    world.execute(
        "create table o.members (room_id int, user_id uuid, primary key (room_id, user_id));"
        "grant select on o.members to authenticated; alter publication supabase_realtime add table o.members;"
        "insert into o.rooms values (1, 'remembered'), (2, 'old'); alter table o.rooms enable row level security;"
        "create policy p on o.rooms for select using (exists (select 1 from o.members m"
        " where m.room_id = rooms.id and m.user_id = auth.uid()))"
    )
    stage = world.load(["o.rooms", "o.notes"], dialog_column="room_id", remembered_rows=1)
    joined = Change(
        table="o.members",
        action="INSERT",
        new={"room_id": 2, "user_id": BOB},
        old=None,
        commit_timestamp="t",
        received_s=0.0,
    )
    if not is_removed:
        world.execute(f"insert into o.members values (2, '{BOB}')")
    world.execute("update o.rooms set title = 'new' where id = 2")

    titles = [
        effect.event.new["title"]
        for effect in finish(stage.apply(joined, world))
        if isinstance(effect, Deliver) and effect.event.new is not None
        if any(bob in delivery.principals for delivery in effect.deliveries)
    ]
    assert titles == ([] if is_removed else ["new"])
