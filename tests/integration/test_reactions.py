"""A table whose policy reads the messages, as those of reactions, receipts and attachments do."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.stack import local_stack
from tests.support.worker import running_worker

SCHEMA = """
create table public.reactions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) {},
    sign text not null
);
create index on public.reactions (message_id);
alter table public.reactions enable row level security;
create policy p on public.reactions for select to authenticated using (
    exists (select 1 from public.messages m where m.id = reactions.message_id));
grant select on public.reactions to authenticated;
select public.bridge_watch('public.reactions');
"""


@pytest.fixture(params=["", "deferrable initially deferred"])
def reactions(request: pytest.FixtureRequest) -> Iterator[tuple[LocalStack, bool]]:
    """A project with such a table, and whether its foreign key is looked at only at the end."""
    with local_stack() as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(SCHEMA.format(request.param).encode())
        yield stack, bool(request.param)


async def test_a_message_has_nobody_read_again_who_sees_its_reactions(reactions: tuple[LocalStack, bool]):
    """There are none yet: the foreign key sees to it, if it is checked at once; else there may be."""
    stack, deferred = reactions
    ann, dialog = str(uuid.uuid4()), str(uuid.uuid4())
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db:
        await db.execute(
            "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'x')", (dialog, ann)
        )
        async with (
            running_worker(stack, BRIDGE_TABLES="public.dialogs,public.messages,public.reactions") as worker,
            websocket_client(worker.ws_url, stack.token(ann)) as client,
        ):
            message = str(uuid.uuid4())
            async with db.transaction():
                if deferred:
                    await db.execute(
                        "insert into public.reactions (message_id, sign) values (%s, 'first')", (message,)
                    )
                await db.execute(
                    "insert into public.messages (id, dialog_id, sender_id, body) values (%s, %s, %s, 'hello')",
                    (message, dialog, ann),
                )
            assert (await client.until_type("new_message"))["new"]["id"] == message
            await db.execute(
                "insert into public.reactions (message_id, sign) values (%s, 'second')", (message,)
            )
            await client.until(lambda m: m["type"] == "row_change" and m["new"]["sign"] == "second")
            said = [m["type"] for m in client.messages]
            assert ("resync" in said) is deferred, said


@pytest.mark.parametrize("reactions", [""], indirect=True)
async def test_a_dialog_has_nobody_read_again_but_what_one_statement_writes_is_told(
    reactions: tuple[LocalStack, bool],
):
    """Reactions hang on it by their messages, which name it; the order within a statement is Postgres's."""
    stack, _ = reactions
    ann, dialog, message = (str(uuid.uuid4()) for _ in range(3))
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db,
        running_worker(stack, BRIDGE_TABLES="public.dialogs,public.messages,public.reactions") as worker,
        websocket_client(worker.ws_url, stack.token(ann)) as client,
    ):

        async def react(sign: str, before: str = "") -> None:
            await db.execute(
                f"{before} insert into public.reactions (message_id, sign) values ('{message}', '{sign}')".encode()
            )

        await db.execute(
            "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'x')", (dialog, ann)
        )
        new = f"insert into public.messages (id, dialog_id, sender_id, body) values ('{message}', '{dialog}', '{ann}', 'hello')"
        await db.execute(new.encode())
        await react("first")
        await client.until(lambda m: m["type"] == "row_change" and m["new"]["sign"] == "first")
        assert "resync" not in [m["type"] for m in client.messages]

        message = str(uuid.uuid4())
        new = new.replace(new.split("'")[1], message)
        await react("second", f"with later as ({new})")  # the reaction is written before its message
        await react("third")
        await client.until(lambda m: m["type"] == "row_change" and m["new"]["sign"] == "third")
        said = [m["new"]["sign"] for m in client.messages if m["type"] == "row_change"]
        assert said == ["first", "second", "third"] or "resync" in [m["type"] for m in client.messages]
