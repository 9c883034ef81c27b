"""Writers whose every change is witnessed by Postgres: who saw the row before, and who sees it after.

Writes to one dialog take turns (an advisory lock until commit), so that the order in which they are
witnessed is their commit order.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString

import psycopg

SCHEMA = Path(__file__).with_suffix(".sql")


async def install(database_url: str, users: Sequence[str]) -> None:
    """Create the witness's schema and say which users count."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(SCHEMA.read_bytes())
        for user in users:
            await connection.execute("insert into witness.users values (%s) on conflict do nothing", (user,))


class Writer:
    """One connection that writes under witness."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def _witnessed(
        self, kind: str, row_id: str, dialog_id: str, sql: LiteralString, parameters: Sequence[Any]
    ) -> None:
        async with self._connection.transaction():
            run = self._connection.execute
            await run("select pg_advisory_xact_lock(hashtext(%s))", (dialog_id,))
            before = await (await run("select witness.viewers(%s, %s)", (kind, row_id))).fetchone()
            await run(sql, parameters)
            after = await (await run("select witness.viewers(%s, %s)", (kind, row_id))).fetchone()
            assert before is not None
            assert after is not None
            if sql.startswith("insert into public.dialog_participants") or "dialog_participants where" in sql:
                # Whoever saw the dialog before and after experiences nothing by somebody's coming or going.
                same = set(before[0]) & set(after[0])
                before = ([u for u in before[0] if u not in same],)
                after = ([u for u in after[0] if u not in same],)
            await run(
                "select witness.record(%s, %s, %s, %s, %s)", (kind, row_id, dialog_id, before[0], after[0])
            )

    async def insert_dialog(self, owner: str, title: str) -> str:
        id_ = str(uuid.uuid4())
        sql: LiteralString = "insert into public.dialogs (id, owner_id, title) values (%s, %s, %s)"
        await self._witnessed("dialog", id_, id_, sql, (id_, owner, title))
        return id_

    async def rename_dialog(self, dialog: str, title: str) -> None:
        await self._witnessed(
            "dialog", dialog, dialog, "update public.dialogs set title = %s where id = %s", (title, dialog)
        )

    async def add_member(self, dialog: str, user: str) -> None:
        sql: LiteralString = "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s) on conflict do nothing"
        await self._witnessed("dialog", dialog, dialog, sql, (dialog, user))

    async def remove_member(self, dialog: str, user: str) -> None:
        sql: LiteralString = "delete from public.dialog_participants where dialog_id = %s and user_id = %s"
        await self._witnessed("dialog", dialog, dialog, sql, (dialog, user))

    async def insert_message(self, dialog: str, sender: str, body: str) -> str:
        id_ = str(uuid.uuid4())
        sql: LiteralString = (
            "insert into public.messages (id, dialog_id, sender_id, body) values (%s, %s, %s, %s)"
        )
        await self._witnessed("message", id_, dialog, sql, (id_, dialog, sender, body))
        return id_

    async def update_message(self, dialog: str, message: str, body: str) -> None:
        await self._witnessed(
            "message", message, dialog, "update public.messages set body = %s where id = %s", (body, message)
        )

    async def delete_message(self, dialog: str, message: str) -> None:
        sql: LiteralString = "delete from public.messages where id = %s"
        await self._witnessed("message", message, dialog, sql, (message,))


async def witnessed(database_url: str) -> dict[str, dict[str, list[tuple[str, str, str]]]]:
    """Return what each user has to experience: by user and dialog, (kind, eventType, row id) in commit order."""
    expected: dict[str, dict[str, list[tuple[str, str, str]]]] = {}
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "select user_id, dialog_id, kind, event_type, row_id from witness.seen order by n"
        )
        for user, dialog, kind, event_type, row in await cursor.fetchall():
            expected.setdefault(str(user), {}).setdefault(str(dialog), []).append(
                (kind, event_type, str(row))
            )
    return expected
