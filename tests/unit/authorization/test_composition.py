"""Grants, roles, policies, inner RLS and circles, made into one condition."""

import pytest

from bridge.authorization.algebra import FALSE, TRUE, And, ColumnRef, Compare, Exists, Not, Or, Source, Uid
from bridge.authorization.catalog import Catalog, Grant, Role, Table
from bridge.authorization.composition import Sight, compose
from bridge.authorization.expressions import opaque
from tests.support.catalogs import catalog, function, policy, table

MINE = Compare("=", ColumnRef(0, "owner_id", "uuid"), Uid())
HAS_ID = "(id IS NOT NULL)"
COLUMNS = "id uuid, owner_id uuid, open bool, public bool"
OPEN, PUBLIC = ColumnRef(0, "open", "bool"), ColumnRef(0, "public", "bool")


def sight(*tables: Table, role: str = "authenticated", of: Catalog | None = None) -> Sight:
    """What ``role`` sees of the first table."""
    return compose(of or catalog(*tables), tables[0], role)


def notes(*policies: object, **options: object) -> Table:
    return table("notes", COLUMNS, *policies, **options)  # type: ignore[arg-type]  # passed on as they are


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (notes(), FALSE),
        (notes(rls=False), TRUE),
        (notes("(owner_id = auth.uid())"), MINE),
        (notes(policy("open"), policy("public", name="q")), Or((PUBLIC, OPEN))),
        (notes(policy("open"), policy("public", name="q", permissive=False)), And((OPEN, PUBLIC))),
        (notes(policy("open", permissive=False)), FALSE),
        (notes(policy("open", command="ALL")), OPEN),
        (notes(policy(None, command="ALL")), FALSE),
        (notes(policy("open"), policy(None, command="ALL", permissive=False)), OPEN),
        (notes(policy("open", command="UPDATE")), FALSE),
        (notes(policy("open", roles=["anon"])), FALSE),
        (notes(policy("open", roles=["anon", "authenticated"])), OPEN),
        (notes("open", force_rls=True), OPEN),
        (notes("open", owner="authenticated"), TRUE),
        (notes("open", owner="authenticated", force_rls=True), OPEN),
    ],
)
def test_policies_make_one_condition(seen: Table, expected: object) -> None:
    """Permissive ORed, restrictive ANDed, those of the role and of SELECT or ALL only."""
    assert sight(seen).condition == expected


def test_bypassrls_sees_everything() -> None:
    """Superusers and roles with BYPASSRLS are bound by no policy, FORCE or not."""
    seen = notes("open", force_rls=True, grants=[Grant("service_role")])

    assert sight(seen, role="service_role").condition == TRUE
    assert sight(seen, role="postgres").condition == TRUE


def test_policies_of_a_role_count_for_its_members() -> None:
    """TO a role means those who have its privileges."""
    team = Role("team", superuser=False, bypassrls=False)
    member = Role("ann", superuser=False, bypassrls=False, member_of=("team",))
    apart = Role("bob", superuser=False, bypassrls=False)
    seen = notes(policy("open", roles=["team"]), grants=[Grant("public")])
    database = catalog(seen, roles=[team, member, apart])

    assert sight(seen, role="ann", of=database).condition == OPEN
    assert sight(seen, role="bob", of=database).condition == FALSE


def test_without_a_grant_nobody_sees_anything() -> None:
    """Postgres answers 42501, whatever the policies say."""
    seen = sight(notes("true", grants=[Grant("anon")]))

    assert (seen.condition, seen.columns) == (FALSE, frozenset())
    assert seen.because == "role authenticated has no SELECT privilege on public.notes"


def test_column_grants_name_the_columns() -> None:
    """Those of the role and of PUBLIC together; the policy may read others."""
    seen = sight(notes("open", grants=[Grant("authenticated", ("id",)), Grant("public", ("public",))]))

    assert (seen.condition, seen.columns, seen.because) == (OPEN, {"id", "public"}, None)


MEMBERS_OF = "(EXISTS ( SELECT 1 FROM public.members m WHERE (m.note_id = notes.id)))"
LINK = Compare("=", ColumnRef(1, "note_id", "uuid"), ColumnRef(0, "id", "uuid"))


def members(*policies: str, **options: object) -> Table:
    return table(
        "members", "note_id uuid, user_id uuid, role text", *policies, key=("note_id", "user_id"), **options
    )  # type: ignore[arg-type]


def test_inner_rls_is_composed() -> None:
    """A subquery sees what the user may see of its table."""
    linked = Compare("=", ColumnRef(0, "id", "uuid"), ColumnRef(1, "note_id", "uuid"))
    mine = Compare("=", ColumnRef(1, "user_id", "uuid"), Uid())
    seen = sight(notes(MEMBERS_OF), members("(user_id = auth.uid())"))

    assert isinstance(seen.condition, Exists)
    assert seen.condition.sources == (Source("public.members", 1),)
    assert isinstance(seen.condition.where, And)
    assert set(seen.condition.where.items) == {linked, mine}
    assert seen.scopes == 2


@pytest.mark.parametrize(
    ("inner", "role"),
    [
        (members(grants=[Grant("anon")]), "authenticated"),
        (members(grants=[Grant("authenticated", ("user_id",))]), "authenticated"),
    ],
)
def test_a_missing_grant_on_an_inner_table_shows_nothing(inner: Table, role: str) -> None:
    """Postgres fails the whole SELECT, also for rows of a sibling policy."""
    seen = sight(notes(MEMBERS_OF, policy("open", name="q")), inner, role=role)

    assert seen.condition == FALSE
    assert seen.because is not None
    assert "reads public.members, where role authenticated lacks SELECT" in seen.because


def test_a_subquery_that_names_no_column_needs_any() -> None:
    """``select 1 from t`` wants the privilege on one column, whichever."""
    some = "(EXISTS ( SELECT 1 FROM public.members m))"

    assert sight(notes(some), members(rls=False, grants=[Grant("public", ("user_id",))])).because is None
    assert sight(notes(some), members(rls=False, grants=[])).because is not None


def test_true_spares_what_would_fail() -> None:
    """Constants are folded before privileges are asked for."""
    seen = sight(notes(policy("true"), policy(MEMBERS_OF, name="q")), members(grants=[]))

    assert (seen.condition, seen.because) == (TRUE, None)


def test_a_failure_is_not_simplified_away() -> None:
    """``a and (a or forbidden)`` is ``a`` in logic, and an error in Postgres."""
    seen = sight(notes(f"(open AND (open OR {MEMBERS_OF}))"), members(grants=[]))

    assert seen.because is not None


def test_a_false_restrictive_policy_does_not_spare_a_subquery() -> None:
    """Each restrictive policy is a qualifier of its own; NOT EXISTS over the table must not turn true."""
    failing = table(
        "blocks",
        "id uuid",
        policy("true"),
        policy("false", name="r", permissive=False),
        policy("(EXISTS ( SELECT 1 FROM public.members m))", name="s", permissive=False),
    )
    seen = sight(
        notes("(NOT (EXISTS ( SELECT 1 FROM public.blocks b)))"),
        failing,
        members(grants=[]),
    )

    assert seen.condition == FALSE


def test_circles_show_nothing() -> None:
    """Postgres answers 42P17; the message shows the way round."""
    inner = members("(EXISTS ( SELECT 1 FROM public.notes n WHERE (n.id = members.note_id)))")
    seen = sight(notes(MEMBERS_OF, policy("true", name="q")), inner)

    assert seen.condition == FALSE
    assert seen.because == (
        "policies refer to each other in a circle: public.notes -> public.members -> public.notes "
        "(Postgres answers 42P17)"
    )


def test_a_policy_on_its_own_table_is_a_circle() -> None:
    """The smallest one."""
    seen = sight(notes("(EXISTS ( SELECT 1 FROM public.notes n))"))

    assert seen.because is not None
    assert "public.notes -> public.notes" in seen.because


def test_looking_into_itself_with_the_owners_rights_is_no_circle() -> None:
    """A SECURITY DEFINER function of an owner whom policies do not bind ends the recursion."""
    body = "select exists (select 1 from public.notes n where n.owner_id = auth.uid())"
    seen = notes("public.owns_one()")
    database = catalog(seen, functions=[function("public.owns_one", "", "boolean", body, definer=True)])
    found = sight(seen, of=database)

    assert found.because is None
    assert found.condition == Exists(
        (Source("public.notes", 1),), Compare("=", ColumnRef(1, "owner_id", "uuid"), Uid())
    )


def test_what_only_postgres_can_answer_names_its_policies() -> None:
    """The innermost one is the one to look at; the other branches stay in memory."""
    inner = members("(role ~ 'a'::text)")
    seen = sight(notes(policy(f"(open OR {MEMBERS_OF})", name="outer")), inner)

    assert isinstance(seen.condition, Or)
    assert seen.condition.items[0] == OPEN
    (part,) = opaque(seen.condition)
    assert part.reason.startswith('policy "outer" on public.notes: policy "p" on public.members: ')
    assert seen.condition.items[1] == part


def test_negation_keeps_null() -> None:
    """NOT is never folded into what it negates."""
    assert sight(notes("(NOT open)")).condition == Not(OPEN)
