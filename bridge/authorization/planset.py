"""All plans of one catalog: compiled together because they share the look-up tables."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Literal

import msgspec
import structlog

from bridge.authorization.algebra import Opaque
from bridge.authorization.capturing import Capture, chosen, unwatchable
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.composition import Sight, compose
from bridge.authorization.lookup import LookupTable
from bridge.authorization.plan import Plan
from bridge.authorization.reach import lookup_columns
from bridge.errors import ConfigError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PlanSet(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The plans of one catalog.

    Attributes:
        catalog: What they were compiled from.
        plans: By (table, role).
        lookups: The look-up tables the plans read, by name; empty until they are loaded.
        nobody: Why a role sees nothing of a table, by (table, role), where Postgres says so.
        capture: How changes arrive.
    """

    catalog: Catalog
    watched: tuple[str, ...]
    plans: Mapping[tuple[str, str], Plan]
    lookups: Mapping[str, LookupTable]
    nobody: Mapping[tuple[str, str], str]
    capture: Capture = "tables"

    def means_the_same(self, other: "PlanSet") -> bool:
        """True if this answers all as ``other``, an earlier one, whatever else differs in their catalogs."""
        return (
            self.watched == other.watched
            and self.catalog.types == other.catalog.types  # rows in memory hold the labels of enums
            and self.asked_basis == other.asked_basis
            and self.upstream_keys == other.upstream_keys
            and self.recorders == other.recorders
            and {key: plan.sight for key, plan in self.plans.items()}
            == {key: plan.sight for key, plan in other.plans.items()}
            and {name: lookup.columns for name, lookup in self.lookups.items()}
            == {name: lookup.columns for name, lookup in other.lookups.items()}
            and all(_has_the_rows(self.catalog, other.catalog, name) for name in self.upstream_tables)
        )

    @cached_property
    def digest(self) -> str:
        """What the plans mean, in 8 letters: others where an answer may differ, the same in every worker."""
        catalog = self.catalog
        meaning = (
            self.watched,
            catalog.types,
            self.asked_basis,
            self.upstream_keys,
            self.recorders,
            {key: plan.sight for key, plan in self.plans.items()},
            {name: lookup.columns for name, lookup in self.lookups.items()},
            # Of a table that was made anew no change says that its rows are gone.
            {
                name: (catalog.by_name[name].columns, catalog.by_name[name].storage)
                for name in self.upstream_tables
            },
        )
        return hashlib.sha256(_written(meaning).encode()).hexdigest()[:8]

    @property
    def asked_basis(self) -> object:
        """What the answers of Postgres may depend on; None where it is not asked."""
        if not any(plan.opaque for plan in self.plans.values()):
            return None
        catalog = self.catalog
        tables = {
            t.qualified: (
                t.columns,
                t.policies,
                t.grants,
                t.rls,
                t.force_rls,
                t.owner,
                t.foreign_keys,
                t.inherits,
            )
            for t in catalog.tables
        }
        return tables, catalog.functions, catalog.roles

    @property
    def upstream_tables(self) -> tuple[str, ...]:
        """Every table whose changes have to be captured: watched ones and look-up tables."""
        return tuple(dict.fromkeys([*self.watched, *sorted(self.lookups)]))

    @property
    def upstream_keys(self) -> dict[str, tuple[str, ...]]:
        """The same tables, each with the columns of its primary key."""
        return {name: self.catalog.by_name[name].primary_key for name in self.upstream_tables}

    @property
    def recorders(self) -> dict[str, frozenset[str]]:
        """What names the triggers that wrote the journal of each of them, parts included.

        Others than before have let changes go by: rows in memory, and what cursors lead to, lack these.
        """
        if self.capture != "journal":
            return {}
        return {
            name: frozenset(table.journalled_by for table in self._with_parts(name)) - {""}
            for name in self.upstream_tables
        }

    @property
    def skipping_replicas(self) -> list[Table]:
        """Those of them of which the journal lacks what a replica role writes."""
        if self.capture != "journal":
            return []
        return [
            self.catalog.by_name[name]
            for name in self.upstream_tables
            if any(table.skips_replicas for table in self._with_parts(name))
        ]

    def _with_parts(self, name: str) -> list[Table]:
        table = self.catalog.by_name[name]
        return [table, *self.catalog.partitions(table)]

    @property
    def read_columns(self) -> dict[str, frozenset[str]]:
        """The same tables, each with the columns whose values decide who sees what."""
        of_plans = {name: frozenset[str]() for name in self.watched}
        for plan in self.plans.values():
            of_plans[plan.table] |= plan.sight.read_columns
        return {
            name: of_plans.get(name, frozenset())
            | frozenset(self.lookups[name].columns if name in self.lookups else ())
            for name in self.upstream_tables
        }


def _written(value: object) -> str:
    """Return ``value`` as text that does not depend on the order in which sets and mappings give theirs."""
    match value:
        case msgspec.Struct():
            fields = ",".join(_written(getattr(value, name)) for name in value.__struct_fields__)
            return f"{type(value).__name__}({fields})"
        case Mapping():
            items = sorted((_written(key), _written(inner)) for key, inner in value.items())
            return "{" + ",".join(f"{key}:{inner}" for key, inner in items) + "}"
        case frozenset() | set():
            return "{" + ",".join(sorted(map(_written, value))) + "}"
        case tuple() | list():
            return "(" + ",".join(map(_written, value)) + ")"
        case _:
            return repr(value)


def compile_plans(
    catalog: Catalog,
    *,
    watched: Sequence[str],
    roles: Sequence[str],
    now_us: Callable[[], int],
    capture: Capture | Literal["auto"] = "tables",
    kept: Capture | None = None,
) -> PlanSet:
    """Compile what each role sees of each watched table.

    Args:
        catalog: The database's catalog.
        watched: Qualified names of the watched tables.
        roles: Roles that clients can have.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.
        capture: How changes are to arrive.
        kept: How they do, where that has been chosen before.

    Raises:
        ConfigError: a watched table does not exist, or cannot be watched at all.
    """
    capturing = chosen(catalog, watched, capture, kept=kept)
    tables = [_known(catalog, name) for name in watched]  # all of them, before advice is given on one
    for table in tables:
        reason = unwatchable(catalog, table, capturing)
        if reason is not None:
            raise ConfigError(f"table {reason}")
    sights = [compose(catalog, table, role, capturing) for table in tables for role in roles]
    lookups = lookup_tables(catalog, sights)
    return PlanSet(
        catalog=catalog,
        watched=tuple(watched),
        plans={(sight.table, sight.role): _plan(sight, lookups, now_us) for sight in sights},
        lookups=lookups,
        capture=capturing.capture,
        nobody={(s.table, s.role): s.because for s in sights if s.because is not None},
    )


def _plan(sight: Sight, lookups: Mapping[str, LookupTable], now_us: Callable[[], int]) -> Plan:
    try:
        return Plan(sight, lookups, now_us)
    except Exception as error:
        log.exception("plan_not_compiled", table=sight.table, role=sight.role)
        asked = Opaque(f"the compilation failed with {type(error).__name__}", raises=True)
        return Plan(msgspec.structs.replace(sight, condition=asked, claims=()), lookups, now_us)


def _has_the_rows(now: Catalog, before: Catalog, name: str) -> bool:
    """True if no rows went or came without a change of each: with their file, or with a partition.

    One that was made as a partition was empty; one that was a table by itself before need not be.
    """
    one, other = now.by_name[name], before.by_name[name]
    has = {part.storage for part in now.partitions(one) if part.kind == "r"}
    had = {part.storage for part in before.partitions(other) if part.kind == "r"}
    return (
        one.columns == other.columns
        and one.oid == other.oid
        and one.storage == other.storage
        and had <= has
        and (has - had).isdisjoint(table.storage for table in before.tables)
    )


def _known(catalog: Catalog, name: str) -> Table:
    table = catalog.by_name.get(name)
    if table is None:
        raise ConfigError(f"table {name} does not exist: create it, or correct BRIDGE_TABLES")
    if table.other_than_table is not None:
        raise ConfigError(f"{name} is {table.other_than_table}, which has no changes: correct BRIDGE_TABLES")
    return table


def lookup_tables(catalog: Catalog, sights: Sequence[Sight]) -> dict[str, LookupTable]:
    """Return the tables that the sights look into, empty, each with the columns that they read."""
    needed: dict[str, set[str]] = {}
    for sight in sights:
        for name, columns in lookup_columns(sight.condition).items():
            needed.setdefault(name, set()).update(columns)
    return {
        name: LookupTable(name, primary_key=catalog.by_name[name].primary_key, columns=columns)
        for name, columns in needed.items()
    }
