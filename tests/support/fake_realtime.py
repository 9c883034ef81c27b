"""A Realtime that misbehaves on demand, for what a real one does only on bad days."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.server import ServerConnection, serve


class FakeRealtime:
    """Answers joins and heartbeats as Realtime does; everything else is told by the test.

    Attributes:
        sockets: Connections, in the order in which they were opened.
        joins: Payloads of the joins that were asked for.
        heartbeats: Number of heartbeats received.
        answers_joins: False: a join gets its `ok`, but never the system message.
        answers_heartbeats: False: no reply to them.
    """

    def __init__(self) -> None:
        self.sockets: list[ServerConnection] = []
        self.joins: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.heartbeats = 0
        self.answers_joins = True
        self.answers_heartbeats = True
        self.url = ""

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        async for text in socket:
            message = json.loads(text)
            match message["event"]:
                case "phx_join":
                    self.joins.append(message["payload"])
                    bindings = message["payload"]["config"]["postgres_changes"]
                    reply = [{"id": n, **binding} for n, binding in enumerate(bindings)]
                    await self.reply(socket, message, {"postgres_changes": reply})
                    if self.answers_joins:
                        await self.system("ok", "Subscribed to PostgreSQL", socket=socket)
                case "heartbeat":
                    self.heartbeats += 1
                    if self.answers_heartbeats:
                        await self.reply(socket, message, {})
                case "access_token":
                    self.tokens.append(message["payload"]["access_token"])
                    await self.system("ok", "Subscribed to PostgreSQL", socket=socket)

    async def reply(
        self, socket: ServerConnection, message: dict[str, Any], response: dict[str, Any]
    ) -> None:
        payload = {"response": response, "status": "ok"}
        await self.send(
            {"event": "phx_reply", "payload": payload, "ref": message["ref"], "topic": message["topic"]},
            socket,
        )

    async def system(self, status: str, message: str, *, socket: ServerConnection | None = None) -> None:
        payload = {"channel": "bridge", "extension": "postgres_changes", "message": message, "status": status}
        await self.send(
            {"event": "system", "payload": payload, "ref": None, "topic": "realtime:bridge"}, socket
        )

    async def change(self, **data: Any) -> None:
        """Send a change; fields that are not given are those of an INSERT into public.t (id int)."""
        defaults = {
            "schema": "public",
            "table": "t",
            "type": "INSERT",
            "columns": [{"name": "id", "type": "int4"}],
            "commit_timestamp": "2026-01-01T00:00:00.000Z",
            "errors": None,
            "record": {"id": 1},
        }
        payload = {"ids": [0], "data": {**defaults, **data}}
        await self.send(
            {"event": "postgres_changes", "payload": payload, "ref": None, "topic": "realtime:bridge"}
        )

    async def send(self, frame: Any, socket: ServerConnection | None = None) -> None:
        """Send a frame on the latest connection; text goes as it is."""
        await (socket or self.sockets[-1]).send(
            frame if isinstance(frame, str | bytes) else json.dumps(frame)
        )


@contextlib.asynccontextmanager
async def fake_realtime() -> AsyncIterator[FakeRealtime]:
    """Run one on a free port."""
    fake = FakeRealtime()
    async with serve(fake._serve, "127.0.0.1", 0, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        fake.url = f"http://127.0.0.1:{port}"
        yield fake


async def eventually(condition: Any, *, timeout_s: float = 5) -> None:
    """Wait until ``condition()`` is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
