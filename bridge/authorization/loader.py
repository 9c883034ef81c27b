"""Reads the catalog and the look-up rows from the database and builds a fresh stage."""

import asyncio
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import structlog

from bridge import metrics
from bridge.authorization import temporal
from bridge.authorization.authorizer import Authorizer
from bridge.authorization.capturing import Capture
from bridge.authorization.catalog import Catalog, decode_catalog
from bridge.authorization.dialogs import dialog_columns
from bridge.authorization.lookup import LookupTable
from bridge.authorization.naming import named_table
from bridge.authorization.planset import PlanSet, compile_plans
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.clock import Clock
from bridge.errors import SourceError
from bridge.events import Row
from bridge.identifiers import literal

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAGE_ROWS = 25_000
"""Rows read at a time: a page is a few megabytes and takes well under a second."""

PACKED_AT_ONCE = 1_000
"""Rows put away before others get their turn: some milliseconds."""


class CatalogReader(Protocol):
    """What loading needs of the project's database."""

    async def catalog(self) -> str | bytes:
        """Return the JSON text of ``bridge_catalog()``."""

    async def catalog_marker(self) -> str:
        """Return a text that changes whenever the catalog may have changed."""

    async def rows(
        self, table: str, *, after: Row | None, max_rows: int, columns: Sequence[str] | None
    ) -> list[Row]:
        """Return rows in primary-key order, those after the key ``after``."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to authorize.

    Attributes:
        tables: Qualified names of the watched tables, as SQL has them or without their quotes.
        dialog_table: The one whose rows are the dialogs.
        message_table: The one whose rows are the messages.
        dialog_column: Its column with the dialog's id, where no foreign key tells it.
        roles: Database roles that clients can have.
        capture: How changes are to arrive; auto where that depends on the database.
        kept: How they do, where that has been chosen already.
        remembered_rows: Rows to remember of each watched table.
    """

    tables: tuple[str, ...]
    dialog_table: str
    message_table: str
    dialog_column: str | None
    roles: tuple[str, ...]
    remembered_rows: int
    capture: Capture | Literal["auto"] = "auto"
    kept: Capture | None = None

    def of(self, catalog: Catalog) -> "Settings":
        """Return the same with the names that the catalog's tables have; one that is none is left.

        Raises:
            ConfigError: a name may be that of two tables.
        """

        def known(name: str) -> str:
            table = named_table(catalog, name)
            return name if table is None else table.qualified

        return msgspec.structs.replace(
            self,
            tables=tuple(dict.fromkeys(map(known, self.tables))),
            dialog_table=known(self.dialog_table),
            message_table=known(self.message_table),
        )


async def compile_catalog(
    database: CatalogReader, settings: Settings, clock: Clock
) -> tuple[PlanSet, Mapping[str, str]]:
    """Read the catalog and compile the plans; also return each table's dialog column.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
        SourceError: the database did not answer.
    """
    catalog = decode_catalog(await database.catalog())
    settings = settings.of(catalog)
    planset = compile_plans(
        catalog,
        watched=settings.tables,
        roles=settings.roles,
        now_us=lambda: temporal.from_datetime(clock.now()),
        capture=settings.capture,
        kept=settings.kept,
    )
    columns = dialog_columns(
        catalog,
        settings.tables,
        dialog_table=settings.dialog_table,
        message_table=settings.message_table,
        column=settings.dialog_column,
    )
    return planset, columns


def _say_what_is_amiss(planset: PlanSet, settings: Settings) -> None:
    tables = planset.catalog.by_name
    for (table, role), plan in planset.plans.items():
        for part in plan.opaque:
            log.warning("policy_asked", table=table, role=role, reason=part.reason)
    for (table, role), reason in planset.nobody.items():
        from_all = all((table, other) in planset.nobody for other in settings.roles)
        say = log.warning if from_all else log.info  # anon reads nothing in most projects
        say("table_hidden", table=table, role=role, reason=reason)
    for table in settings.tables:
        if not tables[table].rls:
            log.warning(
                "rls_disabled",
                table=table,
                hint=f"alter table {tables[table].quoted} enable row level security",
            )
    for one in planset.skipping_replicas:
        log.warning(
            "replica_writes_missed",
            table=one.qualified,
            hint=f"select public.bridge_watch({literal(one.quoted)})",
        )


async def load(database: CatalogReader, settings: Settings, roster: Roster, clock: Clock) -> Authorizer:
    """Return a stage whose look-up rows are at least as new as this call.

    The caller has to be subscribed already: what changes during the load arrives as a change, and
    applying a change to a row that already shows it does no harm.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
        SourceError: the database did not answer, or its catalog changed meanwhile.
    """
    marker = await database.catalog_marker()  # before the catalog: better to read that once too often
    planset, columns = await compile_catalog(database, settings, clock)
    if await database.catalog_marker() != marker:
        # What it says of the journal's triggers is to hold from before the rows are read.
        raise SourceError("the catalog changed while it was read: reading again")
    settings = settings.of(planset.catalog)
    _say_what_is_amiss(planset, settings)
    memory = RowMemory(planset, dialog_columns=columns, remembered_limit=settings.remembered_rows)
    metrics.expect_tables(planset.watched)
    metrics.LOOKUP_ROWS.clear()  # those of tables that the policies do not read any more
    for name, lookup in planset.lookups.items():
        await load_pages(database, lookup)
        metrics.LOOKUP_ROWS.labels(name).set_function(functools.partial(len, lookup))
    for name in planset.watched:
        await _remember_pages(database, name, memory)
    return Authorizer(
        planset,
        memory=memory,
        roster=roster,
        dialog_columns=columns,
        dialog_table=settings.dialog_table,
        marker=marker,
    )


async def load_pages(database: CatalogReader, lookup: LookupTable) -> None:
    """Read all rows of a look-up table.

    Raises:
        SourceError: the database did not answer.
    """
    await _read(
        database, lookup.name, lookup.primary_key, lookup.columns, lambda row: lookup.put(lookup.pack(row))
    )


async def _remember_pages(database: CatalogReader, table: str, memory: RowMemory) -> None:
    """Remember rows that exist already, so that a DELETE of one of them reaches those who saw it."""
    remembered = memory.remembered[table]
    if remembered.limit:
        keep, limit = remembered.put, remembered.limit
        await _read(database, table, remembered.primary_key, remembered.columns, keep, limit=limit)


async def _read(
    database: CatalogReader,
    table: str,
    primary_key: Sequence[str],
    columns: Sequence[str],
    keep: Callable[[Row], object],
    *,
    limit: int = sys.maxsize,
) -> None:
    """Give rows to ``keep``, in the order of their key; the next page is read while one is kept."""

    async def read(after: Row | None) -> list[Row]:
        return await database.rows(table, after=after, max_rows=min(PAGE_ROWS, left), columns=columns)

    left = limit
    page = await read(None)
    while page:
        full = len(page) == min(PAGE_ROWS, left)
        left -= len(page)
        if not full or left == 0:
            return await _keep(page, keep)
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(
                    read({column: page[-1][column] for column in primary_key}), name="read"
                )
                await _keep(page, keep)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        page = following.result()
    return None


async def _keep(page: Sequence[Row], keep: Callable[[Row], object]) -> None:
    for start in range(0, len(page), PACKED_AT_ONCE):
        if start:
            await asyncio.sleep(0)  # sockets, and the next page, get their turn
        for row in page[start : start + PACKED_AT_ONCE]:
            keep(row)
