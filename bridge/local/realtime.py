"""Realtime's WebSocket: Phoenix channels (vsn 1.0.0) with ``postgres_changes``.

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
from bridge.local.changes import UNAUTHORIZED, Data
from bridge.local.feed import Feed
from bridge.local.keys import TokenRefusedError, expired_message, verify
from bridge.local.subscriptions import Binding, FilterError, binding_id, read_binding

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SUBSCRIBED = "Subscribed to PostgreSQL"
QUEUE_FRAMES = 100_000
"""Frames that may wait for one socket; more, and it is closed."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in seconds, as observed with a real server."""

    poll_s: float = 0.1
    refused_join_s: float = 5.0
    refused_apikey_s: float = 2.0
    refresh_s: float = 2.5
    heartbeat_s: float = 66.0


class Channel(msgspec.Struct):
    """A joined topic."""

    topic: str
    join_ref: str | None
    claims: dict[str, Any]
    bindings: tuple[Binding, ...]
    live: bool = False


class Socket:
    """One client's connection and its channels."""

    def __init__(self, *, opened_s: float) -> None:
        self.channels: dict[str, Channel] = {}
        self.heard_s = opened_s
        self.frames: asyncio.Queue[str | None] = asyncio.Queue(QUEUE_FRAMES)

    def send(self, topic: str, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        """Queue a frame; a socket that does not read is closed."""
        frame = {"event": event, "payload": payload, "ref": ref, "topic": topic}
        try:
            self.frames.put_nowait(msgspec.json.encode(frame).decode())
        except asyncio.QueueFull:
            self.close()

    def system(self, topic: str, status: str, message: str, extension: str = "postgres_changes") -> None:
        """Queue a ``system`` frame of a channel."""
        channel = topic.removeprefix("realtime:")
        self.send(
            topic,
            "system",
            {"channel": channel, "extension": extension, "message": message, "status": status},
        )

    def end(self, channel: Channel) -> None:
        """Close a channel from the server's side; the socket stays open."""
        self.channels.pop(channel.topic, None)
        self.send(channel.topic, "phx_close", {}, channel.join_ref)

    def close(self) -> None:
        """Close the connection once what is queued has been sent, or at once if the queue is full."""
        while self.frames.full():
            self.frames.get_nowait()
        self.frames.put_nowait(None)


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
            with contextlib.suppress(psycopg.Error):
                feed = await Feed.open(self._database_url)
                self._feed = feed
                self._feed_ready.set()
                try:
                    await self._poll_for_ever(feed)
                finally:
                    self._feed_ready.clear()
                    self._feed = None
                    await feed.close()
            log.warning("local_database_lost")
            await asyncio.sleep(0.2)

    async def _poll_for_ever(self, feed: Feed) -> None:
        while True:
            await asyncio.sleep(self._timing.poll_s)
            self._expire()
            async with self._database:
                data = await feed.poll()
                if data:
                    await self._deliver(feed, data)

    def _expire(self) -> None:
        now_s, wall_s = self._clock.monotonic_s(), self._clock.now().timestamp()
        for socket in list(self._sockets):
            if now_s - socket.heard_s > self._timing.heartbeat_s:
                socket.close()
            for channel in list(socket.channels.values()):
                if wall_s >= float(channel.claims["exp"]):
                    socket.system(channel.topic, "error", expired_message(0), "system")
                    socket.end(channel)

    async def _deliver(self, feed: Feed, data: Sequence[Data]) -> None:
        asked: dict[bytes, list[bool | None]] = {}
        for socket in list(self._sockets):
            for channel in list(socket.channels.values()):
                if not channel.live or not channel.bindings:
                    continue
                identity = msgspec.json.encode(
                    {k: v for k, v in channel.claims.items() if k not in ("iat", "exp")}
                )
                if identity not in asked:
                    asked[identity] = await feed.visible(data, channel.claims)
                for change, allowed in zip(data, asked[identity], strict=True):
                    if allowed is not False:
                        _offer(socket, channel, change, readable=allowed is not None)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it leaves."""
        try:
            verify(websocket.query_params.get("apikey", ""), self._secret, now=self._clock.now())
        except TokenRefusedError as error:
            await asyncio.sleep(self._timing.refused_apikey_s)
            await websocket.send_denial_response(_json_response(401, {"error": error.at_connect}))
            return
        await websocket.accept()
        socket = Socket(opened_s=self._clock.monotonic_s())
        self._sockets.add(socket)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(_write(websocket, socket), name="realtime-writer")
                try:
                    await self._read(websocket, socket, tasks)
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

    async def _read(self, websocket: WebSocket, socket: Socket, tasks: asyncio.TaskGroup) -> None:
        while True:
            text = await websocket.receive_text()
            try:
                message = msgspec.json.decode(text)
                topic, event, ref = message["topic"], message["event"], message.get("ref")
                payload = message.get("payload") or {}
            except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
                continue
            socket.heard_s = self._clock.monotonic_s()
            if event == "heartbeat":
                socket.send("phoenix", "phx_reply", {"response": {}, "status": "ok"}, ref)
            elif event == "phx_join":
                tasks.create_task(self._join(socket, topic, payload, ref), name="realtime-join")
            elif event == "access_token" and topic in socket.channels:
                tasks.create_task(
                    self._refresh(socket, socket.channels[topic], payload), name="realtime-refresh"
                )
            elif event == "phx_leave":
                socket.send(topic, "phx_reply", {"response": {}, "status": "ok"}, ref)
                channel = socket.channels.get(topic)
                if channel is not None:
                    socket.end(channel)

    async def _join(self, socket: Socket, topic: str, payload: dict[str, Any], ref: str | None) -> None:
        try:
            claims = verify(str(payload.get("access_token", "")), self._secret, now=self._clock.now())
        except TokenRefusedError as error:
            await asyncio.sleep(self._timing.refused_join_s)
            socket.send(topic, "phx_reply", {"response": {"reason": error.at_join}, "status": "error"}, ref)
            return
        configs = payload.get("config", {}).get("postgres_changes", [])
        previous = socket.channels.get(topic)
        if previous is not None:  # joining a topic again ends the earlier join
            socket.end(previous)
        reply = [{"id": binding_id(config), **config} for config in configs]
        socket.send(topic, "phx_reply", {"response": {"postgres_changes": reply}, "status": "ok"}, ref)
        try:
            bindings = tuple(read_binding(config) for config in configs)
        except FilterError as error:
            socket.system(topic, "error", str(error))
            return
        channel = Channel(topic, ref, claims, bindings)
        socket.channels[topic] = channel
        if not bindings:
            return
        reason = await self._refusal(claims, bindings)
        if socket.channels.get(topic) is not channel:
            return
        if reason is None:
            channel.live = True
            socket.system(topic, "ok", SUBSCRIBED)
        else:
            del socket.channels[topic]
            socket.system(topic, "error", f"Unable to subscribe to changes with given parameters. {reason}")

    async def _refusal(self, claims: dict[str, Any], bindings: Sequence[Binding]) -> str | None:
        """Return why the bindings cannot be had, in Realtime's words; None if they can."""
        while True:
            await self._feed_ready.wait()
            feed = self._feed
            if feed is None:
                continue
            async with self._database:
                for binding in bindings:
                    try:
                        missing = await feed.check(
                            str(claims["role"]), [(binding.schema, binding.table or "*")]
                        )
                        for f in binding.filters:
                            await feed.check_value(binding.schema, binding.table or "", f.column, f.value)
                    except psycopg.OperationalError:
                        break
                    except LookupError as error:
                        return _exception(binding, f"ERROR P0001 (raise_exception) {error}")
                    except psycopg.Error as error:
                        name = type(error).__name__
                        condition = {"UndefinedObject": "undefined_object"}.get(name, _snake(name))
                        condition = "undefined_object" if error.sqlstate == "22023" else condition
                        state = "42704" if error.sqlstate == "22023" else error.sqlstate
                        return _exception(
                            binding, f"ERROR {state} ({condition}) {error.diag.message_primary}"
                        )
                    if missing:
                        return (
                            "Please check Realtime is enabled for the given connect parameters: "
                            f"{binding.described()}"
                        )
                else:
                    return None
            await asyncio.sleep(self._timing.poll_s)

    async def _refresh(self, socket: Socket, channel: Channel, payload: dict[str, Any]) -> None:
        try:
            claims = verify(str(payload.get("access_token", "")), self._secret, now=self._clock.now())
        except TokenRefusedError as error:
            socket.system(channel.topic, "error", error.while_joined, "system")
            socket.end(channel)
            return
        if claims == channel.claims:
            return
        channel.claims = claims
        await asyncio.sleep(self._timing.refresh_s)
        if socket.channels.get(channel.topic) is channel:
            socket.system(channel.topic, "ok", SUBSCRIBED)


class _ClientLeftError(Exception):
    pass


async def _write(websocket: WebSocket, socket: Socket) -> None:
    while True:
        frame = await socket.frames.get()
        if frame is None:
            await websocket.close(1000)
            return
        await websocket.send_text(frame)


def _offer(socket: Socket, channel: Channel, change: Data, *, readable: bool) -> None:
    data = change.payload
    matching = [binding for binding in channel.bindings if binding.matches(data)]
    if not matching:
        return
    shown = data
    if not readable:
        shown = {**data, "errors": [UNAUTHORIZED], "record": {}, "columns": []}
        shown.pop("old_record", None)
    elif "record" in data and all(binding.select is not None for binding in matching):
        wanted = {name for binding in matching for name in binding.select or ()} | set(change.key)
        shown = {**data, "record": {n: v for n, v in data["record"].items() if n in wanted}}
    payload = {"ids": [binding.id for binding in matching], "data": shown}
    socket.send(channel.topic, "postgres_changes", payload)


def _exception(binding: Binding, text: str) -> str:
    parameters = f"please check your connect parameters: {binding.described()}"
    return f"An exception happened so {parameters}. Exception: {text}"


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _json_response(status: int, body: dict[str, Any]) -> Any:
    from starlette.responses import JSONResponse  # noqa: PLC0415 - only where a connection is refused

    return JSONResponse(body, status_code=status)
