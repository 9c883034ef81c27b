"""The demo's users, their dialogs, and what they have said so far."""

import uuid

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
    DemoDialog("10000000-0000-4000-8000-000000000003", "Lunch", (ANN, DAN, CARA)),
)

SAID = (
    (DIALOGS[0], ANN, "Saturday looks dry until the evening. Shall we?"),
    (DIALOGS[0], BOB, "Yes! The long way round the lake?"),
    (DIALOGS[0], CARA, "I bring the map, and coffee."),
    (DIALOGS[1], DAN, "The changelog is ready for review."),
    (DIALOGS[1], BOB, "Then Tuesday it is."),
    (DIALOGS[2], DAN, "The new place on the corner has a table at noon."),
    (DIALOGS[2], ANN, "See you there."),
)
"""Dialog, sender and body of what the demo begins with, oldest first."""

_SAID_IDS = uuid.UUID("20000000-0000-4000-8000-000000000000")


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
        for position, (dialog, sender, body) in enumerate(SAID):
            await connection.execute(
                "insert into public.messages (id, dialog_id, sender_id, body, created_at) "
                "values (%s, %s, %s, %s, now() - make_interval(mins => %s)) on conflict do nothing",
                (uuid.UUID(int=_SAID_IDS.int + position), dialog.id, sender.id, body, len(SAID) - position),
            )
