"""The main job through real processes: Postgres, Realtime, ``bridge run``, and clients over sockets."""

import asyncio
import random
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack

import httpx
import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import Client, Event, Poller, websocket_client
from tests.support.witness import Writer, install, witnessed
from tests.support.worker import running_worker

USERS = [str(uuid.UUID(int=0xABCDEF00_0000_4000_8000_000000000000 + n)) for n in range(50)]
CONNECTIONS_PER_USER = 4
WRITERS = 4
ROUNDS = 6
CHANGES_PER_ROUND = 200


def experienced(events: Sequence[Event]) -> dict[str, list[tuple[str, str, str]]]:
    """Return what a client got: by dialog, (kind, eventType, row id) in order."""
    got: dict[str, list[tuple[str, str, str]]] = {}
    for event in events:
        kind = "dialog" if event["table"] == "dialogs" else "message"
        row = event["old"] if event["eventType"] == "DELETE" else event["new"]
        got.setdefault(event["dialog_id"], []).append((kind, event["eventType"], row["id"]))
    return got


class Chat:
    """The rows there are, so that writers can choose; each row is written once a round.

    Realtime tells of a row as it is when it polls: a row that is written twice in between would be told once.
    """

    def __init__(self, chooser: random.Random) -> None:
        self.choose = chooser
        self.dialogs: list[str] = []
        self.members: dict[str, set[str]] = {}
        self.messages: dict[str, str] = {}
        self._touched: set[object] = set()

    def begin_round(self) -> None:
        self._touched.clear()

    def take(self, *things: object) -> bool:
        """True if nobody has written these in this round."""
        if self._touched.intersection(things):
            return False
        self._touched.update(things)
        return True

    async def write_one(self, writer: Writer) -> None:
        """Make one random change."""
        while True:
            match self.choose.randrange(20):
                case 0:
                    owner = self.choose.choice(USERS)
                    dialog = await writer.insert_dialog(owner, "a dialog")
                    self.dialogs.append(dialog)
                    self.members[dialog] = set()
                    self.take(dialog)
                    return None
                case 1 if self.take(dialog := self.choose.choice(self.dialogs)):
                    return await writer.rename_dialog(dialog, f"title {self.choose.random()}")
                case 2 | 3:
                    dialog, user = self.choose.choice(self.dialogs), self.choose.choice(USERS)
                    if user not in self.members[dialog] and self.take((dialog, user)):
                        self.members[dialog].add(user)
                        return await writer.add_member(dialog, user)
                case 4:
                    dialog = self.choose.choice(self.dialogs)
                    if self.members[dialog]:
                        user = self.choose.choice(sorted(self.members[dialog]))
                        if self.take((dialog, user)):
                            self.members[dialog].discard(user)
                            return await writer.remove_member(dialog, user)
                case 5 | 6 | 7 if self.messages:
                    message = self.choose.choice(sorted(self.messages))
                    if self.take(message):
                        return await writer.update_message(self.messages[message], message, "edited")
                case 8 | 9 if self.messages:
                    message = self.choose.choice(sorted(self.messages))
                    if self.take(message):
                        return await writer.delete_message(self.messages.pop(message), message)
                case _:
                    dialog = self.choose.choice(self.dialogs)
                    message = await writer.insert_message(dialog, self.choose.choice(USERS), "hello")
                    self.messages[message] = dialog
                    self.take(message)
                    return None


async def _write_rounds(stack: LocalStack, chat: Chat, watcher: Client, watched_dialog: str) -> None:
    async with AsyncExitStack() as connections:
        writers = [
            Writer(
                await connections.enter_async_context(
                    await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True)
                )
            )
            for _ in range(WRITERS)
        ]
        for _ in range(ROUNDS):
            chat.begin_round()
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(_write(writer, chat, CHANGES_PER_ROUND // WRITERS))
            # The round is over when the last change of all has come through.
            marker = await writers[0].insert_message(watched_dialog, USERS[0], "end of round")
            await watcher.until(lambda m, marker=marker: m.get("new", {}).get("id") == marker, timeout_s=60)


async def _write(writer: Writer, chat: Chat, count: int) -> None:
    for _ in range(count):
        await chat.write_one(writer)


@pytest.mark.parametrize(
    ("capture", "upstream"), [("journal", "realtime"), ("journal", "wal"), ("tables", "realtime")]
)
async def test_every_user_gets_exactly_what_rls_shows_them_once_and_in_order(
    stack: LocalStack, capture: str, upstream: str
):
    """200 connections of 50 users and 1,200 changes: what Postgres says each user sees, and nothing else."""
    await install(stack.database_url, USERS)
    chat = Chat(random.Random(7))
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        # Before anybody listens: dialogs that exist already, with their first members.
        first = Writer(connection)
        for n in range(20):
            dialog = await first.insert_dialog(USERS[n], "an old dialog")
            chat.dialogs.append(dialog)
            chat.members[dialog] = set(chat.choose.sample(USERS, 5))
            for user in sorted(chat.members[dialog]):
                await first.add_member(dialog, user)
        await connection.execute("truncate witness.seen")
    settings = {
        "BRIDGE_CAPTURE": capture,
        "BRIDGE_UPSTREAM": upstream,
        "SUPABASE_DB_URL": stack.database_url,
    }
    async with running_worker(stack, **settings) as worker, AsyncExitStack() as sockets:
        clients: dict[str, list[Client]] = {user: [] for user in USERS}
        for user in USERS:
            for _ in range(CONNECTIONS_PER_USER):
                client = websocket_client(worker.ws_url, stack.token(user))
                clients[user].append(await sockets.enter_async_context(client))
        # USERS[0] owns the first dialog for good: its client sees the end of each round.
        await _write_rounds(stack, chat, clients[USERS[0]][0], chat.dialogs[0])
        expected = await witnessed(stack.database_url)
        wanted = {user: sum(map(len, of_user.values())) for user, of_user in expected.items()}
        async with asyncio.timeout(30):
            for user in USERS:
                for client in clients[user]:
                    async with client.changed:
                        await client.changed.wait_for(
                            lambda c=client, u=user: len(c.events) >= wanted.get(u, 0)
                        )
        for user in USERS:
            for client in clients[user]:
                assert experienced(client.events) == expected.get(user, {}), user
                cursors = [event["cursor"] for event in client.events]
                assert len(set(cursors)) == len(cursors)
                assert {m["type"] for m in client.messages} <= {
                    "connected",
                    "status",
                    "subscribed",
                    "dialog_update",
                    "new_message",
                    "message_update",
                    "message_delete",
                }
    assert "Traceback" not in worker.raw_log


async def _dialog(connection: psycopg.AsyncConnection, owner: str, *members: str) -> str:
    dialog = str(uuid.uuid4())
    await connection.execute(
        "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'd')", (dialog, owner)
    )
    for member in members:
        await connection.execute(
            "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)", (dialog, member)
        )
    return dialog


async def _say(connection: psycopg.AsyncConnection, dialog: str, sender: str, body: str) -> None:
    await connection.execute(
        "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, %s)", (dialog, sender, body)
    )


async def test_a_row_reaches_websocket_and_long_poll_of_participants_and_no_stranger(stack: LocalStack):
    """Owner and participant hear of a message over both transports; a stranger hears nothing."""
    owner, member, stranger = (str(uuid.uuid4()) for _ in range(3))
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        running_worker(stack) as worker,
    ):
        dialog = await _dialog(connection, owner, member)
        own = await _dialog(connection, stranger)
        async with (
            websocket_client(worker.ws_url, stack.token(owner)) as a,
            websocket_client(worker.ws_url, stack.token(stranger)) as c,
            httpx.AsyncClient(base_url=worker.url) as http,
        ):
            polled = {user: Poller(http, stack.token(user)) for user in (member, stranger)}
            for poller in polled.values():
                await poller.poll()
            await _say(connection, dialog, owner, "for members")
            await _say(connection, own, stranger, "for the stranger")
            await a.until(lambda m: m.get("new", {}).get("body") == "for members")
            await polled[member].until(lambda e: e["new"].get("body") == "for members")
            await c.until(lambda m: m.get("new", {}).get("body") == "for the stranger")
            await polled[stranger].until(lambda e: e["new"].get("body") == "for the stranger")
            for events in (c.events, polled[stranger].events):
                assert all(event["dialog_id"] == own for event in events)


async def test_who_leaves_a_dialog_gets_its_withdrawal_and_no_message_after_it(stack: LocalStack):
    """A membership deleted: next the dialog is withdrawn; inserted again: it appears, and messages come."""
    owner, member = str(uuid.uuid4()), str(uuid.uuid4())
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        running_worker(stack) as worker,
    ):
        dialog = await _dialog(connection, owner, member)
        await asyncio.sleep(1)  # the client comes when the worker has heard of the dialog
        async with websocket_client(worker.ws_url, stack.token(member)) as client:
            await _say(connection, dialog, owner, "before")
            await connection.execute("delete from public.dialog_participants where dialog_id = %s", (dialog,))
            await _say(connection, dialog, owner, "not for the one who left")
            await client.until(lambda m: m.get("eventType") == "DELETE")
            await connection.execute(
                "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
                (dialog, member),
            )
            await _say(connection, dialog, owner, "after")
            await client.until(lambda m: m.get("new", {}).get("body") == "after")
            told = [
                (e["type"], e["eventType"], e["new"].get("body"))
                for e in client.events
                if e["dialog_id"] == dialog
            ]
            assert [t for t in told if t[2] != "before"] == [
                ("dialog_update", "DELETE", None),
                ("dialog_update", "INSERT", None),
                ("new_message", "INSERT", "after"),
            ]
            withdrawn = next(e for e in client.events if e["eventType"] == "DELETE")
            assert (withdrawn["old"], withdrawn["new"]) == ({"id": dialog}, {})
            assert not [m for m in client.messages if m["type"] == "resync"]


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
async def test_what_the_triggers_missed_for_a_moment_is_loaded_and_read_again(
    stack: LocalStack, upstream: str
):
    """Off and on again in one transaction, as a data fix does: no row of the journal says what happened."""
    owner, member = str(uuid.uuid4()), str(uuid.uuid4())
    database = {"SUPABASE_DB_URL": stack.database_url} if upstream == "wal" else {}
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        running_worker(stack, BRIDGE_UPSTREAM=upstream, **database) as worker,
        websocket_client(worker.ws_url, stack.token(owner)) as owners,
    ):
        dialog = await _dialog(connection, owner, member)
        await _say(connection, dialog, owner, "for both")
        await owners.until(lambda m: m.get("new", {}).get("body") == "for both")
        async with websocket_client(worker.ws_url, stack.token(member)) as client:
            await _say(connection, dialog, owner, "for both, too")
            cursor = (await client.until(lambda m: m.get("new", {}).get("body") == "for both, too"))["cursor"]
            async with connection.transaction():
                for table in ("dialog_participants", "messages"):
                    await connection.execute(f"alter table public.{table} disable trigger user".encode())
                await connection.execute(
                    "delete from public.dialog_participants where user_id = %s", (member,)
                )
                await _say(connection, dialog, owner, "unheard")
                for table in ("dialog_participants", "messages"):
                    await connection.execute(f"alter table public.{table} enable trigger user".encode())
            assert (await client.until_type("resync"))["reason"] == "policies_changed"
            await owners.until_type("resync")
            missed = await worker.logged("replica_writes_missed", count=2)
            assert missed["hint"].startswith("select public.bridge_watch('public.")
            await connection.execute("update public.messages set body = 'heard' where body = 'unheard'")
            await _say(connection, dialog, owner, "not for the one who left")
            await owners.until(lambda m: m.get("new", {}).get("body") == "not for the one who left")
            assert [e["new"]["body"] for e in owners.events if e["table"] == "messages"][-2:] == [
                "heard",
                "not for the one who left",
            ]
            for table in ("dialog_participants", "messages"):
                await connection.execute("select public.bridge_watch(%s)", (f"public.{table}",))
            assert "not for the one who left" not in str(client.messages)
            assert "heard" not in str(client.messages)
        async with websocket_client(worker.ws_url, stack.token(owner), since=cursor) as late:
            assert (await late.until_type("subscribed"))["recovered"] is False


async def _status(client: Client, upstream: str, *, after: int = 0) -> None:
    async with asyncio.timeout(20), client.changed:
        await client.changed.wait_for(
            lambda: any(m == {"type": "status", "upstream": upstream} for m in client.messages[after:])
        )


async def test_without_a_journal_a_killed_realtime_costs_seconds_and_a_resync(stack: LocalStack):
    """Without a journal: live within 5 s, status and resync sent, the worker not restarted."""
    owner = str(uuid.uuid4())
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        running_worker(stack, BRIDGE_CAPTURE="tables") as worker,
        websocket_client(worker.ws_url, stack.token(owner)) as client,
    ):
        dialog = await _dialog(connection, owner)
        await client.until(lambda m: m.get("dialog_id") == dialog)
        seen = len(client.messages)
        stack.kill_api()
        await _status(client, "down", after=seen)
        await stack.start_api()
        async with asyncio.timeout(5):
            await _status(client, "live", after=seen)
        await _say(connection, dialog, owner, "after the restart")
        await client.until(lambda m: m.get("new", {}).get("body") == "after the restart")
        kinds = [m["type"] if m["type"] != "status" else m["upstream"] for m in client.messages[seen:]]
        assert kinds == ["down", "catching_up", "resync", "live", "new_message"]
        assert worker.process.returncode is None
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{worker.admin_url}/readyz")).status_code == 200


async def test_a_client_that_comes_back_gets_what_it_missed_as_of_now(stack: LocalStack):
    """Resume over a reconnect: missed messages once and in order, a withdrawal included."""
    owner, member = str(uuid.uuid4()), str(uuid.uuid4())
    async with (
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        running_worker(stack) as worker,
        websocket_client(worker.ws_url, stack.token(owner)) as witness,
    ):
        kept, lost = await _dialog(connection, owner, member), await _dialog(connection, owner, member)
        async with websocket_client(worker.ws_url, stack.token(member)) as client:
            await _say(connection, kept, owner, "first")
            cursor = (await client.until(lambda m: m.get("new", {}).get("body") == "first"))["cursor"]
        for n in range(5):
            await _say(connection, kept, owner, f"missed {n}")
            await _say(connection, lost, owner, f"of the dialog that will be lost {n}")
        await connection.execute(
            "delete from public.dialog_participants where dialog_id = %s and user_id = %s", (lost, member)
        )
        await _say(connection, kept, owner, "last")
        await witness.until(lambda m: m.get("new", {}).get("body") == "last")
        async with websocket_client(worker.ws_url, stack.token(member), since=cursor) as client:
            await client.until(lambda m: m.get("new", {}).get("body") == "last")
            assert (await client.until_type("subscribed"))["recovered"] is True
            bodies = [e["new"].get("body") for e in client.events if e["dialog_id"] == kept]
            assert bodies == [*(f"missed {n}" for n in range(5)), "last"]
            assert [(e["type"], e["eventType"]) for e in client.events if e["dialog_id"] == lost] == [
                ("dialog_update", "DELETE")
            ]


async def test_the_worker_drains_on_sigterm(stack: LocalStack):
    """SIGTERM: clients are asked to reconnect, closed with 1012, and the process exits with 0."""
    async with running_worker(stack) as worker:
        async with websocket_client(worker.ws_url, stack.token(str(uuid.uuid4()))) as client:
            code = await worker.stop()
            await client.until_type("reconnect")
            await client.socket.wait_closed()
            assert client.socket.close_code == 1012
        assert code == 0
