"""What a user's page reads from the project: its rows, under row-level security."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Self

import msgspec
import psycopg
from psycopg.rows import dict_row

RETRY_S = 0.2
CONNECTIONS = 6

Rows = dict[str, dict[str, Any]]
"""Rows by primary key."""


class Reader:
    """Reads as any user, for as long as it takes; use it with ``async with``.

    Args:
        database_url: Connection string as the superuser.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._stack = AsyncExitStack()
        self._free: asyncio.Queue[psycopg.AsyncConnection[Any] | None] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(None)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def rows(self, user: str, *, dialog: str | None = None) -> tuple[Rows, Rows]:
        """Return the dialogs and the messages that ``user`` sees, or one dialog's messages only."""
        while True:
            connection = await self._free.get()
            try:
                if connection is None:
                    connection = await psycopg.AsyncConnection.connect(
                        self._database_url, autocommit=True, connect_timeout=5, row_factory=dict_row
                    )
                    self._stack.push_async_callback(connection.close)
                found = await _read(connection, user, dialog)
            except psycopg.Error:
                self._free.put_nowait(None)
                await asyncio.sleep(RETRY_S)
            except BaseException:
                self._free.put_nowait(None)  # in the middle of a statement
                raise
            else:
                self._free.put_nowait(connection)
                return found


async def _read(connection: psycopg.AsyncConnection[Any], user: str, dialog: str | None) -> tuple[Rows, Rows]:
    claims = msgspec.json.encode({"sub": user, "role": "authenticated"}).decode()
    dialogs: list[dict[str, Any]] = []
    async with connection.transaction():
        await connection.execute("set local role authenticated")
        await connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        if dialog is None:
            # One statement, hence one snapshot, for both tables.
            cursor = await connection.execute(
                "select 'd' as kind, d.id::text, d.id::text as dialog, d.title as text "
                "from public.dialogs as d "
                "union all select 'm', m.id::text, m.dialog_id::text, m.body from public.messages as m"
            )
        else:
            cursor = await connection.execute(
                "select 'm' as kind, m.id::text, m.dialog_id::text as dialog, m.body as text "
                "from public.messages as m where m.dialog_id = %s",
                (dialog,),
            )
        dialogs = await cursor.fetchall()
    return (
        {row["id"]: row for row in dialogs if row["kind"] == "d"},
        {row["id"]: row for row in dialogs if row["kind"] == "m"},
    )
