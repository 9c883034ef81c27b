"""Who may experience past events, found without asking about each user."""

import msgspec
import pytest

from bridge.authorization.deciding import Asker, Decider
from bridge.authorization.rows import RowMemory
from bridge.events import RowEvent
from tests.support.catalogs import ANN, BOB, planset, put_rows, table

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
