"""Reads the database's changes by polling a slot, as Realtime does, and says who may have them.

What happens between two polls arrives together, and rows are checked as they are at the poll: a row that
was inserted and deleted in between gives only the DELETE.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any, Self

import msgspec
import psycopg
from psycopg import sql

from bridge.local.changes import ChangeReader, Data, view
from bridge.local.subscriptions import Binding
from bridge.pgoutput import Decoder

PUBLICATION = "supabase_realtime"
MAX_CHANGES = 10_000
"""Changes taken at a poll (whole transactions); the rest waits for the next one."""

_COMPARED_TYPES = """
select a.attname::text, format_type(a.atttypid, a.atttypmod)
from pg_attribute a where a.attrelid = %s and a.attname = any(%s)
"""

_READABLE = """
select a.attname::text
from pg_attribute a
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
and has_column_privilege(%s::name, a.attrelid, a.attnum, 'select')
"""


class Feed:
    """A slot and the connection that reads it.

    Args:
        connection: Superuser's connection in autocommit mode; the temporary slot ends with it.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._slot = f"bridge_local_{secrets.token_hex(6)}"
        self._decoder = Decoder()
        self._reader = ChangeReader(connection)

    @classmethod
    async def open(cls, database_url: str) -> Self:
        """Connect and make the slot: changes committed from now on will be read."""
        connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        try:
            await connection.execute("set timezone to 'UTC'")
            await connection.execute("set intervalstyle to 'postgres'")
            feed = cls(connection)
            await connection.execute(
                "select pg_create_logical_replication_slot(%s, 'pgoutput', true)", (feed._slot,)
            )
        except BaseException:
            await connection.close()
            raise
        return feed

    async def close(self) -> None:
        """Drop the slot and disconnect."""
        await self._connection.close()

    async def poll(self, bindings: Sequence[Binding]) -> list[Data]:
        """Return what was committed since the last poll, in commit order: of the bindings' tables."""
        cursor = await self._connection.execute(
            "select data from pg_logical_slot_get_binary_changes(%s, null, %s,"
            " 'proto_version', '1', 'publication_names', %s)",
            (self._slot, MAX_CHANGES, PUBLICATION),
            binary=True,
        )
        messages = [row[0] for row in await cursor.fetchall()]
        wanted: dict[int, bool] = {}
        changes = []
        for message in messages:
            change = self._decoder.decode(bytes(message))
            if change is None:
                continue
            table = change.relation
            if table.oid not in wanted:
                wanted[table.oid] = any(binding.covers(table.schema, table.name) for binding in bindings)
            if wanted[table.oid]:
                changes.append(change)
        return await self._reader.convert(changes) if changes else []

    async def check(self, role: str, tables: Sequence[tuple[str, str]]) -> list[str]:
        """Return which of ``tables`` the publication does not have; asks as ``role``, which must exist.

        Raises:
            psycopg.Error: the role does not exist.
        """
        async with self._connection.transaction():
            await self._connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            cursor = await self._connection.execute(
                "select schemaname, tablename from pg_publication_tables where pubname = %s", (PUBLICATION,)
            )
            known = {(row[0], row[1]) for row in await cursor.fetchall()}
        return [name for schema, name in tables if name != "*" and (schema, name) not in known]

    async def check_value(self, schema: str, table: str, column: str, value: str) -> None:
        """Let Postgres judge a filter.

        Raises:
            psycopg.Error: the value is none of the column's type.
            LookupError: there is no such column.
        """
        cursor = await self._connection.execute(
            "select format_type(a.atttypid, a.atttypmod) from pg_attribute a "
            "where a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) "
            "and a.attname = %s and a.attnum > 0",
            (schema, table, column),
        )
        found = await cursor.fetchone()
        if found is None:
            raise LookupError(f"invalid column for filter {column}")
        await self._connection.execute(sql.SQL("select {}::{}").format(sql.Literal(value), sql.SQL(found[0])))

    async def views(self, data: Sequence[Data], claims: dict[str, Any]) -> list[dict[str, Any] | None]:
        """Return each change as these claims may have it now; None if they do not see its row.

        DELETEs go to everybody; tables without RLS are not asked.
        """
        views: list[dict[str, Any] | None] = []
        by_table: dict[int, list[int]] = {}
        readable: dict[int, frozenset[str]] = {}
        for position, change in enumerate(data):
            oid = change.relation.oid
            if oid not in readable:
                readable[oid] = await self._readable(str(claims["role"]), oid)
            views.append(view(change, readable[oid]))
            if change.rls and change.payload["type"] != "DELETE" and readable[oid].issuperset(change.key):
                by_table.setdefault(oid, []).append(position)
        for positions in by_table.values():
            seen = await self._seen([data[position] for position in positions], claims)
            for index, position in enumerate(positions):
                if index not in seen:
                    views[position] = None
        return views

    async def _readable(self, role: str, oid: int) -> frozenset[str]:
        cursor = await self._connection.execute(_READABLE, (oid, role))
        return frozenset([row[0] for row in await cursor.fetchall()])

    async def _seen(self, data: Sequence[Data], claims: dict[str, Any]) -> set[int]:
        relation, names = data[0].relation, list(data[0].key)
        cursor = await self._connection.execute(_COMPARED_TYPES, (relation.oid, names))
        types = dict(await cursor.fetchall())
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(types[name])) for name in names
        )
        matched = sql.SQL(" and ").join(
            sql.SQL("r.{0} = k.{0}").format(sql.Identifier(name)) for name in names
        )
        query = sql.SQL(
            "select distinct k.n from (select row_number() over () - 1 as n, j.* from"
            " jsonb_to_recordset(%s::jsonb) as j ({})) as k join {} as r on {}"
        ).format(columns, sql.Identifier(relation.schema, relation.name), matched)
        keys = msgspec.json.encode([change.key for change in data]).decode()
        try:
            async with self._connection.transaction():
                await self._connection.execute(
                    "select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),)
                )
                await self._connection.execute(
                    sql.SQL("set local role {}").format(sql.Identifier(str(claims["role"])))
                )
                cursor = await self._connection.execute(query, (keys,))
                return {int(row[0]) for row in await cursor.fetchall()}
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            return set()  # a policy that fails shows nothing
