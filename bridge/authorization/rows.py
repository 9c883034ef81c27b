"""Everything the stage knows about rows: the look-up tables and the remembered watched rows."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from bridge.authorization.lookup import LookupRow
from bridge.authorization.planset import PlanSet
from bridge.authorization.references import Writers
from bridge.authorization.remembered import Gone, RememberedRows
from bridge.errors import SourceError
from bridge.events import Change, Row

ReadRow: TypeAlias = Callable[[str, Row], Awaitable[Row | None]]
"""Reads one row by table and primary key, as of now; None when it is gone."""


class CatalogChangedError(SourceError):
    """A change is of another table than the plans, or lacks a column that they read: it was altered since."""

    code = "catalog_changed"


class RowMemory:
    """Rows as of the last change that was stored.

    Args:
        planset: Compiled plans, with their look-up tables.
        dialog_columns: Column that holds the dialog's id, by watched table.
        remembered_limit: Rows to remember of each watched table of which that is of use.
    """

    def __init__(self, planset: PlanSet, *, dialog_columns: Mapping[str, str], remembered_limit: int) -> None:
        catalog = planset.catalog
        self.writers = Writers()
        self.lookups = planset.lookups
        self.keys = {name: catalog.by_name[name].primary_key for name in planset.upstream_tables}
        oids = {name: catalog.by_name[name].oid for name in planset.upstream_tables}
        self._oids = {name: oid for name, oid in oids.items() if oid is not None}
        self._names = {oid: name for name, oid in self._oids.items()}
        self._catalog_names = {table.oid: table.qualified for table in catalog.tables}
        self._key_sets = {name: frozenset(key) for name, key in self.keys.items()}
        self._needed: dict[str, frozenset[str]] = {}
        self.remembered: dict[str, RememberedRows] = {}
        for name in planset.watched:
            plans = [plan for plan in planset.plans.values() if plan.table == name]
            columns = set(self.keys[name]).union(*(plan.row_columns for plan in plans))
            if name in dialog_columns:
                columns.add(dialog_columns[name])
            self._needed[name] = frozenset(columns)
            # Whole rows where a membership can bring one into sight, else what deciding needs.
            announced = any(
                {asked for asked, _ in reach.link} >= set(self.keys[name])
                for p in plans
                for reach in p.reaches
            )
            self.remembered[name] = RememberedRows(
                primary_key=self.keys[name],
                columns=catalog.by_name[name].by_name if announced else columns,
                # The journal has the whole row before each change.
                limit=remembered_limit if announced or planset.capture == "tables" else 0,
            )
        self._required = {
            name: frozenset(self.remembered[name].columns if name in self.remembered else ())
            | frozenset(self.lookups[name].columns if name in self.lookups else ())
            for name in planset.upstream_tables
        }

    def needed(self, table: str) -> frozenset[str]:
        """Return the columns of a watched table that deciding needs."""
        return self._needed[table]

    def required(self, table: str) -> frozenset[str]:
        """Return the columns that each whole row of a table has to have."""
        return self._required[table]

    def oid(self, table: str) -> int | None:
        """Return which table has this name in the plans; None where the database does not say."""
        return self._oids.get(table)

    def concerns(self, change: Change) -> bool:
        """True if the plans depend on the table of a change, which need not be all that its name can mean.

        Raises:
            CatalogChangedError: one of their tables has another name now, or its name is another one's.
        """
        name, oid = change.table, change.oid
        if oid is None or (self._oids.get(name, oid) == oid and self._names.get(oid, name) == name):
            return name in self.keys
        if self._catalog_names.get(oid) == name:
            return False  # "a.b".c is written as a."b.c" is, without quotes
        raise CatalogChangedError(
            f"a change of {name} is of another table than had that name: the catalog has to be read again"
        )

    def check(self, change: Change, *, is_whole: bool = False) -> None:
        """Refuse a change of another table, or one that lacks a column which deciding or announcing needs.

        Args:
            change: The change.
            is_whole: True if the row before it has to have all of them, too.

        Raises:
            CatalogChangedError: it is, or it does.
        """
        if change.oid is not None and change.oid != self._oids.get(change.table, change.oid):
            self.concerns(change)
            raise CatalogChangedError(f"a change of {change.table} is of another table that is written so")
        required = self._required[change.table]
        for row in (change.new, change.old if is_whole else None):
            if row is not None and not required <= row.keys():
                missing = ", ".join(sorted(required - row.keys()))
                raise CatalogChangedError(
                    f"a change of {change.table} has no column {missing}: "
                    "the table was altered, the catalog has to be read again"
                )

    def key_row(self, change: Change) -> Row:
        """Return the primary key of the row before the change, or after it for INSERT.

        Raises:
            CatalogChangedError: the change does not name it.
        """
        key = self.keys[change.table]
        for row in (change.old, change.new):
            if row is not None and row.keys() >= self._key_sets[change.table]:
                return {column: row[column] for column in key}
        raise CatalogChangedError(
            f"a change of {change.table} does not name its primary key ({', '.join(key)}): "
            "the table was altered, the catalog has to be read again"
        )

    def lookup_rows(self, change: Change) -> tuple[LookupRow | None, LookupRow | None]:
        """Return the look-up row before and after the change; both None if the table is no look-up table.

        A row that is deleted without ever having been seen (upstream drops what happened between two
        polls) is taken from the change itself, if that holds all that is needed of it.
        """
        lookup = self.lookups.get(change.table)
        if lookup is None:
            return None, None
        before = lookup.rows.get(lookup.key_of(self.key_row(change)))
        after = None if change.new is None else lookup.pack(change.new)
        if before is None and change.old is not None and change.old.keys() >= set(lookup.columns):
            told = lookup.pack(change.old)
            # One that is the same after the change was not known before it: it is new.
            before = told if told != after else None
        return before, after

    def is_unseen(self, change: Change) -> bool:
        """True if a look-up row ends that was never known: who counted by it cannot be asked for any more."""
        lookup = self.lookups.get(change.table)
        if lookup is None or change.action == "INSERT":
            return False
        return lookup.key_of(self.key_row(change)) not in lookup.rows

    def before(self, change: Change) -> Row | None:
        """Return the watched row before the change, with all that deciding needs; None if not known."""
        if change.action == "INSERT":
            return None
        needed = self._needed[change.table]
        if change.old is not None and needed <= change.old.keys():
            return change.old
        key = self.key_row(change)
        remembered = self.remembered[change.table]
        found = remembered.get(remembered.key_of(key))
        if isinstance(found, dict):
            return {**found, **(change.old or {})}
        lookup = self.lookups.get(change.table)
        if lookup is not None and needed <= set(lookup.columns):
            row = lookup.rows.get(lookup.key_of(key))
            return None if row is None else dict(zip(lookup.columns, row, strict=True))
        return None

    def remembers(self, table: str, key: Mapping[str, object]) -> bool:
        """True if a watched row is known as it is after the changes until now."""
        remembered = self.remembered[table]
        return isinstance(remembered.get(remembered.key_of(key)), dict)

    async def find(self, table: str, key: Mapping[str, object], read_row: ReadRow) -> Row | None:
        """Return a watched row as it is now, remembered or read; None when it is gone."""
        remembered = self.remembered[table]
        found = remembered.get(remembered.key_of(key))
        if isinstance(found, Gone):
            return None
        if found is not None:
            return found
        row = await read_row(table, {column: key[column] for column in self.keys[table]})
        if row is None or not set(remembered.columns) <= row.keys():
            return None
        # Not remembered: it may be newer than the stream, and would hide what is still to come of it.
        return row

    def store(self, change: Change) -> None:
        """Make ``change`` part of what is known."""
        self.writers.note(change)
        if change.action == "INSERT" and change.new is not None:
            if change.table in self.lookups:
                table = self.lookups[change.table]
                table.put(table.pack(change.new))
            if change.table in self.remembered:
                self.remembered[change.table].put(change.new)
            return
        key = self.key_row(change)
        lookup = self.lookups.get(change.table)
        if lookup is not None:
            if change.new is None or lookup.key_of(change.new) != lookup.key_of(key):
                lookup.remove(lookup.key_of(key))
            if change.new is not None:
                lookup.put(lookup.pack(change.new))
        remembered = self.remembered.get(change.table)
        if remembered is not None:
            if change.new is None or remembered.key_of(change.new) != remembered.key_of(key):
                remembered.mark_gone(remembered.key_of(key))
            if change.new is not None:
                remembered.put(change.new)
