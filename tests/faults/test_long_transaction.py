"""A transaction takes an early id and commits when many later ones have been told."""

import asyncio
import uuid

import psycopg
import pytest

from bridge.bench.stage import Stage
from bridge.bench.world import hold_transaction
from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.faults import rereads, survives
from tests.support.worker import running_worker


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
async def test_its_change_comes_and_cursors_from_before_know_that_it_is_missing(upstream: str):
    """Clients come and go meanwhile; so does the worker's connection."""

    async def fault(stage: Stage) -> None:
        async with asyncio.TaskGroup() as tasks:
            for commit in (True, False):
                holding = hold_transaction(stage.local.database_url, stage.world, for_s=4, commit=commit)
                tasks.create_task(holding)
            for _ in range(3):
                await asyncio.sleep(1)
                stage.api.cut()
                for page in stage.pages:
                    page.drop()

    assert rereads(await survives(fault, BRIDGE_UPSTREAM=upstream)) == 0


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
async def test_who_is_removed_while_a_message_is_written_is_not_sent_it(stack: LocalStack, upstream: str):
    """The message took its id first, and was committed a moment after the removal."""
    owner, guest = str(uuid.uuid4()), str(uuid.uuid4())
    url = stack.database_url
    async with (
        running_worker(
            stack, BRIDGE_CAPTURE="journal", BRIDGE_UPSTREAM=upstream, SUPABASE_DB_URL=url
        ) as worker,
        websocket_client(worker.ws_url, stack.token(guest)) as client,
        await psycopg.AsyncConnection.connect(url) as writing,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):
        # What is read before the stream has begun knows no order but that of ids.
        await worker.logged("journal_streamed")
        await other.execute("insert into public.dialogs (owner_id, title) values (%s, 'first')", (guest,))
        await client.until(lambda m: m.get("new", {}).get("title") == "first")
        for _ in range(5):
            dialog = str(uuid.uuid4())
            await other.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (dialog, owner))
            await other.execute(
                "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)", (dialog, guest)
            )
            await client.until(lambda m, d=dialog: m.get("dialog_id") == d)  # type: ignore[misc]
            await writing.execute(
                "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'hidden')",
                (dialog, owner),
            )
            await other.execute("delete from public.dialog_participants where user_id = %s", (guest,))
            await writing.commit()
            await client.until(lambda m, d=dialog: (m.get("eventType"), m.get("dialog_id")) == ("DELETE", d))  # type: ignore[misc]
        # What is committed later comes later.
        await other.execute("insert into public.dialogs (owner_id, title) values (%s, 'last')", (guest,))
        await client.until(lambda m: m.get("new", {}).get("title") == "last")
    assert not [event for event in client.events if event["table"] == "messages"]
