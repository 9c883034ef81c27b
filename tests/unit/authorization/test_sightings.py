"""Who sees rows is found once, and again after a change of anything that it follows from."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.authorization import sightings as module
from bridge.authorization.authorizer import Authorizer, Deliver, Effect, Resync
from bridge.authorization.effects import _viewers, viewers
from bridge.authorization.plan import Plan
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.clock import ManualClock
from bridge.events import Action, Change, Principal, Row, Seen
from tests.support.catalogs import ANN, BOB, CAT, planset, policy, table

MEMBERS = table("members", "note_id uuid, user_id uuid, role text", key=("note_id", "user_id"), rls=False)
ADMINS = table("admins", "user_id uuid", key=("user_id",), rls=False)
POLICY = """((owner_id = auth.uid())
    OR (EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.id) AND (m.user_id = auth.uid()))))
    OR (EXISTS ( SELECT 1 FROM public.admins a WHERE (a.user_id = auth.uid()))))"""


def compiled(policy: str, columns: str = "id uuid, owner_id uuid, level numeric") -> Plan:
    plans = planset(table("notes", columns, policy), MEMBERS, ADMINS, watched=["notes"])
    return plans.plans["public.notes", "authenticated"]


def roster_of(*users: str) -> Roster:
    made = Roster(linger_s=1.0, clock=ManualClock())
    for user in users:
        made.add(Principal(role="authenticated", user_id=user))
    return made


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_what_is_kept_is_what_would_be_found(seed: int) -> None:
    """Whatever happens between two questions: somebody comes or goes, a look-up row comes, changes or goes."""
    chance = random.Random(seed)
    plans = planset(table("notes", "id uuid, owner_id uuid", POLICY), MEMBERS, ADMINS, watched=["notes"])
    plan = plans.plans["public.notes", "authenticated"]
    clock = ManualClock()
    roster = Roster(linger_s=1.0, clock=clock)
    plan.cohorts.meet(roster)
    roster.on_change = plan.cohorts.notice
    people = [Principal(role="authenticated", user_id=user) for user in (ANN, BOB, CAT)]
    for _ in range(30):
        someone, note = chance.choice(people), chance.choice("mn")
        match chance.randrange(6):
            case 0:
                roster.add(someone)
            case 1 if someone in roster.of_role("authenticated"):
                roster.remove(someone)
                clock.advance(2.0)
                roster.expire()
            case 2 | 3:
                name = chance.choice(["public.members", "public.admins"])
                lookup = plans.lookups[name]
                row = lookup.pack({"note_id": note, "user_id": someone.user_id, "role": "x"})
                before = lookup.rows.get(lookup.key_of({"note_id": note, "user_id": someone.user_id}))
                after = None if chance.random() < 0.5 else row
                lookup.remove(lookup.key_of({"note_id": note, "user_id": someone.user_id}))
                if after is not None:
                    lookup.put(after)
                plan.cohorts.row_changed(lookup, before, after)
            case _:
                asked = {"id": note, "owner_id": someone.user_id}
                found = viewers(plan, asked, roster)
                assert set(found.sees) == set(_viewers(plan, asked, roster, None).sees)


def test_the_same_answer_is_given_while_nothing_changes() -> None:
    """One value, by which who is here is known, too."""
    plan, roster = compiled("(owner_id = auth.uid())"), roster_of(ANN, BOB)
    row = {"id": "n", "owner_id": ANN}

    assert viewers(plan, row, roster).sees is viewers(plan, {**row, "id": "m"}, roster).sees
    assert viewers(plan, {**row, "owner_id": BOB}, roster).sees != viewers(plan, row, roster).sees
    assert viewers(plan, row, roster_of(BOB)).sees == ()


@pytest.mark.parametrize(
    ("policy", "level"),
    [("(level > (1)::numeric)", 1.5), ("(level > (EXTRACT(epoch FROM now()))::numeric)", 1)],
)
def test_what_equal_values_do_not_tell_is_not_kept(policy: str, level: float) -> None:
    """A number that is printed in several ways; the time."""
    plan = compiled(policy)

    assert plan.sightings is None or plan.sightings.key({"id": "n", "owner_id": ANN, "level": level}) is None


@pytest.mark.parametrize("first", [True, 1, False, 0])
@pytest.mark.parametrize("policy", ["(data = 'true'::jsonb)", "(jsonb_typeof(data) = 'number'::text)"])
def test_true_is_not_1_in_a_column_of_json(policy: str, first: object) -> None:
    """Python calls them equal: who sees a row with the one would be shown rows with the other."""
    plan, roster = compiled(policy, "id uuid, data jsonb"), roster_of(ANN)
    for value in (first, True, 1, False, 0):
        row = {"id": "n", "data": value}
        assert viewers(plan, row, roster).sees == _viewers(plan, row, roster, None).sees


def test_a_truth_value_is_kept_by() -> None:
    """A policy may well read a column of type boolean."""
    plan, roster = compiled("published", "id uuid, published boolean"), roster_of(ANN)
    row = {"id": "n", "published": True}

    assert viewers(plan, row, roster).sees is viewers(plan, row, roster).sees != ()
    assert viewers(plan, {**row, "published": False}, roster).sees == ()


def test_what_is_kept_is_bounded_where_no_two_rows_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that name nobody take memory, too, and long texts that a policy reads."""
    monkeypatch.setattr(module, "MOST", 1000)
    plan, roster = compiled("(owner_id = auth.uid())"), roster_of(ANN)
    known = plan.sightings
    assert known is not None
    most = 0
    for n in range(100):
        viewers(plan, {"owner_id": str(n)}, roster)
        most = max(most, len(known))
    assert 10 < most < 32

    viewers(plan, {"owner_id": "x" * 8000}, roster)
    assert len(known) == 1


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is forgotten then, and found again."""
    monkeypatch.setattr(module, "MOST", 200)
    plan, roster = compiled("(owner_id = auth.uid())"), roster_of(ANN)
    first = viewers(plan, {"owner_id": ANN}, roster).sees
    for n in range(9):
        viewers(plan, {"owner_id": str(n)}, roster)

    again = viewers(plan, {"owner_id": ANN}, roster).sees
    assert (again == first, again is first) == (True, False)


IN_ROOM = "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.room = {}) AND (m.user_id = auth.uid()))))"
OF_ORG = """(EXISTS ( SELECT 1 FROM public.rooms r
    WHERE ((r.id = notes.room) AND (r.org = (auth.jwt() ->> 'org'::text)))))"""
SCHEMA = (
    table(
        "rooms",
        "id int, owner_id uuid, org text, data jsonb",
        f"((owner_id = auth.uid()) OR (data = 'true'::jsonb) OR {IN_ROOM.format('rooms.id')})",
    ),
    table("members", "room int, user_id uuid", policy("(user_id = auth.uid())"), key=("room", "user_id")),
    table(
        "notes",
        "id int, room int, data jsonb",
        policy(f"({OF_ORG} OR (jsonb_typeof(data) = 'number'::text))", roles=["authenticated"]),
        policy(IN_ROOM.format("notes.room"), name="q"),
    ),
)
VALUES = (True, 1, False, 0, None, "x", {"on": True})
PEOPLE = tuple(
    Principal(role=role, user_id=user, claims_json=claims)
    for role, user, claims in (
        ("authenticated", ANN, '{"org":"a"}'),
        ("authenticated", ANN, '{"org":"b"}'),
        ("authenticated", BOB, "{}"),
        ("anon", None, "{}"),
    )
)


class Project:
    """A database that knows the rows, and shows nobody what only it can decide."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], Row]] = {"rooms": {}, "members": {}, "notes": {}}

    async def row(self, name: str, key: Row) -> Row | None:
        return self.rows[name.removeprefix("public.")].get(tuple(key.values()))

    async def visible(self, _table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        return Seen([frozenset() for _ in principals], frozenset(range(len(rows))))


def stage(clock: ManualClock) -> tuple[Authorizer, Roster]:
    plans = planset(*SCHEMA, watched=["rooms", "members", "notes"])
    roster = Roster(linger_s=1.0, clock=clock)
    dialogs = {"public.rooms": "id", "public.notes": "room"}
    memory = RowMemory(plans, dialog_columns=dialogs, remembered_limit=100)
    made = Authorizer(
        plans, memory=memory, roster=roster, dialog_columns=dialogs, dialog_table="public.rooms"
    )
    return made, roster


def someones(effects: Sequence[Effect]) -> list[object]:
    """Effects, without the order of people; nobody gets an event twice."""
    found: list[object] = []
    for effect in effects:
        match effect:
            case Deliver(event=event, deliveries=deliveries):
                shown = {(d.view, p) for d in deliveries for p in d.principals}
                assert len({p for _, p in shown}) == sum(len(d.principals) for d in deliveries)
                found.append((event.table, event.key, event.announced, shown))
            case Resync(principals=principals):
                found.append(set(principals))
            case other:
                found.append(other)
    return found


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
async def test_whoever_keeps_nothing_tells_the_same(seed: int) -> None:
    """Tables that are watched and looked into, claims, two roles, jsonb, people who come, linger and go."""
    chance, clock, project = random.Random(seed), ManualClock(), Project()
    (keeps, here), (forgets, there) = stage(clock), stage(clock)
    for plan in forgets.planset.plans.values():
        plan.sightings = None
    present: set[Principal] = set()
    for n in range(60):
        someone = chance.choice(PEOPLE)
        match chance.randrange(6):
            case 0:
                present.add(someone)
                here.add(someone)
                there.add(someone)
                continue
            case 1 if someone in present:
                present.remove(someone)
                here.remove(someone)
                there.remove(someone)
                clock.advance(chance.choice([0.0, 2.0]))
                continue
        name, room, data = chance.choice(list(project.rows)), chance.randrange(2), chance.choice(VALUES)
        key: tuple[Any, ...]
        match name:
            case "rooms":
                key = (room,)
                row = {"id": room, "owner_id": someone.user_id, "org": chance.choice("ab"), "data": data}
            case "members":
                key = (room, someone.user_id or CAT)
                row = {"room": room, "user_id": key[1]}
            case _:
                key = (chance.randrange(3),)
                row = {"id": key[0], "room": room, "data": data}
        known = project.rows[name]
        old = known.pop(key, None)
        new = None if old is not None and chance.random() < 0.4 else row
        if new is not None:
            known[key] = new
        action: Action = "INSERT" if old is None else "DELETE" if new is None else "UPDATE"
        change = Change(
            table=f"public.{name}",
            action=action,
            new=new,
            old=old,
            commit_timestamp="t",
            received_s=0.0,
            id=n,
        )
        told = [someones(await made.apply(change, project)) for made in (keeps, forgets)]
        assert told[0] == told[1]
