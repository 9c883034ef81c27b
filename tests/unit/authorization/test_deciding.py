"""How past events are experienced, and by whom; the latter is found without asking about each user."""

import msgspec
import pytest

from bridge.authorization.asking import Answer
from bridge.authorization.deciding import Asker, Decider, Decision
from bridge.authorization.experience import NOBODY, Sees
from bridge.authorization.grounds import Grounds
from bridge.authorization.rows import RowMemory
from bridge.authorization.sightings import Sighting
from bridge.authorization.undecided import UndecidedError
from bridge.events import Action, Row, RowEvent, View
from tests.support.catalogs import ANN, BOB, planset, put_rows, table, user

MEMBERS = table("members", "note_id int, user_id uuid", key=("note_id", "user_id"), rls=False)
BY_MEMBERSHIP = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.id) AND (m.user_id = auth.uid()))))"
)


def decider(policy: str) -> Decider:
    plans = planset(table("notes", "id int, body text", policy), MEMBERS, watched=["notes"])
    for lookup in plans.lookups.values():
        put_rows(lookup, [{"note_id": 1, "user_id": ANN}, {"note_id": 2, "user_id": BOB}])
    plans_of = {"public.notes": {plan.role: plan for plan in plans.plans.values()}}
    memory = RowMemory(plans, dialog_columns={}, remembered_limit=10)
    return Decider(plans_of, memory, Asker(plans.catalog))


def event(new: int | None, old: int | None = None, **fields: object) -> RowEvent:
    rows = {"new": new, "old": old}
    given = {name: None if n is None else {"id": n, "body": "a"} for name, n in rows.items()} | fields
    return RowEvent(
        table="public.notes", key={"id": new}, dialog_id=None, commit_timestamp="", received_s=0.0, **given
    )


def test_whose_a_past_event_may_be():
    """Those who see its row, or saw it before; an announcement is for those whom it names."""
    found = decider(BY_MEMBERSHIP)
    assert set(found.audience(event(1))["authenticated"] or ()) == {ANN}
    assert set(found.audience(event(1, 2))["authenticated"] or ()) == {ANN, BOB}
    assert set(found.audience(event(None, 2))["authenticated"] or ()) == {BOB}
    assert found.audience(event(3))["authenticated"] == set()
    only = frozenset({BOB})
    assert found.audience(event(1, only=only, announced="INSERT"))["authenticated"] == only


def test_a_row_before_of_which_too_little_is_known_names_nobody():
    """Who sees the row after it is told; that is decided in the same way when they come back."""
    known = decider(BY_MEMBERSHIP).audience(msgspec.structs.replace(event(1), old={}))["authenticated"]
    assert set(known or ()) == {ANN}


@pytest.mark.parametrize(
    "policy",
    [
        "(body ~ 'a'::text)",
        "((auth.jwt() ->> 'org'::text) = body)",
        "(now() > '2020-01-01 00:00:00+00'::timestamp with time zone)",
    ],
)
def test_what_depends_on_more_may_be_anybodys(policy: str):
    """On Postgres, on claims of those who are here, on the time."""
    assert decider(policy).audience(event(1))["authenticated"] is None


EVENT = RowEvent(
    table="public.rooms",
    new={"id": 1},
    old={"id": 1},
    key={"id": 1},
    dialog_id="1",
    old_dialog_id=None,
    commit_timestamp="2026-01-01T10:00:00.000Z",
    received_s=0.0,
)
ann = user(ANN)
COLUMNS = frozenset({"id"})
OTHER_TABLES = Grounds(row_only=False, hidden_by=frozenset())
OWN_TABLE = Grounds(row_only=False, hidden_by=frozenset({"UPDATE", "DELETE"}))


def asked(grounds: Grounds, *, current: bool) -> Sees:
    """Postgres says that ann sees the row."""
    answer = Answer((ann,), (ann,), is_current=current)
    return Sees(sighting=Sighting((), (ann,)), answer=answer, grounds=grounds)


@pytest.mark.parametrize(
    ("new", "old", "sees", "saw", "action"),
    [
        ({"id": 1}, None, True, False, "INSERT"),
        ({"id": 1}, None, False, False, None),
        ({"id": 1}, {"id": 1}, True, True, "UPDATE"),
        ({"id": 1}, {"id": 1}, True, False, "INSERT"),
        ({"id": 1}, {"id": 1}, False, True, "DELETE"),
        ({"id": 1}, {"id": 1}, False, False, None),
        (None, {"id": 1}, False, True, "DELETE"),
    ],
)
def test_an_event_that_is_replayed(
    new: Row | None,
    old: Row | None,
    sees: bool,  # noqa: FBT001
    saw: bool,  # noqa: FBT001
    action: Action | None,
) -> None:
    """Decided again as of now, for one principal."""
    event = msgspec.structs.replace(EVENT, new=new, old=old)
    decision = Decision(
        event=event,
        columns=COLUMNS,
        sees_new=Sees(sighting=Sighting([ann] if sees else [])),
        saw_old=Sees(sighting=Sighting([ann] if saw else [])),
    )
    view = decision.view(set())

    assert (None if view is None else view.action) == action


def test_who_only_seems_to_see_a_version_is_not_shown_it() -> None:
    """The row's JSON does not tell what decides, and the table has another by now; its end is told."""
    seems = Sees(Sighting((), (ann,)), Answer((), (ann,), seems=(ann,), is_current=False))
    gone = msgspec.structs.replace(EVENT, new=None)

    saw = Sees(Sighting([ann]))
    assert Decision(event=EVENT, columns=None, sees_new=seems, saw_old=saw).view(set()) is None
    assert Decision(event=gone, columns=None, saw_old=seems).view(set()) == View(action="DELETE")


@pytest.mark.parametrize("row_only", [True, False])
def test_who_did_not_see_the_row_before_for_certain_is_not_shown_it(*, row_only: bool) -> None:
    """Nor by what Postgres says of other tables as they are now."""
    sees = Sees(Sighting([ann]))
    for saw, unsure, certain in (
        (Sees(Sighting([ann])), False, True),
        (Sees(Sighting([], [ann]), Answer([ann], [ann])), False, row_only),
        (Sees(Sighting([], [ann]), Answer([], [ann], seems=[ann])), False, False),
        (NOBODY, True, False),
    ):
        decision = Decision(
            event=EVENT, columns=None, sees_new=sees, saw_old=saw, unsure=unsure, row_only=row_only
        )
        assert decision.view(set()) == View(action="UPDATE", hides_old=not certain)


def replayed(new: Row | None, sees: Sees, *, saw: bool = False, unsure: bool = False) -> Decision:
    event = msgspec.structs.replace(EVENT, new=new)
    before = Sees(sighting=Sighting([ann] if saw else []))
    return Decision(event=event, columns=None, sees_new=sees, saw_old=before, unsure=unsure)


def test_a_replay_passes_over_versions_that_are_gone() -> None:
    """The one that is there is an INSERT for those who did not have the row."""
    untold: set[tuple[object, ...]] = set()
    gone = replayed({"id": 1}, asked(OTHER_TABLES, current=False))
    here = replayed({"id": 1}, asked(OTHER_TABLES, current=True), saw=True)

    assert gone.view(untold) is None
    views = [here.view(untold), here.view(untold)]
    assert [view and view.action for view in views] == ["INSERT", "UPDATE"]


def test_a_replay_cannot_tell_what_nobody_can() -> None:
    """Who sees the row has it; who does not may have lost it."""
    view = replayed({"id": 1}, asked(OWN_TABLE, current=True), unsure=True).view(set())
    assert view is not None
    assert view.action == "UPDATE"
    for lost in (replayed(None, NOBODY, unsure=True), replayed({"id": 1}, NOBODY, unsure=True)):
        with pytest.raises(UndecidedError, match=r"public\.rooms"):
            lost.view(set())
