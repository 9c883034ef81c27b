"""Writes a message into a random dialog of the demo now and then, as one of its members."""

import asyncio
import random

import psycopg
import structlog

from bridge.demo.seed import DIALOGS

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAUSE_S = 4.0
"""Seconds between two messages: often enough to see that the page is live."""

_LINES = (
    "Who brings the map?",
    "I can do Saturday.",
    "The forecast looks good.",
    "Changelog is ready for review.",
    "Shall we move it to Tuesday?",
    "Fine with me.",
    "One moment, I am checking.",
    "Done!",
)


async def write_now_and_then(database_url: str, *, chooser: random.Random) -> None:
    """Write for ever; a database that is away is tried again at the next message."""
    while True:
        await asyncio.sleep(PAUSE_S)
        dialog = chooser.choice(DIALOGS)
        try:
            async with await psycopg.AsyncConnection.connect(database_url) as connection:
                await connection.execute(
                    "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, %s)",
                    (dialog.id, chooser.choice(dialog.members).id, chooser.choice(_LINES)),
                )
        except psycopg.Error as error:
            log.warning("demo_message_failed", reason=type(error).__name__)
