"""A page as the soak has hundreds: a picture of its rows, kept by events, over WebSocket or long poll."""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bridge.bench.balancer import WORKER_HEADER
from bridge.bench.reader import Reader, Rows
from bridge.clock import SystemClock

RECONNECT_S = 0.3
"""Longest wait before a page connects again: a fault is over sooner than with a real page's back-off."""

ANSWER_S = 30.0
"""Time for an answer; a connection without one is given up."""

POLL_S = 20.0


class Seen(msgspec.Struct, frozen=True):
    """An event that a page was sent."""

    id: str
    dialog: str | None
    at: float


class Reread(msgspec.Struct, frozen=True):
    """A page had to read its rows again: what is between two cursors it was not sent."""

    before: str
    after: str


class Page:
    """One user's page.

    Attributes:
        dialogs, messages: Its picture.
        seen: Every event that it was sent, in order.
        rereads: Where it had to read its rows instead.
        resumes: Times that it came back and was given all that it had missed.
        moves: Times that it was answered by another worker than before, where a balancer tells by whom.
    """

    def __init__(
        self, user: str, token: str, ports: list[int], reader: Reader, chooser: random.Random
    ) -> None:
        self.user = user
        self.dialogs: Rows = {}
        self.messages: Rows = {}
        self.seen: list[Seen] = []
        self.rereads: list[Reread] = []
        self.resumes = 0
        self.moves = 0
        self._worker: str | None = None
        self.duplicates = 0
        self.cursor: str | None = None
        self._ids: set[str] = set()
        self._token = token
        self._clock = SystemClock()
        self._ports = ports
        self._reader = reader
        self._random = chooser
        self._socket: ClientConnection | None = None
        self._vanished: list[ClientConnection] = []
        self._waiting: asyncio.Timeout | None = None
        self._limit: asyncio.Timeout | None = None

    def drop(self) -> None:
        """Lose the connection, without a word."""
        if self._socket is not None:
            self._socket.transport.abort()
        limit, self._limit = self._limit, None
        if limit is not None and not limit.expired():
            limit.reschedule(0.0)

    def vanish(self) -> None:
        """Leave the connection half-open: nothing is read or answered any more, and nobody says so.

        Its own pings end it after some seconds.  Long polling just loses its connection.
        """
        if self._socket is None:
            self.drop()
            return
        self._socket.transport.pause_reading()
        self._vanished.append(self._socket)
        if self._waiting is not None:  # else it sees that after the message that it is at
            self._waiting.reschedule(0.0)
            self._waiting = None

    async def stream(self) -> None:
        """Follow over WebSocket, for ever."""
        try:
            while True:
                with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                    await self._follow()
                await asyncio.sleep(self._random.random() * RECONNECT_S)
        finally:
            for socket in self._vanished:
                socket.transport.abort()

    async def _follow(self) -> None:
        async with asyncio.timeout(None) as limit:
            self._socket = socket = await connect(
                f"ws://127.0.0.1:{self._random.choice(self._ports)}/ws",
                subprotocols=["bridge.v1", f"bearer.{self._token}"],  # type: ignore[list-item]
                max_size=None,
                compression=None,
                open_timeout=5,
                close_timeout=0.1,
                ping_interval=5,
                ping_timeout=5,
            )
            self._answered_by(None if socket.response is None else socket.response.headers)
            try:
                await self._converse(socket, limit)
            finally:
                self._socket = None
                if socket not in self._vanished:
                    await socket.close()

    async def _converse(self, socket: ClientConnection, limit: asyncio.Timeout) -> None:
        subscription: dict[str, Any] = {"type": "subscribe"}
        if self.cursor is not None:
            subscription["since"] = self.cursor
        await socket.send(msgspec.json.encode(subscription).decode())
        limit.reschedule(asyncio.get_running_loop().time() + ANSWER_S)
        while socket not in self._vanished:
            message = msgspec.json.decode(await self._receive(socket))
            match message["type"]:
                case "subscribed":
                    limit.reschedule(None)
                    await self._joined(message["cursor"], recovered=message["recovered"])
                case "resync":
                    await self._read_again(message["cursor"])
                case "reconnect":
                    return
                case _ if "eventType" in message:
                    await self._take(message)

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await socket.recv()
        finally:
            self._waiting = None

    async def poll(self) -> None:
        """Follow by long polling, for ever."""
        # A pool of its own: one that all pages share walks all of its connections for each request.
        async with httpx.AsyncClient(timeout=ANSWER_S + POLL_S, verify=False) as http:  # noqa: S501 - no TLS here
            await self._poll(http)

    async def _poll(self, http: httpx.AsyncClient) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(ANSWER_S + POLL_S) as self._limit:
                    answer = await self._ask(http)
                self._limit = None
                if answer.status_code == httpx.codes.OK:
                    self._answered_by(answer.headers)
                    await self._polled(msgspec.json.decode(answer.content))
                    continue
            self._limit = None
            await asyncio.sleep(self._random.random() * RECONNECT_S)

    async def _ask(self, http: httpx.AsyncClient) -> httpx.Response:
        url = f"http://127.0.0.1:{self._random.choice(self._ports)}/poll"
        parameters = {"timeout_s": str(POLL_S)} | ({"since": self.cursor} if self.cursor else {})
        try:
            return await http.get(url, params=parameters, headers={"Authorization": f"Bearer {self._token}"})
        except AttributeError as error:  # of anyio, which asks a socket for its peer that was reset just now
            raise httpx.ConnectError("the connection was reset as soon as it was made") from error

    def _answered_by(self, headers: Mapping[str, str] | None) -> None:
        worker = (headers or {}).get(WORKER_HEADER)
        self.moves += self._worker is not None and worker != self._worker
        self._worker = worker

    async def _polled(self, body: dict[str, Any]) -> None:
        if not body["recovered"] or self.cursor is None:
            await self._read_again(body["cursor"])
            return
        for event in body["events"]:
            await self._take(event)
        self.cursor = body["cursor"]

    async def _joined(self, cursor: str, *, recovered: bool) -> None:
        if self.cursor is None or not recovered:
            await self._read_again(cursor)
        else:
            self.resumes += 1

    async def _read_again(self, cursor: str) -> None:
        """Read the rows as they are; older ones that are sent after ``cursor`` are followed by newer ones."""
        self.rereads.append(Reread(self.cursor or "", cursor))
        self.dialogs, self.messages = await self._reader.rows(self.user)
        self.cursor = cursor

    async def _take(self, event: dict[str, Any]) -> None:
        self.cursor = event["cursor"]
        if event["id"] in self._ids:
            self.duplicates += 1
            return
        self._ids.add(event["id"])
        now_s = self._clock.now().timestamp()  # the database's, on this machine
        self.seen.append(Seen(event["id"], event["dialog_id"], now_s))
        gone = event["eventType"] == "DELETE"
        row = event["old"] if gone else event["new"]
        if event["table"] == "messages":
            if gone:
                self.messages.pop(row["id"], None)
            else:
                kept = {"kind": "m", "id": row["id"], "dialog": row["dialog_id"], "text": row["body"]}
                self.messages[row["id"]] = kept
            return
        if gone:
            self.dialogs.pop(row["id"], None)
            self.messages = {k: m for k, m in self.messages.items() if m["dialog"] != row["id"]}
            return
        self.dialogs[row["id"]] = {"kind": "d", "id": row["id"], "dialog": row["id"], "text": row["title"]}
        if event["eventType"] == "INSERT":
            _, messages = await self._reader.rows(self.user, dialog=row["id"])
            self.messages |= messages
