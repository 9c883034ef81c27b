"""What a changed look-up row may change, and for whom."""

from collections.abc import Mapping, Sequence

import pytest

from bridge.authorization.effects import concerned, far_reaching, probes, viewers
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.clock import ManualClock
from bridge.events import Principal
from tests.support.catalogs import ANN, BOB, planset, table

ann = Principal(role="authenticated", user_id=ANN)
bob = Principal(role="authenticated", user_id=BOB)
anon = Principal(role="anon", user_id=None)

MEMBERS = table("members", "note_id uuid, user_id uuid, role text", key=("note_id", "user_id"), rls=False)
LINKED = "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.id) AND {})))"
MEMBER = LINKED.format("(m.user_id = auth.uid())")


def roster() -> Roster:
    made = Roster(linger_s=1.0, clock=ManualClock())
    for principal in (ann, bob, anon):
        made.add(principal)
    return made


def compiled(policy: str, role: str = "authenticated") -> PlanSet:
    plans = planset(table("notes", "id uuid, owner_id uuid", policy), MEMBERS, watched=["notes"])
    return PlanSet(
        catalog=plans.catalog,
        watched=plans.watched,
        plans={key: plan for key, plan in plans.plans.items() if key[1] == role},
        lookups=plans.lookups,
        nobody={},
    )


Asked = Sequence[tuple[Mapping[str, object], bool, frozenset[str] | None]]


def asked(policy: str, before: Mapping[str, object] | None, after: Mapping[str, object] | None) -> Asked:
    plans = compiled(policy)
    lookup = plans.lookups["public.members"]
    rows = [None if row is None else lookup.pack(dict(row)) for row in (before, after)]
    found = probes(
        list(plans.plans.values()), lookup, rows[0], rows[1], primary_keys={"public.notes": ("id",)}
    )
    return [(probe.row, probe.is_key, probe.users) for probe in found]


def member(note: str | None, user: str | None, role: str | None = None) -> dict[str, object]:
    return {"note_id": note, "user_id": user, "role": role}


def test_a_linked_row_asks_about_one_row_and_one_user() -> None:
    """A membership concerns its user's sight of its note."""
    assert asked(MEMBER, None, member("n", ANN)) == [({"id": "n"}, True, frozenset({ANN}))]
    assert asked(MEMBER, member("n", ANN), None) == [({"id": "n"}, True, frozenset({ANN}))]


def test_a_moved_row_asks_about_both() -> None:
    """The note it left and the one it came to; of one note both users."""
    assert asked(MEMBER, member("n", ANN), member("o", ANN)) == [
        ({"id": "n"}, True, frozenset({ANN})),
        ({"id": "o"}, True, frozenset({ANN})),
    ]
    assert asked(MEMBER, member("n", ANN), member("n", BOB)) == [({"id": "n"}, True, frozenset({ANN, BOB}))]


def test_an_unread_column_asks_nothing() -> None:
    """No policy reads the role, so no answer changes."""
    assert asked(MEMBER, member("n", ANN, "a"), member("n", ANN, "b")) == []


def test_null_links_to_nothing_and_names_nobody() -> None:
    """NULL equals nothing."""
    assert asked(MEMBER, None, member(None, ANN)) == []
    assert asked(MEMBER, None, member("n", None)) == [({"id": "n"}, True, frozenset())]


def test_a_row_that_names_no_user_may_concern_everybody() -> None:
    """Also when another subquery on the same table names one."""
    anybody = LINKED.format("(m.role = 'open'::text)")

    assert asked(anybody, None, member("n", ANN, "open")) == [({"id": "n"}, True, None)]
    assert asked(f"({MEMBER} OR {anybody})", None, member("n", ANN, "open")) == [({"id": "n"}, True, None)]


def test_a_row_without_a_link_may_concern_every_row() -> None:
    """An admin flag."""
    admin = (
        "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.user_id = auth.uid()) AND (m.role = 'a'::text))))"
    )

    assert asked(admin, None, member("n", ANN, "a")) == [({}, False, frozenset({ANN}))]


def test_a_link_that_is_not_the_key_asks_about_many_rows() -> None:
    """All notes of an owner."""
    friends = "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.owner_id) AND (m.user_id = auth.uid()))))"

    assert asked(friends, None, member("o", ANN)) == [({"owner_id": "o"}, False, frozenset({ANN}))]


def test_one_row_is_asked_about_once() -> None:
    """Also where one subquery names more of it than its key: else its withdrawal would be told twice."""
    narrower = LINKED.format("(m.user_id = notes.owner_id)")
    both = f"((NOT {narrower}) AND {LINKED.format('true')})"
    assert asked(both, member("n", ANN), None) == [({"id": "n"}, True, None)]


def test_other_tables_ask_nothing() -> None:
    """Only plans that look into the table."""
    plans = planset(
        table("notes", "id uuid, owner_id uuid", "(owner_id = auth.uid())"),
        table("posts", "id uuid", "(EXISTS ( SELECT 1 FROM public.notes n WHERE (n.id = posts.id)))"),
        table("tags", "id uuid", MEMBER.replace("notes.id", "tags.id")),
        MEMBERS,
        watched=["notes", "posts", "tags"],
    )
    notes = plans.lookups["public.notes"]
    row = notes.pack({"id": "n", "owner_id": ANN})
    keys = dict.fromkeys(plans.watched, ("id",))

    found = probes(list(plans.plans.values()), notes, None, row, primary_keys=keys)
    assert {probe.plan.table for probe in found} == {"public.posts"}


@pytest.mark.parametrize(
    ("policy", "who"),
    [
        (MEMBER, [ann]),
        ("(EXISTS ( SELECT 1 FROM public.members m WHERE (m.note_id = notes.id)))", [ann, bob]),
    ],
)
def test_those_on_the_roster_are_concerned(policy: str, who: list[Principal]) -> None:
    """The named users, or everybody of the plan's role."""
    plans = compiled(policy)
    lookup = plans.lookups["public.members"]
    (probe,) = probes(
        list(plans.plans.values()),
        lookup,
        None,
        lookup.pack(member("n", ANN)),
        primary_keys={"public.notes": ("id",)},
    )

    assert sorted(concerned(probe, roster()), key=str) == sorted(who, key=str)


@pytest.mark.parametrize(
    ("policy", "role", "who"),
    [
        ("true", "authenticated", [ann, bob]),
        ("true", "anon", [anon]),
        ("(owner_id = auth.uid())", "authenticated", [ann]),
        ("(NOT (owner_id = auth.uid()))", "authenticated", [bob]),
        ("(auth.uid() IS NULL)", "anon", [anon]),
        ("false", "authenticated", []),
    ],
)
def test_viewers_are_those_here_who_see_the_row(policy: str, role: str, who: list[Principal]) -> None:
    """By index where the plan is exact, by asking where it is not."""
    plan = compiled(policy, role).plans["public.notes", role]
    row = {"id": "n", "owner_id": ANN}

    here = roster()
    plan.cohorts.meet(here)

    assert sorted(viewers(plan, row, here).sees, key=str) == sorted(who, key=str)
    assert list(viewers(plan, row, here, frozenset({BOB})).sees) == [p for p in who if p == bob]


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (MEMBER, []),
        # The one note that it names can be asked about, or each user.
        (LINKED.format("(m.role = 'open'::text)"), []),
        ("(EXISTS ( SELECT 1 FROM public.members m WHERE (m.note_id = notes.owner_id)))", []),
        ("(EXISTS ( SELECT 1 FROM public.members m WHERE (m.role = 'open'::text)))", []),
        (
            "((owner_id <> auth.uid()) AND (EXISTS ( SELECT 1 FROM public.members m WHERE (m.role = 'open'::text))))",
            ["public.members"],
        ),
        (
            (
                "((owner_id <> auth.uid()) AND (EXISTS ( SELECT 1 FROM public.members m"
                " WHERE ((m.user_id = auth.uid()) OR (m.note_id = auth.uid())))))"
            ),
            [],
        ),
    ],
)
def test_what_reaches_everybody(policy: str, found: list[str]) -> None:
    """A look-up row that says neither which row it is about nor who sees it."""
    plans = compiled(policy)

    (plan,) = plans.plans.values()
    assert far_reaching(plan, ("id",), plans.catalog.fits) == found
