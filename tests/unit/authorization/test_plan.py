"""One plan: both directions, what it reads, and how look-up rows reach its rows."""

import json

import pytest

from bridge.authorization.lookup import LookupTable
from bridge.authorization.plan import Plan
from bridge.authorization.planset import PlanSet
from bridge.authorization.reach import Reach, lookup_columns, reaches, row_columns
from bridge.authorization.roster import Roster
from bridge.authorization.undecided import UndecidedError
from bridge.clock import ManualClock
from bridge.events import Principal
from tests.support.catalogs import ANN, BOB, CAT, planset, table, user

NOTES = "id uuid, room_id uuid, owner_id uuid"
MEMBERS = table("members", "room_id uuid, user_id uuid, role text", key=("room_id", "user_id"), rls=False)
ROOMS = table("rooms", "id uuid, open bool", rls=False)
BLOCKS = table("blocks", "id uuid, who uuid, whom uuid", rls=False)

IS_MEMBER = (
    "(EXISTS ( SELECT 1 FROM public.members m"
    " WHERE ((m.room_id = notes.room_id) AND (m.user_id = auth.uid()))))"
)


def compiled(policy: str) -> PlanSet:
    return planset(table("notes", NOTES, policy), MEMBERS, ROOMS, BLOCKS, watched=["notes"])


def plan_of(policy: str) -> Plan:
    return compiled(policy).plans["public.notes", "authenticated"]


def put(lookup: LookupTable, **row: object) -> None:
    lookup.put(lookup.pack(row))


def test_both_directions_agree() -> None:
    """The members of a row's room see it, and are found from it."""
    plans = compiled(f"((owner_id = auth.uid()) OR {IS_MEMBER})")
    plan = plans.plans["public.notes", "authenticated"]
    put(plans.lookups["public.members"], room_id="r", user_id=BOB)
    row = {"room_id": "r", "owner_id": ANN}

    assert plan.users(row) == ({ANN, BOB}, True)
    assert [plan.visible(row, user(u)) for u in (ANN, BOB, "else", None)] == [True, True, False, False]


def test_null_hides_a_row() -> None:
    """Only true lets a row through."""
    plan = plan_of("(NOT (owner_id = auth.uid()))")

    assert plan.visible({"owner_id": ANN}, user(BOB))
    assert not plan.visible({"owner_id": ANN}, user(None))
    assert plan.users({"owner_id": ANN}) == (None, False)


def test_a_plan_says_which_columns_it_reads() -> None:
    """Of the row itself, and of each look-up table."""
    condition = plan_of(
        f"((owner_id = auth.uid()) AND {IS_MEMBER} AND (EXISTS ( SELECT 1 FROM public.rooms r)))"
    ).condition

    assert row_columns(condition) == {"owner_id", "room_id"}
    assert lookup_columns(condition) == {"public.members": {"room_id", "user_id"}, "public.rooms": set()}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("true", []),
        (IS_MEMBER, [Reach(lookup="public.members", link=(("room_id", "room_id"),), user_column="user_id")]),
        (
            "(room_id IN ( SELECT r.id FROM public.rooms r WHERE r.open))",
            [Reach(lookup="public.rooms", link=(("room_id", "id"),), user_column=None)],
        ),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.members m"
                " WHERE ((m.user_id = auth.uid()) AND (m.role = 'admin'::text))))"
            ),
            [Reach(lookup="public.members", link=(), user_column="user_id")],
        ),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.rooms r, public.members m WHERE ((r.id = notes.room_id) AND"
                " (m.room_id = r.id) AND (auth.uid() = m.user_id))))"
            ),
            [
                Reach(
                    lookup="public.rooms",
                    link=(("room_id", "id"),),
                    user_column=None,
                    joined=(("public.members", (("room_id", "id"),)),),
                ),
                Reach(
                    lookup="public.members",
                    link=(),
                    user_column="user_id",
                    joined=(("public.rooms", (("id", "room_id"),)),),
                ),
            ],
        ),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.rooms r WHERE (EXISTS ( SELECT 1 FROM public.members m"
                " WHERE ((m.room_id = notes.room_id) AND (m.user_id = auth.uid()))))))"
            ),
            [
                Reach(lookup="public.rooms", link=(), user_column=None),
                Reach(lookup="public.members", link=(("room_id", "room_id"),), user_column="user_id"),
            ],
        ),
        (
            (
                "(NOT (EXISTS ( SELECT 1 FROM public.blocks b"
                " WHERE ((b.whom = notes.owner_id) AND (b.who = auth.uid())))))"
            ),
            [Reach(lookup="public.blocks", link=(("owner_id", "whom"),), user_column="who")],
        ),
    ],
)
def test_a_look_up_row_reaches_the_rows_and_users_it_names(policy: str, expected: list[Reach]) -> None:
    """Equalities say which rows and which user a look-up row can concern; without any it may be all."""
    assert list(reaches(plan_of(policy).condition)) == expected


def test_a_look_up_row_of_not_in_reaches_every_row() -> None:
    """One NULL, or the first row at all, turns NOT IN for rows with any other value, and with NULL."""
    plan = plan_of("(NOT (owner_id IN ( SELECT b.whom FROM public.blocks b WHERE (b.who = auth.uid()))))")

    assert plan.reaches == (Reach(lookup="public.blocks", link=(), user_column="who"),)


def test_a_claim_that_may_fail_is_asked_about_where_the_row_would_be_seen() -> None:
    """Postgres computes it while it plans the query, wherever it stands in the policy."""
    claim = "((((current_setting('request.jwt.claims'::text, true))::jsonb ->> 'org'::text))::uuid)"
    plan = plan_of(f"((owner_id = auth.uid()) OR (room_id = {claim}))")
    roster = Roster(linger_s=1.0, clock=ManualClock())
    good, bad = (
        Principal(role="authenticated", user_id=u, claims_json=json.dumps({"sub": u, "org": org}))
        for u, org in ((ANN, CAT), (BOB, "none"))
    )
    for principal in (good, bad):
        roster.add(principal)
    plan.cohorts.meet(roster)
    row = {"room_id": "r", "owner_id": ANN}

    assert plan.users({"room_id": CAT, "owner_id": "else"})[0] == {ANN, BOB, "else"}
    assert plan.users(row)[1] is False
    assert plan.visible(row, good)
    with pytest.raises(UndecidedError):
        plan.visible({"room_id": "r", "owner_id": BOB}, bad)
