"""The chat that the soak writes: users, dialogs, and changes at a rate, each witnessed by the journal."""

import asyncio
import random
import uuid
from typing import Any

import msgspec
import psycopg

WRITERS = 4
DIALOGS_PER_USER = 0.5
MEMBERSHIPS_PER_USER = 5
MESSAGES_PER_USER = 10
"""As much is deleted as is written once there are so many of them: a worker's memory that grows is a leak."""

RETRY_S = 0.2


def user_id(number: int) -> str:
    """Return the id of a user."""
    return str(uuid.UUID(int=0x50AC0000_0000_4000_8000_000000000000 + number))


class World(msgspec.Struct):
    """What writers can choose from; what is in the database may differ where a write failed."""

    users: list[str]
    random: random.Random
    dialogs: list[str] = []
    members: dict[str, set[str]] = {}
    messages: list[str] = []
    changes: int = 0

    async def found(self, database_url: str) -> None:
        """Make the dialogs and memberships that there are at the start."""
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            for _ in range(self._dialogs_wanted):
                await self._make_dialog(connection)
            for _ in range(len(self.users) * MEMBERSHIPS_PER_USER):
                await self._add_member(connection)

    async def write(self, database_url: str, rate: float) -> None:
        """Write ``rate`` changes a second, for ever, through whatever happens to the database."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self._writer(database_url, rate / WRITERS), name=f"writer-{number}")

    async def _writer(self, database_url: str, rate: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    database_url, autocommit=True, connect_timeout=5
                ) as connection:
                    due_s = loop.time()
                    while True:
                        await self._change(connection)
                        due_s = max(due_s + 1 / rate, loop.time() - 1.0)  # not all at once after a fault
                        await asyncio.sleep(max(0.0, due_s - loop.time()))
            except psycopg.Error:
                await asyncio.sleep(RETRY_S)

    async def _change(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Write one change, sometimes several in one transaction, sometimes in vain."""
        kind = self.random.random()
        if kind < 0.02:  # noqa: PLR2004 - shares of all changes
            async with connection.transaction():
                for _ in range(4):
                    await self._one(connection)
                # What others are told of is one INSERT.
                await self._edit(connection, await self._say(connection))
        elif kind < 0.04:  # noqa: PLR2004
            # An id of the journal that will never be there.
            async with connection.transaction(force_rollback=True):
                await self._say(connection, forget=True)
        else:
            await self._one(connection)

    async def _one(self, connection: psycopg.AsyncConnection[Any]) -> None:
        choose = self.random
        match choose.randrange(100):
            case n if n < 2:  # noqa: PLR2004
                await self._replace_dialog(connection)
            case n if n < 5:  # noqa: PLR2004
                await connection.execute(
                    "update public.dialogs set title = %s where id = %s",
                    (f"title {choose.random()}", choose.choice(self.dialogs)),
                )
                self.changes += 1
            case n if n < 11:  # noqa: PLR2004
                await self._move_member(connection)
            case n if n < 23 and self.messages:  # noqa: PLR2004
                await self._edit(connection, choose.choice(self.messages))
            case n if n < 61 and len(self.messages) > len(self.users) * MESSAGES_PER_USER:  # noqa: PLR2004
                await self._delete_message(connection)
            case _:
                await self._say(connection)

    async def _say(self, connection: psycopg.AsyncConnection[Any], *, forget: bool = False) -> str:
        message, choose = str(uuid.uuid4()), self.random
        await connection.execute(
            "insert into public.messages (id, dialog_id, sender_id, body) "
            "select %s, d.id, %s, %s from public.dialogs as d where d.id = %s for key share",
            (message, choose.choice(self.users), f"hello {choose.random()}", choose.choice(self.dialogs)),
        )
        if not forget:
            self.messages.append(message)
            self.changes += 1
        return message

    async def _edit(self, connection: psycopg.AsyncConnection[Any], message: str) -> None:
        body = f"edited {self.random.random()}"
        await connection.execute("update public.messages set body = %s where id = %s", (body, message))
        self.changes += 1

    async def _delete_message(self, connection: psycopg.AsyncConnection[Any]) -> None:
        place = self.random.randrange(len(self.messages))
        self.messages[place], self.messages[-1] = self.messages[-1], self.messages[place]
        await connection.execute("delete from public.messages where id = %s", (self.messages.pop(),))
        self.changes += 1

    async def _replace_dialog(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Make a dialog, or delete one with all that is in it, where there are enough."""
        if len(self.dialogs) <= self._dialogs_wanted:
            await self._make_dialog(connection)
            return
        dialog = self.dialogs.pop(self.random.randrange(len(self.dialogs)))
        self.members.pop(dialog)
        await connection.execute("delete from public.dialogs where id = %s", (dialog,))
        self.changes += 1

    @property
    def _dialogs_wanted(self) -> int:
        return max(2, int(len(self.users) * DIALOGS_PER_USER))

    async def _make_dialog(self, connection: psycopg.AsyncConnection[Any]) -> None:
        dialog = str(uuid.uuid4())
        await connection.execute(
            "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'a dialog')",
            (dialog, self.random.choice(self.users)),
        )
        self.dialogs.append(dialog)
        self.members[dialog] = set()
        self.changes += 1

    async def _move_member(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Add somebody to a dialog, or remove somebody, where there are enough."""
        if sum(map(len, self.members.values())) <= len(self.users) * MEMBERSHIPS_PER_USER:
            await self._add_member(connection)
        else:
            await self._remove_member(connection)

    async def _add_member(self, connection: psycopg.AsyncConnection[Any]) -> None:
        dialog, user = self.random.choice(self.dialogs), self.random.choice(self.users)
        await connection.execute(
            "insert into public.dialog_participants (dialog_id, user_id) "
            "select d.id, %s from public.dialogs as d where d.id = %s for key share on conflict do nothing",
            (user, dialog),
        )
        self.members.get(dialog, set()).add(user)  # which may be gone by now
        self.changes += 1

    async def _remove_member(self, connection: psycopg.AsyncConnection[Any]) -> None:
        dialog = self.random.choice(self.dialogs)
        if self.members[dialog]:
            user = self.random.choice(sorted(self.members[dialog]))
            await connection.execute(
                "delete from public.dialog_participants where dialog_id = %s and user_id = %s",
                (dialog, user),
            )
            self.members.get(dialog, set()).discard(user)
            self.changes += 1


async def hold_transaction(database_url: str, world: World, *, for_s: float, commit: bool) -> None:
    """Write a message whose id in the journal is old when it is committed, or is never there."""
    try:
        async with (
            await psycopg.AsyncConnection.connect(database_url, connect_timeout=5) as connection,
            connection.transaction(force_rollback=not commit),
        ):
            await world._say(connection, forget=True)  # noqa: SLF001 - a writer of the same world
            await asyncio.sleep(for_s)
    except psycopg.Error:
        return  # another fault came in between: then it was rolled back
