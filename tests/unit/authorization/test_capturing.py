"""What is captured, and the advice where a table's changes do not arrive."""

import msgspec
import pytest

from bridge.authorization.capturing import Capturing, chosen, unwatchable
from bridge.authorization.catalog import Catalog, Column, Table
from bridge.authorization.functions import Function
from tests.support.catalogs import catalog, table

WATCH = Function("public", "bridge_watch", "text", False, "plpgsql", False, False, "postgres", "")  # noqa: FBT003
TABLES, JOURNAL = Capturing(capture="tables"), Capturing(capture="journal")


def changed(of: Table, **fields: object) -> Table:
    return msgspec.structs.replace(of, **fields)


def unpublished(name: str, **fields: object) -> Table:
    return changed(table(name, publications=()), **fields)


def installed(*tables: Table) -> Catalog:
    """Return a catalog with the journal's functions."""
    return msgspec.structs.replace(catalog(*tables), functions=(WATCH,))


def advice(of: Table, known: Catalog, *others: str, setting: str = "auto") -> str:
    """Return what is said of ``of`` where it is watched with ``others``."""
    return unwatchable(known, of, chosen(known, [of.qualified, *others], setting)) or ""  # type: ignore[arg-type]


def test_the_journal_is_captured_where_it_has_all_watched_tables() -> None:
    """Without a choice; the worker stays with what it has chosen."""
    notes, members = unpublished("notes", journalled=True), table("members")
    known = installed(notes, members)

    assert chosen(known, ["public.notes"], "auto") == JOURNAL
    assert chosen(known, ["public.notes", "public.members"], "auto").capture == "tables"
    assert chosen(known, ["public.notes"], "auto", kept="tables").capture == "tables"
    assert chosen(known, ["public.notes"], "tables", kept="journal") == TABLES
    assert chosen(known, ["public.gone"], "auto") == Capturing(capture="tables", wanting=())
    assert chosen(catalog(members), ["public.members"], "auto") == TABLES
    assert unwatchable(known, notes, JOURNAL) is None


def test_advice_fits_what_is_captured() -> None:
    """Publish where the tables are captured by choice or for want of a journal, else watch."""
    rooms = unpublished("rooms")

    assert "alter publication supabase_realtime add table public.rooms" in advice(rooms, catalog(rooms))
    assert "alter publication supabase_realtime add" in advice(rooms, installed(rooms), setting="tables")
    assert advice(rooms, installed(rooms), setting="journal").endswith(
        "not in the journal, so its changes never arrive: select public.bridge_watch('public.rooms')"
    )
    assert advice(rooms, installed(rooms)).endswith(
        "its changes never arrive: select public.bridge_watch('public.rooms'), and restart the worker"
    )


def test_advice_names_every_table_that_keeps_the_journal_from_being_captured() -> None:
    """A look-up table in the journal alone would change nothing; names can be pasted."""
    odd, rooms = table("It's"), unpublished("rooms")
    known = installed(odd, rooms)

    said = advice(rooms, known, odd.qualified)
    assert "select public.bridge_watch('public.rooms'), public.bridge_watch('public.\"It''s\"')" in said
    late = installed(changed(rooms, journalled=True))
    kept = chosen(late, ["public.rooms"], "auto", kept="tables")
    assert "the journal has it: restart the worker" in str(unwatchable(late, late.tables[0], kept))


EVENTS = unpublished("events", schema="app", kind="p")
PART = unpublished("events_2026", schema="app", partition_of="app.events")


def test_a_partitioned_table_arrives_under_its_partitions_names_or_its_own() -> None:
    """Realtime tells the partitions' names whatever the publication says, the journal that of the whole."""
    known, both = catalog(EVENTS, PART), installed(EVENTS, PART)

    assert "watch them by their names (app.events_2026)" in advice(EVENTS, known)
    through_root = changed(EVENTS, publications=("supabase_realtime",))
    assert "watch them by their names" in advice(through_root, catalog(through_root, PART))
    assert "set (publish_via_partition_root = false)" in advice(PART, catalog(through_root, PART))
    assert "add table app.events_2026" in advice(PART, known)
    assert "select public.bridge_watch('app.events')" in advice(EVENTS, both)
    assert "select public.bridge_watch('app.events_2026')" in advice(PART, both)


def test_the_journal_has_a_partition_under_one_name() -> None:
    """That of the whole, if that is watched; to watch the whole, its parts must not be."""
    whole = installed(changed(EVENTS, journalled=True), PART)
    part = installed(EVENTS, changed(PART, journalled=True))

    for setting in ("auto", "journal"):
        said = advice(PART, whole, setting=setting)
        assert "name app.events in BRIDGE_TABLES, under which the journal has" in said
        assert "bridge_watch" not in said
        said = advice(EVENTS, part, setting=setting)
        assert "select public.bridge_unwatch('app.events_2026'), then select public.bridge_watch(" in said


@pytest.mark.parametrize("setting", ["tables", "journal"])
def test_a_table_of_supabase_itself_is_not_advised_to_be_captured(setting: str) -> None:
    """The project does not own it, and what is in auth.users is for nobody."""
    users = unpublished("users", schema="auth")
    said = advice(users, catalog(users), setting=setting)

    assert "auth.users is a table of Supabase Auth" in said
    assert "alter publication" not in said
    assert "bridge_watch" not in said


def test_a_name_with_a_space_is_passed_over_by_realtime() -> None:
    """The journal has it."""
    odd = table("my rooms")

    assert 'alter table public."my rooms" rename to "my_rooms"' in advice(odd, catalog(odd))
    assert advice(changed(odd, journalled=True), catalog(odd), setting="journal") == ""


def _keyed(type_: str, base: str) -> Table:
    columns = (Column("Code", type_, f"pg_catalog.{base}"), Column("n", "integer", "pg_catalog.int4"))
    return table("codes", columns, key=("n", "Code"))


@pytest.mark.parametrize(
    ("type_", "base", "whole"),
    [
        ("character(5)", "bpchar", "text"),
        ("bpchar", "bpchar", "text"),
        ("public.code", "bpchar", "text"),  # a domain
        ("bit(3)", "bit", "varbit"),
        ("character(2)[]", "_bpchar", "text[]"),
    ],
)
def test_a_key_that_realtime_cuts_is_refused(type_: str, base: str, whole: str) -> None:
    """Two rows would be one; the journal has the values whole."""
    codes = _keyed(type_, base)
    known = catalog(codes)

    said = advice(codes, known)
    assert f"of which Realtime brings the first place only (Code {type_})" in said
    assert "capture the journal (BRIDGE_CAPTURE=journal)" in said
    assert said.endswith(f'alter table public.codes alter column "Code" type {whole}')
    assert "select public.bridge_watch('public.codes')" in advice(codes, installed(codes))
    assert unwatchable(known, changed(codes, journalled=True), JOURNAL) is None


def test_a_key_of_one_place_is_not_cut() -> None:
    """Nor one that the policy alone reads: that row is read again."""
    codes = _keyed("character(1)", "bpchar")
    assert unwatchable(catalog(codes), codes, TABLES) is None
