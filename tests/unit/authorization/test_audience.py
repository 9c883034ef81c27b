"""From a row to its users: exact where the row or an index names them, everybody to be asked where not."""

import pytest

from bridge.authorization.planset import PlanSet
from tests.support.catalogs import ANN, BOB, CAT, here, planset, table, user

NOTES = "id uuid, room_id uuid, owner_id uuid, editor_id uuid, open bool"
MEMBERS = table(
    "members", "room_id uuid, user_id uuid, friend_id uuid, role text", key=("room_id", "user_id"), rls=False
)
ROOMS = table("rooms", "id uuid, team_id uuid", rls=False)

MINE = "(owner_id = auth.uid())"
IN_ROOM = "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.room_id = notes.room_id) AND {})))"
MEMBER = IN_ROOM.format("(m.user_id = auth.uid())")


def compiled(policy: str) -> PlanSet:
    plans = planset(table("notes", NOTES, policy), MEMBERS, ROOMS, watched=["notes"])
    assert not any(plan.opaque for plan in plans.plans.values())
    rows = [
        {"room_id": "r", "user_id": ANN, "friend_id": ANN, "role": "admin"},
        {"room_id": "r", "user_id": BOB, "friend_id": ANN, "role": "guest"},
        {"room_id": "s", "user_id": CAT, "friend_id": None, "role": None},
    ]
    for name, loaded in (("public.members", rows), ("public.rooms", [{"id": "r", "team_id": "s"}])):
        lookup = plans.lookups.get(name)
        for row in loaded if lookup is not None else ():
            lookup.put(lookup.pack(row))
    return plans


ROW = {"id": "1", "room_id": "r", "owner_id": CAT, "editor_id": BOB, "open": False}


@pytest.mark.parametrize(
    ("policy", "users", "exact"),
    [
        ("true", None, True),
        ("open", set(), True),
        (MINE, {CAT}, True),
        ("(auth.uid() = editor_id)", {BOB}, True),
        (f"({MINE} OR (editor_id = auth.uid()))", {BOB, CAT}, True),
        (f"({MINE} AND (editor_id = auth.uid()))", set(), True),
        (f"({MINE} AND (NOT open))", {CAT}, True),
        (f"({MINE} OR (NOT open))", None, True),
        (f"({MINE} OR open)", {CAT}, True),
        (f"({MINE} IS TRUE)", {CAT}, True),
        (f"(NOT {MINE})", None, False),
        ("(auth.uid() IS NOT NULL)", {ANN, BOB, CAT, "else"}, True),
        (f"({MINE} AND (auth.uid() IS NOT NULL))", {CAT}, True),
        ("(auth.uid() = auth.uid())", {ANN, BOB, CAT, "else"}, True),
        ("(owner_id <> auth.uid())", None, False),
        (MEMBER, {ANN, BOB}, True),
        (IN_ROOM.format("(auth.uid() = m.friend_id)"), {ANN}, True),
        (IN_ROOM.format("((m.user_id = auth.uid()) AND (m.role = 'admin'::text))"), {ANN}, True),
        (IN_ROOM.format("((m.user_id = auth.uid()) AND (m.friend_id = auth.uid()))"), {ANN}, True),
        (IN_ROOM.format("((m.user_id = auth.uid()) AND (m.friend_id <> auth.uid()))"), {BOB}, True),
        (IN_ROOM.format("(m.friend_id <> auth.uid())"), None, False),
        (IN_ROOM.format("((m.user_id = auth.uid()) OR (m.friend_id = auth.uid()))"), {ANN, BOB}, True),
        (
            "(room_id IN ( SELECT m.room_id FROM public.members m WHERE (m.user_id = auth.uid())))",
            {ANN, BOB},
            True,
        ),
        (
            "(NOT (room_id IN ( SELECT m.room_id FROM public.members m WHERE (m.user_id = auth.uid()))))",
            None,
            False,
        ),
        (f"({MINE} OR {MEMBER})", {ANN, BOB, CAT}, True),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.rooms r, public.members m"
                " WHERE ((r.id = notes.room_id) AND (m.room_id = r.team_id) AND (m.user_id = auth.uid()))))"
            ),
            {CAT},
            True,
        ),
        (
            (
                "(EXISTS ( SELECT 1 FROM public.rooms r WHERE ((r.id = notes.room_id) AND (EXISTS ( SELECT 1"
                " FROM public.members m WHERE ((m.room_id = r.team_id) AND (m.user_id = auth.uid())))))))"
            ),
            {CAT},
            True,
        ),
    ],
)
def test_the_users_of_a_row(policy: str, users: set[str] | None, exact: bool) -> None:  # noqa: FBT001
    """At least all who see it, and no others where it says so; the filter agrees."""
    plan = compiled(policy).plans["public.notes", "authenticated"]
    plan.cohorts.meet(here(ANN, BOB, CAT, "else", None))
    found, is_exact = plan.users(ROW)

    assert (found if found is None else set(found)) == users
    assert is_exact is exact
    for who in (ANN, BOB, CAT, "else", None):
        candidate = found is None or who in found
        assert candidate or not plan.visible(ROW, user(who))
        assert not exact or candidate == plan.visible(ROW, user(who))


def test_null_names_nobody() -> None:
    """A NULL owner, a NULL friend and a NULL room are nobody's."""
    plan = compiled(f"({MINE} OR {MEMBER} OR {IN_ROOM.format('(m.friend_id = auth.uid())')})").plans[
        "public.notes", "authenticated"
    ]

    assert plan.users({**ROW, "owner_id": None, "room_id": None}) == (set(), True)
    assert plan.users({**ROW, "owner_id": None, "room_id": "s"}) == ({CAT}, True)
