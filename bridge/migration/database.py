"""The database's side of ``bridge migrate``: the record, the lock, and running files."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast

import psycopg

from bridge.database import connect, first_line
from bridge.errors import SourceError
from bridge.migration.state import Migration, Recorded
from bridge.migration.statements import body

LOCK = 0x6272_6964_6765
"""Key of the advisory lock: "bridge"."""

LOCK_TIMEOUT_S = 10

_ALTER = "alter table supabase_migrations.schema_migrations"
_COLUMN = """select from pg_catalog.pg_attribute
    where attname = '%s' and attrelid = 'supabase_migrations.schema_migrations'::regclass"""

# What the Supabase CLI runs, but only where something is missing: each of these needs a privilege
# (on the database, or to own the table) even where there is nothing to do.
_RECORD = (
    ("to_regnamespace('supabase_migrations') is null", "create schema supabase_migrations"),
    (
        "to_regclass('supabase_migrations.schema_migrations') is null",
        "create table supabase_migrations.schema_migrations (version text not null primary key)",
    ),
    (f"not exists ({_COLUMN % 'statements'})", f"{_ALTER} add column statements text[]"),
    (f"not exists ({_COLUMN % 'name'})", f"{_ALTER} add column name text"),
)

_BUSY = (
    "select pid, usename, state, xact_start, left(query, 60) from pg_stat_activity "
    "where xact_start < now() - interval '2 s' order by xact_start"
)
_AT_WORK = (  # as Postgres shows the key: its halves
    f"select pid from pg_locks where (classid, objid) = ({LOCK >> 32}, {LOCK & 0xFFFF_FFFF}) and granted"  # noqa: S608 - numbers
)

_RAISED = "exec_stmt_raise"
"""What a file itself has to say comes from this function of Postgres."""


class MigratedDatabase:
    """A database that migrations are applied to; make it with :meth:`open`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, on_notice: Callable[[str], None]) -> AsyncIterator[Self]:
        """Connect.

        Args:
            url: Connection string.
            on_notice: Called with what the files say while they run.

        Raises:
            SourceError: the database cannot be reached, or refuses something (that file then leaves nothing).
        """
        connection = await connect(url, autocommit=True)

        def notice(diagnostic: psycopg.errors.Diagnostic) -> None:
            if diagnostic.severity_nonlocalized == "NOTICE" and diagnostic.source_function != _RAISED:
                return  # Postgres's own: that something is there already, or was not there to be dropped
            hint = f" ({diagnostic.message_hint})" if diagnostic.message_hint else ""
            on_notice(f"{diagnostic.message_primary}{hint}")

        connection.add_notice_handler(notice)
        try:
            yield cls(connection)
        except psycopg.Error as error:
            raise SourceError(
                f"the database refused ({error.sqlstate}: {first_line(error)}): {_advice(error)}"
            ) from None
        finally:
            await connection.close()

    async def recorded(self) -> dict[str, Recorded]:
        """Return the record, by version; empty where there is none."""
        if await self._true("to_regclass('supabase_migrations.schema_migrations') is null"):
            return {}
        # By to_jsonb, since an old table lacks columns.
        cursor = await self._connection.execute(
            "select version, to_jsonb(m) ->> 'name', to_jsonb(m) -> 'statements' "
            "from supabase_migrations.schema_migrations m order by version"
        )
        return {
            version: Recorded(version, name or "", None if statements is None else tuple(statements))
            for version, name, statements in await cursor.fetchall()
        }

    async def apply(self, migration: Migration) -> bool:
        """Run a migration and record it, both or neither; False if somebody else just has.

        Waits for another `bridge migrate` for :data:`LOCK_TIMEOUT_S`.
        """
        async with self._connection.transaction():
            await self._lock()
            await self._make_record()
            row = (await self.recorded()).get(migration.version)
            if row is not None and row.statements == migration.statements:
                return False
            await self._run(migration)
        return True

    async def rehearse(self, migrations: list[Migration]) -> None:
        """Run migrations in one transaction, and roll it back."""
        async with self._connection.transaction(force_rollback=True):
            await self._lock()
            await self._make_record()
            for migration in migrations:
                await self._run(migration)

    async def _run(self, migration: Migration) -> None:
        for statement in body(migration.statements):
            try:
                await self._connection.execute(cast("Any", statement))
            except psycopg.Error as error:
                line = next(
                    (line for line in statement.splitlines() if line.strip() and not line.startswith("--")),
                    "",
                )
                raise SourceError(
                    f"{migration.version}_{migration.name} was not applied ({error.sqlstate}: "
                    f"{first_line(error)}; at: {line.strip()[:80]}): {_advice(error)}"
                ) from None
        await self._connection.execute(
            "insert into supabase_migrations.schema_migrations as m (version, name, statements) "
            "values (%s, %s, %s) on conflict (version) do update "
            "set name = excluded.name, statements = excluded.statements",
            (migration.version, migration.name, list(migration.statements)),
        )

    async def _lock(self) -> None:
        await self._connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT_S}s'")
        try:
            # For the transaction: a pooler may give the next one another session.
            await self._connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        except psycopg.errors.LockNotAvailable:
            raise SourceError(
                f"another `bridge migrate` has been at work here for {LOCK_TIMEOUT_S} s: wait until "
                f"it has ended; who it is: {_AT_WORK}"
            ) from None

    async def _make_record(self) -> None:
        for is_missing, make in _RECORD:
            if await self._true(is_missing):
                await self._connection.execute(cast("Any", make))

    async def _true(self, condition: str) -> bool:
        cursor = await self._connection.execute(cast("Any", f"select {condition}"))
        row = await cursor.fetchone()
        return bool(row and row[0])


def _advice(error: psycopg.Error) -> str:
    match error.sqlstate:
        case "55P03":
            return f"somebody holds a table; nothing of this file was changed, try again; who: {_BUSY}"
        case "42501":
            return "connect as the owner of the tables and of the database, postgres in a Supabase project"
        case "40P01" | "57014":
            return "the database was busy; nothing of this file was changed, try again"
        case "25006":
            return "this is a read-only copy: connect to the primary"
        case "42704" | "3F000":
            return "a role or schema that every Supabase project has is missing: is this such a project?"
        case _:
            return "nothing of this file was changed; see what it says"
