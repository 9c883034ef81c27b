"""A project's database over its own connection: what ``bridge verify`` compares with."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
import psycopg
from psycopg import sql

from bridge.authorization.catalog import Table
from bridge.database import connect, first_line
from bridge.errors import SourceError
from bridge.events import Principal, Row, Seen
from bridge.numbers import exact_number

_rows = msgspec.json.Decoder(list[dict[str, Any]], float_hook=exact_number)
_row = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)
_seen = msgspec.json.Decoder(Seen)
_encoder = msgspec.json.Encoder(decimal_format="number")

_ADDRESS = sql.SQL("t.tableoid::text || ' ' || t.ctid::text")
"""Where a row is: two partitions have rows at the same place."""

_FAILS_WHATEVER_THE_ROW = frozenset({"42501", "42P17"})
"""A missing privilege, and policies in a circle."""


class DirectDatabase:
    """One transaction that sees one moment of the database, and changes nothing.

    Make it with :meth:`open`.  The methods that the worker's RPC has, too, call the same functions.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Connect and begin a transaction that is rolled back at the end.

        Raises:
            SourceError: the database cannot be reached, or lacks the bridge's functions.
        """
        connection = await connect(url)
        try:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            database = cls(connection)
            if await database._one("select to_regprocedure('public.bridge_catalog()') is null"):
                raise SourceError("the database has no bridge_catalog(): apply sql/migrations to it")
            yield database
        except psycopg.Error as error:
            raise SourceError(
                f"the database refused ({error.sqlstate}: {first_line(error)}): {_advice(error)}"
            ) from None
        finally:
            await connection.rollback()
            await connection.close()

    async def catalog(self) -> str:
        """Return the JSON text of ``bridge_catalog()``."""
        return str(await self._one("select public.bridge_catalog()"))

    async def catalog_marker(self) -> str:
        """Return what :meth:`bridge.rpc.ProjectRpc.catalog_marker` does."""
        return str(await self._one("select public.bridge_catalog_marker()"))

    async def rows(
        self, table: str, *, after: Row | None, max_rows: int, columns: Sequence[str] | None
    ) -> list[Row]:
        """Return rows of ``table`` in primary-key order, as :meth:`bridge.rpc.ProjectRpc.rows` does."""
        answer = await self._one(
            "select public.bridge_rows(%s, %s, %s, %s)",
            table,
            None if after is None else _encoder.encode(after).decode(),
            max_rows,
            None if columns is None else list(columns),
        )
        return _rows.decode(answer)

    async def row(self, table: str, key: Row) -> Row | None:
        """Return one row by primary key; None when there is none."""
        answer = await self._one("select public.bridge_row(%s, %s)", table, _encoder.encode(key).decode())
        return None if answer is None else _row.decode(answer)

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        """Return who sees which of ``rows``, as ``bridge_visible()`` decides it."""
        asked = json.dumps([{"role": p.role, "claims": p.claims_json} for p in principals])
        # What a helper sets for its transaction must not outlive the question.
        async with self._connection.transaction(force_rollback=True):
            answer = await self._one(
                "select public.bridge_visible(%s, %s, %s)", table, _encoder.encode(rows).decode(), asked
            )
        return _seen.decode(answer)

    async def now(self) -> Any:
        """Return the time of the transaction."""
        return await self._one("select now()")

    async def sample(self, table: Table, max_rows: int) -> list[tuple[str, Row]]:
        """Return some rows at random, each with its address in the table."""
        query = sql.SQL("select {}, to_jsonb(t.*)::text from {} t order by random() limit %s")
        cursor = await self._connection.execute(query.format(_ADDRESS, _name(table)), [max_rows])
        return [(address, _row.decode(text)) for address, text in await cursor.fetchall()]

    async def users(self, max_users: int) -> list[dict[str, Any]]:
        """Return some rows of ``auth.users`` at random; none where there is no such table."""
        if await self._one("select to_regclass('auth.users') is null"):
            return []
        cursor = await self._connection.execute(
            "select to_jsonb(u)::text from auth.users u order by random() limit %s", [max_users]
        )
        return [_row.decode(text) for (text,) in await cursor.fetchall()]

    async def user(self, user_id: str) -> dict[str, Any] | None:
        """Return the row of ``auth.users`` with this id; None if there is none."""
        if await self._one("select to_regclass('auth.users') is null"):
            return None
        text = await self._one("select to_jsonb(u)::text from auth.users u where u.id::text = %s", user_id)
        return None if text is None else _row.decode(text)

    async def seen(
        self, table: Table, principal: Principal, sample: Sequence[tuple[str, Row]], *, by_key: bool
    ) -> set[str]:
        """Return the addresses of those of the rows that ``select`` shows to ``principal``.

        Where the SELECT as a whole fails (a missing privilege, policies in a circle) none; where a row's
        value makes it fail, those that can be selected one by one.

        Args:
            table: The table.
            principal: Who asks.
            sample: Rows with their addresses.
            by_key: Find them by primary key: addresses are read with a privilege on the whole table only.
        """
        try:
            return await self._select(table, principal, sample, by_key=by_key)
        except psycopg.Error as error:
            if error.sqlstate in _FAILS_WHATEVER_THE_ROW:
                return set()
        found: set[str] = set()
        for one in sample:
            try:
                found |= await self._select(table, principal, [one], by_key=by_key)
            except psycopg.Error:
                continue
        return found

    async def _select(
        self, table: Table, principal: Principal, sample: Sequence[tuple[str, Row]], *, by_key: bool
    ) -> set[str]:
        if by_key:
            key = sql.SQL(", ").join(
                sql.SQL("{}, t.{}").format(sql.Literal(column), sql.Identifier(column))
                for column in table.primary_key
            )
            selected: sql.Composable = sql.SQL("jsonb_build_object({})::text").format(key)
            addresses = {_key(table, row): address for address, row in sample}
            conditions = [_has_key(table, row) for _, row in sample]
        else:
            selected = _ADDRESS
            addresses = {address: address for address, _ in sample}
            conditions = [_is_at(address) for address in addresses]
        if not conditions:
            return set()
        query = sql.SQL("select {} from {} t where {}").format(
            selected, _name(table), sql.SQL(" or ").join(conditions)
        )
        async with self._connection.transaction(force_rollback=True):
            await self._connection.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('search_path', %s, true)",
                [principal.claims_json, "public, extensions"],
            )
            await self._connection.execute(
                sql.SQL("set local role {}").format(sql.Identifier(principal.role))
            )
            cursor = await self._connection.execute(query)
            found = [text for (text,) in await cursor.fetchall()]
        if by_key:
            found = [_key(table, _row.decode(text)) for text in found]
        return {addresses[name] for name in found if name in addresses}

    async def _one(self, query: str, *parameters: Any) -> Any:
        cursor = await self._connection.execute(query, parameters or None)
        row = await cursor.fetchone()
        return None if row is None else row[0]


def _has_key(table: Table, row: Row) -> sql.Composed:
    return sql.SQL("({})").format(
        sql.SQL(" and ").join(
            sql.SQL("t.{} = {}::{}").format(
                sql.Identifier(column),
                sql.Literal(
                    value if isinstance(value := row[column], str) else _encoder.encode(value).decode()
                ),
                sql.SQL(table.by_name[column].type),
            )
            for column in table.primary_key
        )
    )


def _is_at(address: str) -> sql.Composed:
    relation, place = address.split()
    return sql.SQL("(t.ctid = {}::tid and t.tableoid = {}::oid)").format(
        sql.Literal(place), sql.Literal(relation)
    )


def _key(table: Table, row: Row) -> str:
    return repr([row[column] for column in table.primary_key])


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _advice(error: psycopg.Error) -> str:
    if error.sqlstate is not None and error.sqlstate.startswith("22"):
        return "the value given is none of its column's type"
    return "connect as a role that may read every table and become anon and authenticated, like postgres"
