"""All plans of a catalog, and what is left to Postgres."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from bridge.authorization.capturing import Capture
from bridge.authorization.catalog import Table
from bridge.authorization.planset import PlanSet, compile_plans
from bridge.errors import ConfigError
from tests.support.catalogs import catalog, column, policy, table

READS_MEMBERS = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.room_id = notes.id) AND (m.user_id = auth.uid()))))"
)
NOTES = table("notes", "id uuid, owner_id uuid", READS_MEMBERS)
MEMBERS = table("members", "room_id uuid, user_id uuid", key=("room_id", "user_id"), rls=False)


def compiled(*tables: Table, watched: Sequence[str] = ("public.notes",)) -> PlanSet:
    return compile_plans(catalog(*tables), watched=watched, roles=("authenticated", "anon"), now_us=lambda: 0)


def test_each_pair_of_table_and_role_has_a_plan() -> None:
    """Plans share the look-up tables, which have to be captured as well."""
    plans = compiled(NOTES, MEMBERS)

    assert set(plans.plans) == {("public.notes", "authenticated"), ("public.notes", "anon")}
    assert plans.upstream_tables == ("public.notes", "public.members")
    assert plans.upstream_keys == {"public.notes": ("id",), "public.members": ("room_id", "user_id")}
    assert set(plans.lookups["public.members"].columns) == {"room_id", "user_id"}
    assert not plans.nobody


def test_the_columns_whose_values_decide() -> None:
    """Those that the policies name, also in parts that are asked of Postgres, and those of look-up rows."""
    names = {"id": "uuid", "price": "numeric", 'odd "name': "text", "title": "text"}
    columns = tuple(column(name, type_) for name, type_ in names.items())
    asked = '((public.unknown(price) > 1) OR ("odd ""name" = \'title_x\'::text))'
    plans = compiled(table("notes", columns, asked), MEMBERS, watched=["public.notes"])
    assert plans.read_columns == {"public.notes": {"price", 'odd "name'}}

    assert compiled(NOTES, MEMBERS).read_columns["public.members"] == {"room_id", "user_id"}
    whole = compiled(table("notes", columns, "public.unknown(notes.*)"), watched=["public.notes"])
    assert whole.read_columns["public.notes"] == set(whole.catalog.by_name["public.notes"].by_name)


def test_a_watched_table_that_is_looked_into_is_captured_once() -> None:
    """Watched tables come first, look-up tables after them."""
    notes = table("notes", "id uuid", "(EXISTS ( SELECT 1 FROM public.rooms r))")
    plans = compiled(notes, table("rooms", "id uuid", rls=False), watched=["public.rooms", "public.notes"])

    assert plans.upstream_tables == ("public.rooms", "public.notes")


def _partly_published(name: str, *arguments: Any, **settings: Any) -> Table:
    """A table whose deletes, for example, are not published."""
    made = table(name, *arguments, **settings)
    return msgspec.structs.replace(made, partly_published=("supabase_realtime",))


def test_a_policy_that_only_postgres_can_answer_is_opaque_for_its_role_only() -> None:
    """Another role, that the policy does not bind, is answered from memory; whole rows are needed to ask."""
    notes = table("notes", "id uuid, body text", policy("(body ~ 'a'::text)", name="like", roles=["anon"]))
    plans = compiled(notes)

    assert not plans.plans["public.notes", "authenticated"].opaque
    asked = plans.plans["public.notes", "anon"]
    assert 'policy "like" on public.notes' in asked.opaque[0].reason
    assert asked.row_columns == {"id", "body"}


def test_a_hidden_table_has_a_plan_that_shows_nothing_and_a_reason() -> None:
    """Where Postgres refuses every SELECT there is nothing to guess."""
    plans = compiled(table("notes", grants=()))

    assert plans.plans["public.notes", "anon"].users({}) == (frozenset(), True)
    assert "no SELECT privilege" in plans.nobody["public.notes", "anon"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (table("members", MEMBERS.columns, key=(), rls=False), "no primary key"),
        (table("members", MEMBERS.columns, key=("room_id",), publications=(), rls=False), "publication"),
        (_partly_published("members", MEMBERS.columns, key=("room_id",), rls=False), "without some of its"),
        (
            table("members", (*MEMBERS.columns, column("at", "json")), key=("at",), rls=False),
            "primary key of type pg_catalog.json",
        ),
        (msgspec.structs.replace(table("members", MEMBERS.columns, rls=False), unique=()), "deferrable"),
    ],
)
def test_look_up_rows_that_cannot_be_kept_current_are_refused(members: Table, message: str) -> None:
    """A stale membership is a leak: rather ask Postgres."""
    plans = compiled(NOTES, members)

    assert message in plans.plans["public.notes", "anon"].opaque[0].reason
    assert plans.upstream_tables == ("public.notes",)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "public.notes does not exist"),
        ([table("notes", kind="v")], "public.notes is a view, which has no changes"),
        ([table("notes", key=())], r'no primary key, .*: alter table public\.notes add primary key \("id"\)'),
        ([table("notes", publications=("other",))], "not in publication supabase_realtime"),
        (
            [_partly_published("notes")],
            "without some of its changes: alter publication supabase_realtime set",
        ),
    ],
)
def test_a_table_that_cannot_be_watched_stops_the_start(tables: list[Table], message: str) -> None:
    """The message says what to do about it."""
    with pytest.raises(ConfigError, match=message):
        compiled(*tables)


def test_a_digest_changes_with_the_meaning_alone() -> None:
    """Cursors hold it: it must not depend on the process, and must change with any answer."""
    one = compiled(table("notes", "id uuid, owner_id uuid", "(owner_id = auth.uid())"))
    same = compiled(table("notes", "id uuid, owner_id uuid", "(owner_id = auth.uid())"))
    other = compiled(table("notes", "id uuid, owner_id uuid", "(owner_id <> auth.uid())"))
    assert one.digest == same.digest != other.digest
    assert re.fullmatch("[0-9a-f]{8}", one.digest)
    made_anew = msgspec.structs.replace(one.catalog.by_name["public.notes"], storage="2")
    assert compiled(made_anew).digest != one.digest  # nobody was told that its rows are gone


def test_a_trigger_that_was_off_is_noticed_where_the_journal_is_captured() -> None:
    """Whatever it let go by is in no journal: neither rows in memory nor cursors of before hold."""

    def by(trigger: str, part: str = "", *, capture: Capture = "journal") -> PlanSet:
        rooms = msgspec.structs.replace(
            table("rooms", kind="p" if capture == "journal" else "r"), journalled=True, journalled_by=trigger
        )
        may = msgspec.structs.replace(
            table("may"),
            partition_of="public.rooms",
            storage="5",
            journalled_by=part,
            skips_replicas=bool(part),
        )
        return compile_plans(
            catalog(rooms, may),
            watched=("public.rooms",),
            roles=("authenticated",),
            now_us=lambda: 0,
            capture=capture,
        )

    first = by("1:7")
    for later in (by("1:8"), by("1:7", "2:8")):
        assert not later.means_the_same(first)
        assert later.digest != first.digest
    assert by("1:7").means_the_same(first)
    assert [t.qualified for t in by("1:7", "2:8").skipping_replicas] == ["public.rooms"]
    of_tables = by("1:7", "2:8", capture="tables")
    assert of_tables.means_the_same(by("", capture="tables"))
    assert of_tables.skipping_replicas == []


def test_a_policy_that_is_the_same_only_in_python_is_another() -> None:
    """There 1 is true, which in jsonb it is not: the new policy has to take effect."""
    number, truth = (
        compiled(table("notes", "id uuid, data jsonb", f"((data -> 'on') = '{value}'::jsonb)"))
        for value in ("1", "true")
    )
    assert not truth.means_the_same(number)
    assert truth.digest != number.digest


def test_a_partition_takes_rows_with_it_and_brings_some() -> None:
    """A further one that was made as such, and so empty, disturbs nobody; a new name does not either."""

    def with_parts(attached: bool = True, **storage: str) -> PlanSet:  # noqa: FBT001, FBT002 - a test
        parts = [
            msgspec.structs.replace(table(name), partition_of="public.rooms", storage=file)
            for name, file in storage.items()
        ]
        if not attached:
            parts[-1] = msgspec.structs.replace(parts[-1], partition_of=None)
        rooms = msgspec.structs.replace(table("rooms", kind="p"), journalled=True)
        return compile_plans(
            catalog(rooms, *parts),
            watched=("public.rooms",),
            roles=("authenticated",),
            now_us=lambda: 0,
            capture="journal",
        )

    before = with_parts(may="5", june="6")
    assert with_parts(may="5", june="6", july="7").means_the_same(before)
    assert with_parts(old="5", june="6").means_the_same(before)
    assert not with_parts(june="6").means_the_same(before)
    assert not with_parts(may="9", june="6").means_the_same(before)
    apart = with_parts(may="5", june="6", attached=False)
    assert not before.means_the_same(apart)  # its rows come without a change of each
    assert not apart.means_the_same(before)
