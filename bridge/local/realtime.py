"""Realtime's WebSocket: joins, tokens, and the delivery of ``postgres_changes``.

One task polls the database for all sockets; each socket has a reader and a writer.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge.clock import Clock
from bridge.local.changes import Data
from bridge.local.feed import Feed
from bridge.local.keys import TokenRefusedError, expired_message, verify
from bridge.local.phoenix import Channel, Message, Socket
from bridge.local.refusals import refusal
from bridge.local.subscriptions import Binding, FilterError, binding_id, read_binding

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SUBSCRIBED = "Subscribed to PostgreSQL"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in seconds, as observed with a real server."""

    poll_s: float = 0.1
    refused_join_s: float = 5.0
    refused_apikey_s: float = 2.0
    refresh_s: float = 2.5
    heartbeat_s: float = 66.0


class Realtime:
    """The server: sockets, channels and the poll.

    Args:
        database_url: Superuser's connection string.
        secret: The project's JWT secret.
        clock: Source of time.
        timing: How long things take.
    """

    def __init__(self, *, database_url: str, secret: str, clock: Clock, timing: Timing) -> None:
        self._database_url = database_url
        self._secret = secret
        self._clock = clock
        self._timing = timing
        self._sockets: set[Socket] = set()
        self._feed: Feed | None = None
        self._feed_ready = asyncio.Event()
        self._database = asyncio.Lock()

    async def run(self) -> None:
        """Poll for ever; a database that went away is connected to again, what it did meanwhile is lost."""
        while True:
            try:
                feed = await Feed.open(self._database_url)
                self._feed = feed
                self._feed_ready.set()
                try:
                    await self._poll_for_ever(feed)
                finally:
                    self._feed_ready.clear()
                    self._feed = None
                    await feed.close()
            except psycopg.Error as error:
                log.warning("local_database_lost", reason=type(error).__name__)
            await asyncio.sleep(0.2)

    async def _poll_for_ever(self, feed: Feed) -> None:
        while True:
            await asyncio.sleep(self._timing.poll_s)
            self._expire()
            async with self._database:
                data = await feed.poll([b for _, channel in self._live() for b in channel.bindings])
                if data:
                    await self._deliver(feed, data)

    def _expire(self) -> None:
        now_s, wall_s = self._clock.monotonic_s(), self._clock.now().timestamp()
        for socket in list(self._sockets):
            if now_s - socket.heard_s > self._timing.heartbeat_s:
                socket.close()
            for channel in list(socket.channels.values()):
                if wall_s >= float(channel.claims["exp"]):
                    _fail(socket, channel, expired_message(0))

    async def _deliver(self, feed: Feed, data: Sequence[Data]) -> None:
        views: dict[bytes, list[dict[str, Any] | None]] = {}
        for socket, channel in self._live():
            identity = msgspec.json.encode(
                {k: v for k, v in channel.claims.items() if k not in ("iat", "exp")}
            )
            if identity not in views:
                views[identity] = await feed.views(data, channel.claims)
            if socket.channels.get(channel.topic) is not channel:
                continue  # it has left meanwhile
            for change, view in zip(data, views[identity], strict=True):
                if view is not None:
                    _offer(socket, channel, change, view)

    def _live(self) -> list[tuple[Socket, Channel]]:
        return [
            (socket, channel)
            for socket in self._sockets
            for channel in socket.channels.values()
            if channel.live
        ]

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it leaves."""
        apikey = websocket.query_params.get("apikey", "")
        try:
            verify(apikey, self._secret, now=self._clock.now())
        except TokenRefusedError as error:
            await asyncio.sleep(self._timing.refused_apikey_s)
            await websocket.send_denial_response(_json_response(401, {"error": error.at_connect}))
            return
        await websocket.accept()
        arrays = websocket.query_params.get("vsn", "").startswith("2.")
        socket = Socket(opened_s=self._clock.monotonic_s(), arrays=arrays)
        self._sockets.add(socket)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(_write(websocket, socket), name="realtime-writer")
                try:
                    await self._read(websocket, socket, tasks, apikey)
                finally:
                    writer.cancel()
                    socket.channels.clear()
                    raise _ClientLeftError  # ends what joins may still be waiting for
        except* _ClientLeftError:
            pass
        except* (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._sockets.discard(socket)

    async def _read(
        self, websocket: WebSocket, socket: Socket, tasks: asyncio.TaskGroup, apikey: str
    ) -> None:
        while True:
            received = await websocket.receive()
            if received["type"] == "websocket.disconnect":
                return
            message = socket.read(received.get("text") or "")
            if message is None:
                continue
            socket.heard_s = self._clock.monotonic_s()
            channel = socket.channels.get(message.topic)
            if message.event == "heartbeat":
                socket.reply(message, "ok", {})
            elif message.event == "phx_join":
                tasks.create_task(self._join(socket, message, apikey), name="realtime-join")
            elif message.event == "access_token" and channel is not None:
                tasks.create_task(self._refresh(socket, channel, message), name="realtime-refresh")
            elif message.event == "phx_leave":
                socket.reply(message, "ok", {})
                if channel is not None:
                    socket.end(channel)

    async def _join(self, socket: Socket, message: Message, apikey: str) -> None:
        topic, join_ref = message.topic, message.join_ref or message.ref
        if not topic.startswith("realtime:"):
            socket.reply(message, "error", {"reason": "unmatched topic"})
            return
        claims: dict[str, Any] = {}
        refusal = "TopicNameRequired: You must provide a topic name" if topic == "realtime:" else None
        try:
            # Without a token of its own, a channel has that of the socket.
            claims = self._verify(message, apikey)
        except TokenRefusedError as error:
            refusal = refusal or error.at_join
        if refusal is not None:
            await asyncio.sleep(self._timing.refused_join_s)
            socket.reply(message, "error", {"reason": refusal})
            return
        configs = message.payload.get("config", {}).get("postgres_changes", [])
        reply = [{"id": binding_id(config), **config} for config in configs]
        socket.reply(message, "ok", {"postgres_changes": reply})
        previous = socket.channels.pop(topic, None)
        if previous is not None:  # joining a topic again ends the earlier join
            socket.end(previous)
        try:
            bindings = tuple(read_binding(config) for config in configs)
        except FilterError as error:
            socket.system(topic, "error", str(error), join_ref=join_ref)
            return
        channel = Channel(topic, join_ref, claims, bindings)
        socket.channels[topic] = channel
        if not bindings:
            return
        reason = await self._refusal(claims, bindings)
        if socket.channels.get(topic) is not channel:
            return
        if reason is None:
            channel.live = True
            socket.system(topic, "ok", SUBSCRIBED, join_ref=join_ref)
        else:
            del socket.channels[topic]
            failure = f"Unable to subscribe to changes with given parameters. {reason}"
            socket.system(topic, "error", failure, join_ref=join_ref)

    async def _refusal(self, claims: dict[str, Any], bindings: Sequence[Binding]) -> str | None:
        """Return why the bindings cannot be had, in Realtime's words; None if they can."""
        while True:
            await self._feed_ready.wait()
            feed = self._feed
            if feed is None:
                continue
            async with self._database:
                with contextlib.suppress(psycopg.OperationalError):
                    return await refusal(feed, str(claims["role"]), bindings)
            await asyncio.sleep(self._timing.poll_s)

    async def _refresh(self, socket: Socket, channel: Channel, message: Message) -> None:
        try:
            claims = self._verify(message, "")
        except TokenRefusedError as error:
            _fail(socket, channel, error.while_joined)
            return
        if claims == channel.claims:
            return
        channel.claims = claims
        await asyncio.sleep(self._timing.refresh_s)
        if socket.channels.get(channel.topic) is channel:
            socket.system(channel.topic, "ok", SUBSCRIBED, join_ref=channel.join_ref)

    def _verify(self, message: Message, otherwise: str) -> dict[str, Any]:
        token = str(message.payload.get("access_token") or otherwise)
        return verify(token, self._secret, now=self._clock.now())


class _ClientLeftError(Exception):
    pass


async def _write(websocket: WebSocket, socket: Socket) -> None:
    while True:
        frame = await socket.frames.get()
        if frame is None:
            await websocket.close(1000)
            return
        await websocket.send_text(frame)


def _fail(socket: Socket, channel: Channel, message: str) -> None:
    socket.system(channel.topic, "error", message, join_ref=channel.join_ref, extension="system")
    socket.end(channel)


def _offer(socket: Socket, channel: Channel, change: Data, view: dict[str, Any]) -> None:
    matching = [binding for binding in channel.bindings if binding.matches(change.payload)]
    if not matching:
        return
    if "record" in view and all(binding.select is not None for binding in matching):
        wanted = {name for binding in matching for name in binding.select or ()} | set(change.key)
        view = {**view, "record": {n: v for n, v in view["record"].items() if n in wanted}}
    payload = {"ids": [binding.id for binding in matching], "data": view}
    socket.send(channel.topic, "postgres_changes", payload)


def _json_response(status: int, body: dict[str, Any]) -> Any:
    from starlette.responses import JSONResponse  # noqa: PLC0415 - only where a connection is refused

    return JSONResponse(body, status_code=status)
