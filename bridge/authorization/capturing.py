"""How the changes of a table arrive, and what to do about one whose changes do not.

Source of what Supabase Realtime passes over: its ``realtime.list_changes()``, and wal2json, which knows a
partition by its own name only.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from bridge.authorization.catalog import Catalog, Column, Table
from bridge.identifiers import in_quotes, literal

PUBLICATION = "supabase_realtime"
"""What Supabase Realtime reads."""

Capture: TypeAlias = Literal["tables", "journal"]
"""Where changes are captured: as the publication has them, or from the journal."""

MANAGED = {"auth": "Supabase Auth", "storage": "Supabase Storage"}
"""Schemas whose tables belong to a part of Supabase: the project's own roles cannot publish them."""

_CUT = frozenset(f"pg_catalog.{name}" for name in ("bpchar", "bit", "_bpchar", "_bit"))
"""Types whose values Realtime cuts to one place."""

_WHOLE = frozenset({"character(1)", "bit(1)"})
"""Those of them that have no more than that."""


class Capturing(msgspec.Struct, frozen=True, kw_only=True):
    """What is captured, and what ought to be.

    Attributes:
        capture: What is captured.
        wanting: None, or the watched tables that keep the journal, which there is, from being captured:
            whoever mends something is advised to use it.
    """

    capture: Capture
    wanting: tuple[Table, ...] | None = None


def chosen(
    catalog: Catalog,
    watched: Sequence[str],
    setting: Capture | Literal["auto"],
    *,
    kept: Capture | None = None,
) -> Capturing:
    """Return how changes are captured: from the journal, where it has all of the watched tables.

    Args:
        catalog: The database's catalog.
        watched: Qualified names of the watched tables.
        setting: What is configured.
        kept: What the running worker has chosen; it stays with that.
    """
    if setting != "auto":
        return Capturing(capture=setting)
    tables = [catalog.by_name.get(name) for name in watched]
    known = tuple(table for table in tables if table is not None)
    complete = len(known) == len(tables) and all(table.journalled for table in known)
    capture = kept or ("journal" if complete else "tables")
    if capture == "journal" or not catalog.has_journal:
        return Capturing(capture=capture)
    return Capturing(capture=capture, wanting=tuple(table for table in known if not table.journalled))


def unwatchable(catalog: Catalog, table: Table, capturing: Capturing) -> str | None:
    """Return why changes of a table cannot be relayed, and what to do; None if they can."""
    if not table.primary_key:
        return f"{table.quoted} has no primary key, so its changes cannot be told apart: {table.key_advice}"
    missing = unheard(catalog, table, capturing)
    if missing is not None:
        return f"{table.quoted} is {missing}"
    cut = [table.by_name[name] for name in table.primary_key if _is_cut(table.by_name[name])]
    if capturing.capture == "tables" and cut:
        named = ", ".join(f"{column.name} {column.type}" for column in cut)
        whole = ", ".join(f"alter column {in_quotes(c.name)} type {_whole_type(c)}" for c in cut)
        journal = (
            _to_journal(catalog, table, capturing)
            if capturing.wanting is not None
            else "capture the journal (BRIDGE_CAPTURE=journal)"
        )
        return (
            f"{table.quoted} has a primary key of which Realtime brings the first place only ({named}): "
            f"{journal}; or alter table {table.quoted} {whole}"
        )
    return None


def unheard(catalog: Catalog, table: Table, capturing: Capturing) -> str | None:
    """Return why changes of the table do not arrive, and what to do; None if all of them do."""
    if capturing.capture == "journal":
        return _unjournalled(catalog, table)
    published = PUBLICATION in table.publications
    to_journal = None if capturing.wanting is None else _to_journal(catalog, table, capturing)
    if table.kind == "p":
        # Also where it is published itself (publish_via_partition_root), which Realtime does not look at.
        return (
            "partitioned, so its changes arrive under the names of its partitions: "
            f"{to_journal or _by_partitions(catalog, table)}"
        )
    if not published and table.schema in MANAGED:
        return _managed(table)
    if not published:
        above = [a for a in catalog.ancestors(table) if PUBLICATION in a.publications]
        statement = (
            f"alter publication {PUBLICATION} set (publish_via_partition_root = false)"
            if above
            else f"alter publication {PUBLICATION} add table {table.quoted}"
        )
        return f"not in publication {PUBLICATION}, so its changes never arrive: {to_journal or statement}"
    if " " in table.name:
        rename = f"alter table {table.quoted} rename to {in_quotes(table.name.replace(' ', '_'))}"
        return f"a table with a space in its name, which Realtime passes over: {to_journal or rename}"
    if PUBLICATION in table.partly_published:
        statement = (
            f"alter publication {PUBLICATION} set (publish = 'insert, update, delete, truncate'), "
            "and add the table without WHERE"
        )
        return f"in publication {PUBLICATION} without some of its changes: {to_journal or statement}"
    return None


def journal_advice(catalog: Catalog, tables: Sequence[Table]) -> str:
    """Return what puts ``tables`` into the journal, as statements; empty if they are in it."""
    steps: list[str] = []
    missing = [table for table in dict.fromkeys(tables) if not table.journalled]
    above = {t: next((a for a in catalog.ancestors(t) if a.journalled), None) for t in missing}
    watch = [table for table in missing if above[table] is None]
    parts = [part for table in watch for part in catalog.partitions(table) if part.journalled]
    if parts:
        steps.append(_call("bridge_unwatch", parts))
    if watch:
        steps.append(_call("bridge_watch", watch))
    steps += [
        f"name {whole.quoted} in BRIDGE_TABLES, under which the journal has its partition {table.quoted}"
        for table, whole in above.items()
        if whole is not None
    ]
    return ", then ".join(steps)


def _unjournalled(catalog: Catalog, table: Table) -> str | None:
    if table.journalled:
        return None
    if table.schema in MANAGED:
        return _managed(table)
    return f"not in the journal, so its changes never arrive: {journal_advice(catalog, [table])}"


def _to_journal(catalog: Catalog, table: Table, capturing: Capturing) -> str:
    """Return what makes the worker capture the journal, with ``table`` in it."""
    advice = journal_advice(catalog, [*(capturing.wanting or ()), table])
    return f"{advice}, and restart the worker" if advice else "the journal has it: restart the worker"


def _managed(table: Table) -> str:
    return (
        f"a table of {MANAGED[table.schema]}, which alone owns it, so it cannot be published: read a "
        "claim of the token (auth.jwt()), or a table of your own that a trigger keeps up to date"
    )


def _by_partitions(catalog: Catalog, table: Table) -> str:
    parts = [part.quoted for part in catalog.partitions(table) if part.kind != "p"]
    named = f" ({', '.join(parts)})" if parts else ""
    return (
        f"publish those and watch them by their names{named}, as sql/README.md says, "
        "or capture the journal, which has all of them under the name of the whole"
    )


def _call(function: str, tables: Sequence[Table]) -> str:
    calls = (f"public.{function}({literal(table.quoted)})" for table in tables)
    return f"select {', '.join(calls)}"


def _is_cut(column: Column) -> bool:
    return column.base_type in _CUT and column.type not in _WHOLE


def _whole_type(column: Column) -> str:
    kind = "varbit" if column.base_type.endswith("bit") else "text"
    return f"{kind}[]" if column.base_type.rpartition(".")[2].startswith("_") else kind
