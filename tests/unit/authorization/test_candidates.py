"""Who may see rows of the past: found once, and again for those whose sight moved."""

import pytest

from bridge.authorization.candidates import Candidates
from bridge.authorization.plan import Plan
from bridge.events import Principal
from tests.support.catalogs import ANN, BOB, planset, put_rows, table

ann = Principal(role="authenticated", user_id=ANN)
bob = Principal(role="authenticated", user_id=BOB)

MEMBERS = table("members", "note_id int, user_id uuid", key=("note_id", "user_id"), rls=False)
BY_MEMBERSHIP = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.id) AND (m.user_id = auth.uid()))))"
)
ROW = {"id": 1}


def plans(policy: str, columns: str = "id int, body text"):
    return planset(table("notes", columns, policy), MEMBERS, watched=["notes"])


def plan_of(policy: str) -> Plan:
    return plans(policy).plans["public.notes", "authenticated"]


def test_users_are_found_once_for_all_who_come_back():
    """Somebody's coming or going is noticed for that user alone."""
    compiled = plans(BY_MEMBERSHIP)
    plan, lookup = compiled.plans["public.notes", "authenticated"], compiled.lookups["public.members"]
    put_rows(lookup, [{"note_id": 1, "user_id": ANN}])
    candidates = Candidates()
    assert candidates.sees(plan, ("e1", False), ROW, ann) is True
    put_rows(lookup, [{"note_id": 1, "user_id": BOB}])
    assert candidates.sees(plan, ("e1", False), ROW, bob) is False  # nobody said that this may have changed
    candidates.shift([BOB])
    assert candidates.sees(plan, ("e1", False), ROW, bob) is True
    lookup.remove((1, ANN))
    candidates.shift(None)
    assert candidates.sees(plan, ("e1", False), ROW, ann) is False


@pytest.mark.parametrize(
    "policy",
    [
        "(body ~ 'a'::text)",
        "((auth.jwt() ->> 'org'::text) = body)",
        "(now() > '2020-01-01 00:00:00+00'::timestamp with time zone)",
    ],
)
def test_what_depends_on_more_is_asked_of_the_plan(policy: str):
    """On Postgres, on claims of those who are here, on the time."""
    assert Candidates().sees(plan_of(policy), ("e1", False), {"id": 1, "body": "a"}, ann) is None


def test_who_has_no_id_is_asked_about():
    """Anon has none."""
    nobody = Principal(role="authenticated", user_id=None)
    assert Candidates().sees(plan_of(BY_MEMBERSHIP), ("e1", False), ROW, nobody) is None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """More is found anew."""
    monkeypatch.setattr("bridge.authorization.candidates.LIMIT", 3)
    plan, candidates = plan_of(BY_MEMBERSHIP), Candidates()
    for n in range(10):
        candidates.sees(plan, (f"e{n}", False), ROW, ann)
    assert len(candidates._found) <= 3


def test_what_is_known_to_be_hidden_need_not_be_asked():
    """Until somebody's sight moves; of what was never asked nothing is known."""
    compiled = plans(BY_MEMBERSHIP)
    plan, lookup = compiled.plans["public.notes", "authenticated"], compiled.lookups["public.members"]
    put_rows(lookup, [{"note_id": 1, "user_id": ANN}])
    candidates = Candidates()
    assert candidates.hidden(["e1"], bob) == [False]
    candidates.sees(plan, ("e1", False), ROW, ann)
    assert candidates.hidden(["e1", "e2"], bob) == [True, False]
    assert candidates.hidden(["e1"], ann) == [False]
    candidates.shift([BOB])
    assert candidates.hidden(["e1"], bob) == [False]
    nobody = Principal(role="authenticated", user_id=None)
    assert candidates.hidden(["e1"], nobody) == [False]
