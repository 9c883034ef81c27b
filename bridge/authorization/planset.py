"""All plans of one catalog: compiled together because they share the look-up tables."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.composition import Sight, compose
from bridge.authorization.lookup import LookupTable
from bridge.authorization.plan import Plan, lookup_columns
from bridge.authorization.types import column_type
from bridge.errors import CompileError, ConfigError


class Refusal(msgspec.Struct, frozen=True):
    """Why a role gets nothing of a table: a policy that cannot be answered, and what to do."""

    table: str
    role: str
    reason: str


class PlanSet(msgspec.Struct, frozen=True, kw_only=True):
    """The plans of one catalog.

    Attributes:
        catalog: What they were compiled from.
        plans: By (table, role); a pair that is missing was refused.
        lookups: The look-up tables the plans read, by name; empty until they are loaded.
        refusals: What could not be compiled.
        nobody: Why a role sees nothing of a table, by (table, role), where Postgres says so.
    """

    catalog: Catalog
    watched: tuple[str, ...]
    plans: Mapping[tuple[str, str], Plan]
    lookups: Mapping[str, LookupTable]
    refusals: tuple[Refusal, ...]
    nobody: Mapping[tuple[str, str], str]

    @property
    def upstream_tables(self) -> tuple[str, ...]:
        """Every table whose changes have to be captured: watched ones and look-up tables."""
        return tuple(dict.fromkeys([*self.watched, *sorted(self.lookups)]))

    @property
    def upstream_keys(self) -> dict[str, tuple[str, ...]]:
        """The same tables, each with the columns of its primary key."""
        return {name: self.catalog.by_name[name].primary_key for name in self.upstream_tables}


def compile_plans(
    catalog: Catalog, *, watched: Sequence[str], roles: Sequence[str], publication: str = "supabase_realtime"
) -> PlanSet:
    """Compile what each role sees of each watched table.

    Args:
        catalog: The database's catalog.
        watched: Qualified names of the watched tables.
        roles: Roles that clients can have.
        publication: The publication that upstream reads.

    Raises:
        ConfigError: a watched table does not exist, or cannot be watched at all.
    """
    refusals: list[Refusal] = []
    sights: list[Sight] = []
    for name in watched:
        table = _watchable(catalog, name, publication)
        for role in roles:
            try:
                sight = compose(catalog, table, role)
                _check_lookups(catalog, sight, publication)
            except CompileError as error:
                refusals.append(Refusal(name, role, str(error)))
            else:
                sights.append(sight)
    lookups = _lookup_tables(catalog, sights)
    return PlanSet(
        catalog=catalog,
        watched=tuple(watched),
        plans={(sight.table, sight.role): Plan(sight, lookups) for sight in sights},
        lookups=lookups,
        refusals=tuple(refusals),
        nobody={(s.table, s.role): s.because for s in sights if s.because is not None},
    )


def _watchable(catalog: Catalog, name: str, publication: str) -> Table:
    table = catalog.by_name.get(name)
    if table is None:
        raise ConfigError(f"table {name} does not exist: create it, or correct BRIDGE_TABLES")
    if table.kind not in ("r", "p"):
        raise ConfigError(f"{name} is not a table, so it has no changes: correct BRIDGE_TABLES")
    if not table.primary_key:
        raise ConfigError(f"table {name} has no primary key, so its changes cannot be told apart: add one")
    if publication not in table.publications:
        raise ConfigError(
            f"table {name} is not in publication {publication}, so its changes never arrive: "
            f"alter publication {publication} add table {name}"
        )
    return table


def _check_lookups(catalog: Catalog, sight: Sight, publication: str) -> None:
    """Refuse a plan whose look-up rows could not be kept current."""
    for name in lookup_columns(sight.condition):
        table = catalog.by_name[name]
        if not table.primary_key:
            raise CompileError(
                f"policies of {sight.table} read {name}, which has no primary key: add one, "
                "or its rows cannot be kept current in memory"
            )
        for column in table.primary_key:
            type_ = column_type(table.by_name[column])
            if type_.startswith("other:"):
                # Rows are told apart by their JSON, which upstream may write in another way than to_jsonb.
                raise CompileError(
                    f"policies of {sight.table} read {name}, which has a primary key of type "
                    f"{type_.removeprefix('other:')}: its rows cannot be told apart in memory"
                )
        if publication not in table.publications:
            raise CompileError(
                f"policies of {sight.table} read {name}, which is not in publication {publication}: "
                f"alter publication {publication} add table {name}"
            )


def _lookup_tables(catalog: Catalog, sights: Sequence[Sight]) -> dict[str, LookupTable]:
    needed: dict[str, set[str]] = {}
    for sight in sights:
        for name, columns in lookup_columns(sight.condition).items():
            needed.setdefault(name, set()).update(columns)
    return {
        name: LookupTable(name, primary_key=catalog.by_name[name].primary_key, columns=columns)
        for name, columns in needed.items()
    }
