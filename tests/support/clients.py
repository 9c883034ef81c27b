"""Clients of the bridge, as a page would be one."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Event = dict[str, Any]


class Client:
    """A WebSocket client that keeps everything it was sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Event] = []
        self.changed = asyncio.Condition()

    @property
    def events(self) -> list[Event]:
        """The row events, in the order of their arrival."""
        return [m for m in self.messages if "eventType" in m]

    async def read(self) -> None:
        """Read until the connection ends."""
        with contextlib.suppress(ConnectionClosed):  # its code is in the socket
            async for text in self.socket:
                self.messages.append(json.loads(text))
                async with self.changed:
                    self.changed.notify_all()
        async with self.changed:
            self.changed.notify_all()

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def until(self, condition: Callable[[Event], bool], *, timeout_s: float = 20) -> Event:
        """Wait for a message that fulfils ``condition`` and return the first one that does."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: any(map(condition, self.messages)))
        return next(filter(condition, self.messages))

    async def until_type(self, type_: str, *, timeout_s: float = 20) -> Event:
        """Wait for a message of this type."""
        return await self.until(lambda m: m["type"] == type_, timeout_s=timeout_s)


@contextlib.asynccontextmanager
async def websocket_client(
    url: str, token: str, *, tls: ssl.SSLContext | None = None, **subscription: Any
) -> AsyncIterator[Client]:
    """Connect, authenticate, subscribe to everything (or as told), and read in the background."""
    secure = {} if tls is None else {"ssl": tls}
    async with (
        connect(url, subprotocols=["bridge.v1", f"bearer.{token}"], max_size=None, **secure) as socket,  # type: ignore[list-item]
        asyncio.TaskGroup() as tasks,
    ):
        client = Client(socket)
        reader = tasks.create_task(client.read(), name="client")
        try:
            await client.until_type("connected")
            await client.send(type="subscribe", **subscription)
            await client.until_type("subscribed")
            yield client
        finally:
            await socket.close()
            await reader


class Poller:
    """A long-poll client that keeps every event it got."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._token = token
        self.cursor: str | None = None
        self.events: list[Event] = []

    async def poll(self, timeout_s: float = 10) -> dict[str, Any]:
        """Poll once."""
        query = {"timeout_s": str(timeout_s)} | ({} if self.cursor is None else {"since": self.cursor})
        answer = await self._http.get(
            "/poll", params=query, headers={"Authorization": f"Bearer {self._token}"}, timeout=timeout_s + 10
        )
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        self.cursor = body["cursor"]
        self.events += body["events"]
        return body

    async def until(self, condition: Callable[[Event], bool], *, timeout_s: float = 20) -> None:
        """Poll until an event fulfils ``condition``."""
        async with asyncio.timeout(timeout_s):
            while not any(map(condition, self.events)):
                await self.poll()
