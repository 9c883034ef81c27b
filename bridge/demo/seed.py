"""The demo's users and dialogs."""

import msgspec
import psycopg


class DemoUser(msgspec.Struct, frozen=True):
    """A user of the demo."""

    id: str
    email: str
    name: str


ANN = DemoUser("00000000-0000-4000-8000-00000000000a", "ann@example.com", "Ann")
BOB = DemoUser("00000000-0000-4000-8000-00000000000b", "bob@example.com", "Bob")
CARA = DemoUser("00000000-0000-4000-8000-00000000000c", "cara@example.com", "Cara")
DAN = DemoUser("00000000-0000-4000-8000-00000000000d", "dan@example.com", "Dan")
USERS = (ANN, BOB, CARA, DAN)


class DemoDialog(msgspec.Struct, frozen=True):
    """A dialog of the demo; its first member owns it."""

    id: str
    title: str
    members: tuple[DemoUser, ...]


DIALOGS = (
    DemoDialog("10000000-0000-4000-8000-000000000001", "Weekend hike", (ANN, BOB, CARA)),
    DemoDialog("10000000-0000-4000-8000-000000000002", "Release planning", (BOB, DAN)),
)


async def seed(database_url: str) -> None:
    """Create the users and dialogs, unless they are there already."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for user in USERS:
            await connection.execute(
                "insert into auth.users (id, email) values (%s, %s) on conflict do nothing",
                (user.id, user.email),
            )
        for dialog in DIALOGS:
            await connection.execute(
                "insert into public.dialogs (id, owner_id, title) values (%s, %s, %s) on conflict do nothing",
                (dialog.id, dialog.members[0].id, dialog.title),
            )
            for position, user in enumerate(dialog.members):
                await connection.execute(
                    "insert into public.dialog_participants (dialog_id, user_id, role) values (%s, %s, %s) "
                    "on conflict do nothing",
                    (dialog.id, user.id, "member" if position else "owner"),
                )
