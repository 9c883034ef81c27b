"""All plans of a catalog, and what is refused."""

import pytest

from bridge.authorization.catalog import Table
from bridge.authorization.planset import compile_plans
from bridge.errors import ConfigError
from tests.support.catalogs import catalog, column, policy, table

READS_MEMBERS = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.room_id = notes.id) AND (m.user_id = auth.uid()))))"
)
NOTES = table("notes", "id uuid, owner_id uuid", READS_MEMBERS)
MEMBERS = table("members", "room_id uuid, user_id uuid", key=("room_id", "user_id"), rls=False)


def test_each_pair_of_table_and_role_has_a_plan() -> None:
    """Plans share the look-up tables, which have to be captured as well."""
    plans = compile_plans(catalog(NOTES, MEMBERS), watched=["public.notes"], roles=("authenticated", "anon"))

    assert set(plans.plans) == {("public.notes", "authenticated"), ("public.notes", "anon")}
    assert plans.upstream_tables == ("public.notes", "public.members")
    assert plans.upstream_keys == {"public.notes": ("id",), "public.members": ("room_id", "user_id")}
    assert set(plans.lookups["public.members"].columns) == {"room_id", "user_id"}
    assert not plans.refusals
    assert not plans.nobody


def test_a_watched_table_that_is_looked_into_is_captured_once() -> None:
    """Watched tables come first, look-up tables after them."""
    notes = table("notes", "id uuid", "(EXISTS ( SELECT 1 FROM public.rooms r))")
    plans = compile_plans(
        catalog(notes, table("rooms", "id uuid", rls=False)),
        watched=["public.rooms", "public.notes"],
        roles=("anon",),
    )

    assert plans.upstream_tables == ("public.rooms", "public.notes")


def test_a_policy_that_is_refused_refuses_its_table_for_its_role_only() -> None:
    """Another role, that the policy does not bind, keeps its plan."""
    notes = table("notes", "id uuid, body text", policy("(body ~~ 'a%'::text)", name="like", roles=["anon"]))
    plans = compile_plans(catalog(notes), watched=["public.notes"], roles=("authenticated", "anon"))

    assert set(plans.plans) == {("public.notes", "authenticated")}
    (refusal,) = plans.refusals
    assert (refusal.table, refusal.role) == ("public.notes", "anon")
    assert 'policy "like" on public.notes' in refusal.reason


def test_a_hidden_table_has_a_plan_that_shows_nothing_and_a_reason() -> None:
    """Where Postgres refuses every SELECT there is nothing to guess."""
    plans = compile_plans(catalog(table("notes", grants=())), watched=["public.notes"], roles=("anon",))

    assert plans.plans["public.notes", "anon"].users({}) == set()
    assert "no SELECT privilege" in plans.nobody["public.notes", "anon"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (table("members", MEMBERS.columns, key=(), rls=False), "no primary key"),
        (table("members", MEMBERS.columns, key=("room_id",), publications=(), rls=False), "publication"),
        (
            table("members", (*MEMBERS.columns, column("at", "timestamptz")), key=("at",), rls=False),
            "primary key of type pg_catalog.timestamptz",
        ),
    ],
)
def test_look_up_rows_that_cannot_be_kept_current_are_refused(members: Table, message: str) -> None:
    """A stale membership is a leak: rather no plan at all."""
    plans = compile_plans(catalog(NOTES, members), watched=["public.notes"], roles=("anon",))

    assert not plans.plans
    assert message in plans.refusals[0].reason


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "public.notes does not exist"),
        ([table("notes", kind="v")], "public.notes is not a table"),
        ([table("notes", key=())], "no primary key"),
        ([table("notes", publications=("other",))], "not in publication supabase_realtime"),
    ],
)
def test_a_table_that_cannot_be_watched_stops_the_start(tables: list[Table], message: str) -> None:
    """The message says what to do about it."""
    with pytest.raises(ConfigError, match=message):
        compile_plans(catalog(*tables), watched=["public.notes"], roles=("anon",))
