"""Long polling: the same stream over plain HTTP, one request at a time."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge import metrics
from bridge.connection import messages
from bridge.connection.ports import Context
from bridge.connection.ports import Frame as OutFrame
from bridge.connection.tokens import Identity
from bridge.errors import (
    BridgeError,
    ClientError,
    InvalidTokenError,
    MalformedMessageError,
    TokenExpiredError,
)
from bridge.logs import log_crash

DEFAULT_TIMEOUT_S = 25.0
MAX_TIMEOUT_S = 55.0
"""Below the read timeout that proxies commonly have (60 s)."""

MAX_EVENTS = 500
MAX_BYTES = 1024 * 1024
"""An answer holds no more; the rest comes with the next poll."""


class PollSink:
    """Collects the events of one poll; wakes the waiting request at the first one."""

    packs = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.id = secrets.token_hex(8)
        self.wires = None
        """Each event is offered: an answer has a limit of its own."""
        self.events: list[OutFrame] = []
        self.full = False
        self.stale = False
        self._bytes = 0
        self._ready: asyncio.Future[None] = loop.create_future()

    def offer(self, frame: OutFrame) -> None:
        """Take an event; what no longer fits is left for the next poll."""
        if frame.cursor is None:
            if b'"type":"resync"' in frame.payload[:20]:
                self.stale = True
                self.wake()
            return
        if self.full:
            return  # even one that would fit: the answer is a piece of the stream without holes
        if len(self.events) >= MAX_EVENTS or (self.events and self._bytes + len(frame.payload) > MAX_BYTES):
            self.full = True
            return
        self.events.append(frame)
        self._bytes += len(frame.payload)
        self.wake()

    async def room(self) -> bool:
        """Return False once the rest is left for the next poll."""
        return not self.full

    def send_reconnect(self, _after_ms: int) -> None:
        """Answer now: the next poll brings its token anyway."""
        self.cut_off()
        self.wake()

    def cut_off(self) -> None:
        """Leave the rest for the next poll."""
        self.full = True

    def wake(self) -> None:
        """Let the request answer."""
        if not self._ready.done():
            self._ready.set_result(None)

    async def wait(self, timeout_s: float, gone: asyncio.Future[Any]) -> None:
        """Wait for an event, the time, or the client's leaving."""
        waited: list[asyncio.Future[Any]] = [self._ready, gone]
        await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


class Polls:
    """Answers ``GET /poll``.

    Args:
        context: What all connections share.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[PollSink, tuple[Identity, float]] = {}
        self._draining = False

    def __len__(self) -> int:
        return len(self._waiting)

    def drain(self) -> None:
        """Answer the polls that wait, and from now on at once."""
        self._draining = True
        for sink in list(self._waiting):
            sink.wake()

    def facts(self) -> list[dict[str, Any]]:
        """Return what the admin port shows of the waiting polls."""
        now_s = self._context.clock.monotonic_s()
        return [
            {
                "connection_id": sink.id,
                "user_id": identity.principal.user_id,
                "transport": "poll",
                "connected_s": round(now_s - since_s, 1),
                "pending_bytes": 0,
                "subscribed": True,
            }
            for sink, (identity, since_s) in self._waiting.items()
        ]

    async def answer(self, request: Request) -> Response:
        """Answer one poll."""
        try:
            self._context.origins.check(request.headers.get("origin"))
            query = _Query.read(request)
            identity = await self._context.verifier.verify(self._token(request))
            answer = await self._counted(request, identity, query)
        except ClientError as error:
            return refusal(error)
        except Exception as error:  # noqa: BLE001 - a defect; the pages of other origins can read this answer
            metrics.POLLS.labels(BridgeError.code).inc()
            return failure(error)
        metrics.POLLS.labels("ok").inc()
        return answer

    async def _counted(self, request: Request, identity: Identity, query: "_Query") -> Response:
        connections = self._context.connections
        connections.enter()
        try:
            connections.enter_user(identity.principal)
            try:
                return await self._poll(request, identity, query)
            finally:
                connections.leave_user(identity.principal)
        finally:
            connections.leave()

    def _token(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        if "token" in request.query_params:
            if self._context.allow_token_in_url:
                return request.query_params["token"]
            raise InvalidTokenError("a token in the URL ends up in logs: send the Authorization header")
        raise InvalidTokenError("no token: send Authorization: Bearer and the session's access_token")

    async def _poll(self, request: Request, identity: Identity, query: "_Query") -> Response:
        hub, clock = self._context.hub, self._context.clock
        sink = PollSink(self._context.loop)
        subscriber = hub.connect(identity.principal, sink)
        self._waiting[sink] = (identity, clock.monotonic_s())
        metrics.CONNECTIONS.labels("poll").inc()
        try:
            recovered = await hub.subscribe(
                subscriber, dialogs=query.dialogs, since=query.since, wait_s=query.timeout_s
            )
            # A moment longer, so that it has expired when the wait for that is over.
            left_s = (identity.expires_at - clock.now()).total_seconds() + 0.01
            if subscriber.subscribed and query.since and recovered and not sink.events and not self._draining:
                await _wait(request, sink, min(query.timeout_s, max(0.0, left_s)))
        finally:
            hub.disconnect(subscriber)
            del self._waiting[sink]
            metrics.CONNECTIONS.labels("poll").dec()
        if clock.now() >= identity.expires_at and not sink.events:
            raise TokenExpiredError("the token has expired: poll again with a new one")
        cursor: str | None = hub.cursor
        if query.since is not None and (sink.full or self._draining or not hub.is_open):
            # The rest comes with the next poll; also what was committed while nobody could be told, and what
            # this worker has not come to.
            cursor = sink.events[-1].cursor if sink.events else query.since
        return _answer(
            sink.events,
            cursor,
            recovered=recovered and not sink.stale,
            status=hub.upstream,
            # Another worker has to answer the next one.
            is_last=self._draining,
        )


class _Query(msgspec.Struct, frozen=True):
    since: str | None
    dialogs: frozenset[str] | None
    timeout_s: float

    @classmethod
    def read(cls, request: Request) -> "_Query":
        parameters = request.query_params
        try:
            timeout_s = float(parameters.get("timeout_s", DEFAULT_TIMEOUT_S))
        except ValueError:
            timeout_s = -1.0
        if not 0.0 <= timeout_s < float("inf"):
            raise MalformedMessageError(f"timeout_s is no number of seconds: give 0 to {MAX_TIMEOUT_S:g}")
        ids: list[messages.DialogId] | None = None
        if "dialogs" in parameters:  # an empty list wants none, as over WebSocket: anything but all
            ids = [id_.strip() for id_ in parameters["dialogs"].split(",") if id_.strip()]
        return cls(
            since=parameters.get("since") or None,
            dialogs=messages.dialog_ids(ids),
            timeout_s=min(timeout_s, MAX_TIMEOUT_S),
        )


async def _wait(request: Request, sink: PollSink, timeout_s: float) -> None:
    """Wait for the sink, but not longer than the client is there."""
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(_until_gone(request), name="poll-client")
        await sink.wait(timeout_s, gone)
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(
    events: Sequence[OutFrame], cursor: str | None, *, recovered: bool, status: str, is_last: bool
) -> Response:
    body = b'{"events":[%b],"cursor":%b,"recovered":%b,"status":%b}' % (
        b",".join(frame.payload for frame in events),
        msgspec.json.encode(cursor),
        b"true" if recovered else b"false",
        msgspec.json.encode(status),
    )
    headers = {"Cache-Control": "no-store"} | ({"Connection": "close"} if is_last else {})
    return Response(body, media_type="application/json", headers=headers)


def refusal(error: ClientError) -> Response:
    """Return the HTTP answer to a request that is refused."""
    metrics.POLLS.labels(error.code).inc()
    metrics.note_refused(error.code)
    headers = {"Cache-Control": "no-store"}
    if error.http_status == 401:  # noqa: PLR2004 - RFC 9110
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": {"code": error.code, "message": str(error)}}
    return JSONResponse(body, status_code=error.http_status, headers=headers)


def failure(error: Exception) -> Response:
    """Log a defect and return the HTTP answer to the request that met it."""
    log_crash(error)
    says = "a defect of the worker: try again, with the cursor if you have one"
    body = {"error": {"code": BridgeError.code, "message": says}}
    return JSONResponse(body, status_code=500, headers={"Cache-Control": "no-store"})
