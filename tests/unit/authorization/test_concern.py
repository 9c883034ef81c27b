"""Whom a look-up row counts for: found in the row, whatever row is asked about; everybody where in doubt."""

import pytest

from bridge.authorization.finders import Users
from bridge.authorization.plan import Plan, Who
from bridge.authorization.planset import PlanSet
from bridge.events import Principal, Row
from tests.support.catalogs import ANN, BOB, CAT, here, planset, put_rows, table

DOCS = table(
    "docs", "id uuid, owner_id uuid, editors _uuid, org_id uuid, open bool, level text, until timestamptz"
)
MEMBERS = table("members", "org_id uuid, user_id uuid, role text", key=("org_id", "user_id"), rls=False)
PROFILES = table("profiles", "id uuid, admin bool, level int", rls=False)

MINE = "((d.owner_id = auth.uid()) OR (d.id = auth.uid()))"
ADMIN = "( SELECT p.admin FROM public.profiles p WHERE (p.id = auth.uid()))"
LEVEL = "( SELECT p.level FROM public.profiles p WHERE (p.id = auth.uid()))"
MEMBER = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.org_id = d.org_id) AND (m.user_id = auth.uid()))))"
)

DOC: Row = {
    "id": "d",
    "owner_id": ANN,
    "editors": [BOB],
    "org_id": "o",
    "open": False,
    "level": "1",
    "until": "2020-01-01T00:00:00+00:00",
}


def compiled(policy: str) -> PlanSet:
    docs = table("docs", DOCS.columns, rls=False)
    comments = table("comments", "id uuid, doc_id uuid, author_id uuid, level text", policy)
    plans = planset(comments, docs, MEMBERS, PROFILES, watched=["comments"])
    rows = {
        "public.members": [
            {"org_id": "o", "user_id": CAT, "role": "x"},
            {"org_id": "p", "user_id": BOB, "role": "x"},
        ],
        "public.profiles": [
            {"id": ANN, "admin": False, "level": 1},
            {"id": BOB, "admin": False, "level": 5},
            {"id": CAT, "admin": True, "level": None},
        ],
    }
    for name, loaded in rows.items():
        if name in plans.lookups:
            put_rows(plans.lookups[name], loaded)
    plan_of(plans).cohorts.meet(here(ANN, BOB, CAT))
    return plans


def plan_of(plans: PlanSet) -> Plan:
    return plans.plans["public.comments", "authenticated"]


def crowd(plans: PlanSet, doc: Row, who: Who = "here") -> Users:
    users = plan_of(plans).concerned_by("public.docs", plans.lookups["public.docs"].pack(doc), who=who)
    return None if users is None else set(users)


IN_DOC = "(EXISTS ( SELECT 1 FROM public.docs d WHERE ((d.id = comments.doc_id) AND {})))"


@pytest.mark.parametrize(
    ("condition", "here", "anybody"),
    [
        (MINE, {ANN, "d"}, {ANN, "d"}),
        (f"({MINE} OR (auth.uid() = ANY (d.editors)))", {ANN, BOB, "d"}, {ANN, BOB, "d"}),
        (f"({MINE} AND (d.owner_id = comments.author_id))", {ANN, "d"}, {ANN, "d"}),
        (f"({MINE} OR {ADMIN})", {ANN, CAT, "d"}, None),
        (f"({MINE} AND (d.level = '2'::text))", set(), set()),
        (MEMBER, {CAT}, {CAT}),
        (f"({MINE} OR (NOT {MEMBER}))", None, None),
        # Whoever is not here may have a level by now.
        (f"({MINE} AND (auth.uid() <> d.org_id))", {ANN, "d"}, {ANN, "d"}),
        (f"({MINE} AND (1 <= COALESCE({LEVEL}, 0)))", {ANN}, {ANN, "d"}),
        (f"(1 <= COALESCE({LEVEL}, 0))", {ANN, BOB}, None),
        # What may fail: of the row alone it is tried.
        (f"({MINE} AND ((d.level)::integer <= COALESCE({LEVEL}, 0)))", {ANN}, {ANN}),
        (f"({MINE} AND ((comments.level)::integer = 1))", None, None),
        # What was true a moment ago.
        (f"({MINE} AND (d.until > now()))", {ANN, "d"}, {ANN, "d"}),
        ("((d.until > now()) AND d.open)", set(), set()),
        ("d.open", set(), set()),
        ("(NOT d.open)", None, None),
        (f"({MINE} OR (comments.author_id = auth.uid()))", None, None),
    ],
)
def test_whom_a_document_counts_for(condition: str, here: set[str] | None, anybody: set[str] | None) -> None:
    """By what the subquery asks of it, without the rows that look into it."""
    plans = compiled(IN_DOC.format(condition))

    assert crowd(plans, DOC) == here
    assert crowd(plans, DOC, "anybody") == anybody


def test_of_the_past_only_the_row_itself_tells() -> None:
    """Other look-up rows are not those of then."""
    assert crowd(compiled(IN_DOC.format(MINE)), DOC, "past") == {ANN, "d"}
    assert crowd(compiled(IN_DOC.format(MEMBER)), DOC, "past") is None


def test_rows_that_lead_to_users_are_followed() -> None:
    """A join, by an index; what is joined to the asked row only is left out."""
    joined = (
        "(EXISTS ( SELECT 1 FROM public.docs d, public.members m WHERE ((d.id = comments.doc_id)"
        " AND ({} = m.org_id) AND (m.user_id = auth.uid()))))"
    )

    assert crowd(compiled(joined.format("d.org_id")), DOC) == {CAT}
    assert crowd(compiled(joined.format("comments.author_id")), DOC) is None


def test_a_value_that_fails_counts_for_everybody() -> None:
    """An error hides rows from others than those for whom the document counts."""
    plans = compiled(IN_DOC.format(f"({MINE} AND ((d.level)::integer <= COALESCE({LEVEL}, 0)))"))

    assert crowd(plans, {**DOC, "level": "0"}) == {ANN}
    assert crowd(plans, {**DOC, "level": "many"}) is None


def test_claims_that_fail_count_for_whom_they_do() -> None:
    """Their query may fail because of any row."""
    plans = compiled(
        IN_DOC.format(
            f"({MINE} AND ((((current_setting('request.jwt.claims'::text, true))::jsonb ->> 'level'::text))::integer > 1))"
        )
    )
    roster = here(ANN, BOB)
    roster.add(Principal(role="authenticated", user_id=CAT, claims_json='{"level": "many"}'))
    plan_of(plans).cohorts.meet(roster)

    users = crowd(plans, {**DOC, "owner_id": BOB})
    assert users is None or {BOB, CAT} <= set(users)


def test_each_place_counts() -> None:
    """Of two subqueries either may show a row, or hide it."""
    edited = IN_DOC.format("(auth.uid() = ANY (d.editors))")

    assert crowd(compiled(f"({IN_DOC.format(MINE)} AND (NOT {edited}))"), DOC) == {ANN, BOB, "d"}


@pytest.mark.parametrize(
    ("condition", "everybodys", "by_row"),
    [
        (MINE, False, True),
        (f"({MINE} OR d.open)", False, True),
        ("d.open", True, True),
        ("(d.owner_id <> auth.uid())", True, True),
        (MEMBER, False, False),
        (f"({MINE} OR {ADMIN})", False, False),
        (f"({MINE} AND ((comments.level)::integer = 1))", True, False),
    ],
)
def test_what_a_row_tells(condition: str, *, everybodys: bool, by_row: bool) -> None:
    """Whether nothing in it names its users, and whether it does so without other rows."""
    concern = plan_of(compiled(IN_DOC.format(condition))).concerns["public.docs"]

    assert (concern.is_everybodys, concern.by_row) == (everybodys, by_row)
