"""No secret, token or row content comes out of a worker, but to whom it is for.

Two workers, by both captures and both transports, at debug level and with every library allowed to speak, go
through what a bad day has: refused tokens, nonsense, errors of the database, a lost upstream, a drain.  Every
secret, and what rows and messages hold, has the word canary in it.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.clock import SystemClock
from bridge.local.stack import LocalStack
from bridge.minting import mint_token
from tests.support.clients import websocket_client
from tests.support.stack import MIGRATIONS, QUICK
from tests.support.worker import Worker, running_worker

CANARY = "canary"
SECRET = "canary-jwt-secret-of-more-than-32-bytes"
PASSWORD = "canary-db-password"

WAYS = (
    {"BRIDGE_CAPTURE": "journal", "BRIDGE_UPSTREAM": "wal"},
    {"BRIDGE_CAPTURE": "tables", "BRIDGE_UPSTREAM": "realtime"},
)

_NOTES = """
create table public.notes (id int primary key, body text, data jsonb);
alter table public.notes enable row level security;
-- Only Postgres knows what it answers, and at times it quotes the row.
create function public.moody(body text) returns boolean language plpgsql volatile as $$
begin
    if body like '%raise%' then raise exception 'no %', body; end if;
    if body like '%cast%' then return body::int > 0; end if;
    perform pg_sleep(0);
    return true;
end $$;
create policy notes_select on public.notes for select to authenticated using (public.moody(body));
grant select on public.notes to authenticated, service_role;
alter publication supabase_realtime add table public.notes;
select public.bridge_watch('public.notes');
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack whose secret is a canary."""
    running = LocalStack(jwt_secret=SECRET, timing=QUICK)
    asyncio.run(running.start())
    try:
        asyncio.run(running.apply_sql(MIGRATIONS))
        yield running
    finally:
        asyncio.run(running.stop())


class Outcome:
    """What came out, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: str) -> None:
        self.texts[where] = self.texts.get(where, "") + text

    def leaks(self, *secrets: str) -> list[tuple[str, str]]:
        """Return where a secret shows, with what is around it."""
        return [
            (where, text[max(0, place - 200) : place + 100])
            for where, text in self.texts.items()
            for secret in (CANARY, *secrets)
            if (place := text.find(secret)) >= 0
        ]


@contextlib.asynccontextmanager
async def _workers(stack: LocalStack) -> AsyncIterator[list[Worker]]:
    database = stack.database_url.replace("@", f":{PASSWORD}@", 1)
    assert PASSWORD in database
    async with contextlib.AsyncExitStack() as running:
        workers = [
            await running.enter_async_context(
                running_worker(
                    stack,
                    command=("tests.support.loud_worker",),
                    BRIDGE_LOG_LEVEL="debug",
                    BRIDGE_TABLES="public.dialogs,public.messages,public.notes",
                    BRIDGE_DRAIN_TIMEOUT_S="1",
                    SUPABASE_DB_URL=database,
                    **way,
                )
            )
            for way in WAYS
        ]
        yield workers


async def _refused(worker: Worker, tokens: list[str], outcome: Outcome) -> None:
    """Try every wrong way in, over both transports."""
    async with httpx.AsyncClient(base_url=worker.url) as http:
        for token in tokens:
            for answer in (
                await http.get("/poll", headers={"Authorization": f"Bearer {token}"}),
                await http.get("/poll", params={"token": token}),
                await http.get(
                    "/poll", params={"timeout_s": CANARY}, headers={"Authorization": f"Bearer {token}"}
                ),
            ):
                assert answer.status_code in (400, 401)
                outcome.add("poll", answer.text + str(answer.headers))
            with contextlib.suppress(ConnectionClosed):
                async with connect(worker.ws_url) as socket:
                    await socket.send(json.dumps({"type": "auth", "token": token}))
                    async for text in socket:
                        outcome.add("refusal", str(text))
            outcome.add("refusal", str(socket.close_reason))


async def _nonsense(worker: Worker, token: str, outcome: Outcome) -> None:
    """Send what no client should."""
    for message in (
        f'{{"type":"{CANARY}"}}',
        f'{{"type":"subscribe","dialogs":"{CANARY}"}}',
        f'{{"type":"subscribe","since":{{"a":"{CANARY}"}}}}',
        f'{{"type":"auth","token":["{CANARY}"]}}',
        f'{{"type":"auth","token":"{CANARY}"}}',
        f"{CANARY} is no JSON",
        f'{{"{CANARY}":1',
    ):
        with contextlib.suppress(ConnectionClosed):
            async with connect(worker.ws_url, subprotocols=["bridge.v1", f"bearer.{token}"]) as socket:  # type: ignore[list-item]
                await socket.send(message)
                async for text in socket:
                    outcome.add("nonsense", str(text))
        outcome.add("nonsense", str(socket.close_reason))


async def _admin(worker: Worker, outcome: Outcome) -> None:
    async with httpx.AsyncClient(base_url=worker.admin_url) as http:
        for path in ("/metrics", "/connections", "/healthz", "/readyz", f"/{CANARY}"):
            answer = await http.get(path)
            outcome.add(path.replace(CANARY, "unknown"), answer.text.replace(f"/{CANARY}", ""))


async def _come_back(worker: Worker, token: str, cursor: str) -> None:
    """Resume over both transports, also with a cursor that is none."""
    async with websocket_client(worker.ws_url, token, since=cursor):
        pass
    async with httpx.AsyncClient(base_url=worker.url) as http:
        headers = {"Authorization": f"Bearer {token}"}
        for since in (cursor, f"{CANARY}-0"):
            query = {"since": since, "timeout_s": "0"}
            assert (await http.get("/poll", params=query, headers=headers)).status_code == 200


async def test_nothing_comes_out_of_a_worker_but_to_whom_it_is_for(stack: LocalStack):
    """Not to stdout or stderr, nor to the admin port, nor to who is refused."""
    outcome, user, dialog = Outcome(), str(uuid.uuid4()), str(uuid.uuid4())
    token = stack.token(user, email=f"{CANARY}@example.com")
    now = SystemClock().now()
    wrong = mint_token(
        "another secret of 32 bytes or more", user_id=user, role="authenticated", ttl_s=60, now=now
    )
    refused = [
        wrong,
        stack.token(user, ttl_s=-5),
        stack.token(user, role="service_role"),
        f"{CANARY}.{CANARY}.{CANARY}",
        CANARY,
    ]
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        await connection.execute(_NOTES)
        async with _workers(stack) as workers, contextlib.AsyncExitStack() as sockets:
            clients = [
                await sockets.enter_async_context(websocket_client(worker.ws_url, token))
                for worker in workers
            ]
            await connection.execute(
                "insert into public.dialogs (id, owner_id, title) values (%s, %s, %s)", (dialog, user, CANARY)
            )

            async def say_until_told(body: str) -> None:
                """Say it again until all have heard it: where tables are captured an outage swallows some."""
                async with asyncio.timeout(60):
                    while not all(
                        any(m.get("new", {}).get("body") == body for m in c.messages) for c in clients
                    ):
                        await connection.execute(
                            "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, %s)",
                            (dialog, user, body),
                        )
                        await asyncio.sleep(0.3)

            await say_until_told(f"{CANARY} first")
            async with asyncio.TaskGroup() as tasks:
                for worker in workers:
                    tasks.create_task(_refused(worker, refused, outcome))
                    tasks.create_task(_nonsense(worker, token, outcome))
            # A row that is too large for Realtime, one that Postgres is asked about, and two about which it fails.
            await connection.execute(
                "insert into public.notes values (1, %s || repeat('x', 1500000))", (CANARY,)
            )
            await connection.execute("insert into public.notes values (2, %s)", (f"{CANARY} quiet",))
            for client in clients:
                await client.until(lambda m: m.get("new", {}).get("id") == 2)
            await connection.execute(
                "insert into public.notes values (3, %s), (4, %s)", (f"{CANARY} raise", f"{CANARY} cast")
            )
            # The same question, and the database refuses to hear it.
            await connection.execute("revoke execute on function public.bridge_visible from service_role")
            await connection.execute("insert into public.notes values (5, %s)", (f"{CANARY} unheard",))
            for worker in workers:
                await worker.logged("change_not_applied")
            await connection.execute("grant execute on function public.bridge_visible to service_role")
            for worker in workers:
                await _admin(worker, outcome)
            # Upstream is lost, in each of its ways, and comes back.
            stack.kill_api()
            await connection.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where active"
            )
            for worker in workers:
                await worker.logged("upstream_lost")
                await _admin(worker, outcome)
            await stack.start_api()
            for worker, client in zip(workers, clients, strict=True):
                await worker.logged("upstream_joined", count=2)
                cursor = next(m["cursor"] for m in reversed(client.messages) if m.get("cursor"))
                await _come_back(worker, token, cursor)
            await say_until_told(f"{CANARY} last")
            for worker in workers:
                await _admin(worker, outcome)
        for way, worker in zip(WAYS, workers, strict=True):
            assert worker.process.returncode == 0
            assert len(worker.log) > 20
            outcome.add(f"log {way}", worker.raw_log)
    signatures = [secret.rpartition(".")[2] for secret in (token, stack.service_role_key, *refused[:3])]
    assert outcome.leaks(stack.service_role_key, token, *signatures) == []
    assert {"poll", "refusal", "nonsense", "/metrics", "/connections"} <= set(outcome.texts)
