"""One WebSocket connection: websockets' Sans-I/O protocol under a plain ``asyncio.Protocol``.

A quiet connection has no task and no timer; the sweeper visits it.  Frames wait in the outbox and are
written together, once per loop iteration; one that does not read is cut off (4430).
"""

import asyncio
import secrets
from typing import Any

import structlog
from typing_extensions import override
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from bridge import metrics
from bridge.connection import handshake, messages
from bridge.connection.compression import wire_of
from bridge.connection.handshake import Protocol
from bridge.connection.ports import Context
from bridge.connection.ports import Frame as OutFrame
from bridge.connection.session import (
    AUTH_TIMEOUT_S,
    Close,
    Command,
    Enter,
    Renew,
    Send,
    Session,
    StartSubscription,
    StopSubscription,
    Verify,
)
from bridge.connection.tokens import Identity
from bridge.connection.work import Piece, Work, ends_its_owner
from bridge.connection.writer import Writer
from bridge.errors import ClientError, MalformedMessageError, SlowConsumerError, TooManyError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class WebSocketConnection(asyncio.Protocol):
    """One client.

    Args:
        context: What all connections share.
    """

    __slots__ = (
        "_context",
        "_entered",
        "_fragments",
        "_heard_s",
        "_opened_s",
        "_protocol",
        "_received",
        "_session",
        "_work",
        "_writer",
        "id",
        "subscriber",
        "wires",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._protocol = Protocol(context.extensions)
        self._writer = Writer(self._protocol, limit_bytes=context.outbox_limit_bytes, clock=context.clock)
        self.wires: list[bytes] | None = self._writer.outbox.frames
        self._session: Session | None = None
        self._entered = False
        self._opened_s = self._heard_s = context.clock.monotonic_s()
        self._fragments: bytearray | None = None
        self._received = 0
        self._work = Work(context.spawn, self)
        self.id = secrets.token_hex(8)
        self.subscriber: Any = None

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._writer.transport = transport  # type: ignore[assignment]  # a stream transport, as TCP servers have

    @ends_its_owner
    def open(self, request: Request | None) -> None:
        """Answer the handshake with which the connection began; None for one that cannot be read."""
        is_accepted, response = handshake.answer(self._protocol, request)
        if request is None or not is_accepted:
            self._writer.reject(response)
        else:
            self._writer.outbox.frames.append(response)  # what can be said at once goes with it, in one call
            self._begin(request)
            self.flush()

    @override
    @ends_its_owner
    def data_received(self, data: bytes) -> None:
        if self._session is None:
            return  # refused, and about to be closed
        self._heard_s = self._context.clock.monotonic_s()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
        if self._writer.write_protocol():
            self._visit_at_end()
        if self._writer.is_overfull:
            self.cut_off()  # who asks and never reads the answers

    @override
    def pause_writing(self) -> None:
        self._writer.pause()

    @override
    def resume_writing(self) -> None:
        self._writer.resume()

    @override
    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._writer.lose()
        if self._session is None:
            return
        identity = self._session.identity
        if self.subscriber is not None:
            self._context.hub.disconnect(self.subscriber)
            self.subscriber = None
            if identity is not None:
                self._context.connections.leave_user(identity.principal)
        if self._entered:
            self._context.connections.leave()
            self._entered = False
        self._context.sweeper.remove(self)
        self._work.cancel()
        sent = self._protocol.close_sent
        code = 1006 if sent is None else sent.code
        metrics.note_closed(code)
        refusal = self._session.refusal
        log.info(
            "connection_closed",
            connection_id=self.id,
            user_id=None if identity is None else identity.principal.user_id,
            close_code=code,
            duration_s=round(self._context.clock.monotonic_s() - self._opened_s, 3),
            messages_in=self._received,
            unsent_bytes=self._writer.pending_bytes,
            **({} if refusal is None else {"code": refusal.code, "reason": str(refusal)}),
        )

    # What the hub and the flusher call.

    @property
    def packs(self) -> bool:
        """True if it takes events compressed."""
        return bool(self._protocol.extensions)

    def offer(self, frame: OutFrame) -> None:
        """Queue a frame for the client; too much of it ends the connection (4430)."""
        if self._writer.is_open:
            if not self.wires:
                self._context.flusher.mark(self)
            if not self._writer.outbox.offer(wire_of(frame) if self.packs else frame.wire):
                self.cut_off()

    def flush(self) -> None:
        """Write everything that waits, in one call."""
        if not self._writer.flush():
            self.cut_off()

    async def room(self) -> bool:
        """Wait until the client has read most of what was offered; one that does not is cut off."""
        if not (has_room := await self._writer.room()):
            self.cut_off()
        return has_room

    def cut_off(self) -> None:
        """End a client that does not read (4430); what waits here is left for it to resume."""
        if not self._writer.is_open or self._session is None:
            return
        metrics.SLOW_CONSUMERS.inc()
        error = SlowConsumerError(
            f"{self._writer.pending_bytes} bytes unread (limit {self._context.outbox_limit_bytes}): "
            "reconnect with the cursor"
        )
        for command in self._session.fail(error):
            if isinstance(command, Close):  # an error message would only wait behind the rest
                self._close(command.code, command.reason, drop_queued=True)

    # What the sweeper and the server call.

    @ends_its_owner
    def sweep(self) -> None:
        """Look at the clock: deadlines, expiry, answers that did not come."""
        clock, writer = self._context.clock, self._writer
        now_s = clock.monotonic_s()
        if writer.ends_at_s is not None:
            if now_s >= writer.ends_at_s:
                writer.abort()
            return
        if self._session is not None:
            self._carry_out(self._session.receive_time(now=clock.now(), now_s=now_s))
            self._visit_at_expiry()
        if now_s - self._heard_s > 2 * self._context.ping_interval_s:
            writer.abort()  # half-open: no answer to two pings

    def ping(self) -> None:
        """Send a ping."""
        self._writer.ping()

    def send_reconnect(self, after_ms: int) -> None:
        """Ask the client to come back, and close (1012)."""
        self._carry_out(
            [Send(messages.Reconnect(after_ms)), Close(1012, "restart: reconnect with the cursor")]
        )

    def facts(self) -> dict[str, Any]:
        """Return what the admin port shows of this connection."""
        identity = None if self._session is None else self._session.identity
        return {
            "connection_id": self.id,
            "user_id": None if identity is None else identity.principal.user_id,
            "transport": "websocket",
            "connected_s": round(self._context.clock.monotonic_s() - self._opened_s, 1),
            "pending_bytes": self._writer.pending_bytes,
            "subscribed": self.subscriber is not None and self.subscriber.subscribed,
        }

    def _begin(self, request: Request) -> None:
        context = self._context
        self._session = Session(
            connection_id=self.id, opened_s=self._opened_s, ping_interval_s=context.ping_interval_s
        )
        context.sweeper.add(self)
        try:
            context.connections.enter()
            self._entered = True
            context.origins.check(request.headers.get("Origin"))
            token = handshake.token_of(request, allow_in_url=context.allow_token_in_url)
        except ClientError as error:
            self._fail(error)
            return
        if token is None:
            context.sweeper.visit_at(self, self._opened_s + AUTH_TIMEOUT_S)
        else:
            self._carry_out(self._session.receive_token(token))

    def _frame(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT if frame.fin:
                self._text(bytes(frame.data))
            case Opcode.TEXT:
                self._fragments = bytearray(frame.data)
            case Opcode.CONT if self._fragments is not None:
                self._fragments += frame.data
                if frame.fin:
                    whole, self._fragments = bytes(self._fragments), None
                    self._text(whole)
            case Opcode.BINARY:
                self._fail(MalformedMessageError("a binary message is not understood: send JSON as text"))
            case _:
                pass  # ping, pong and close are the protocol's own business

    def _text(self, data: bytes) -> None:
        self._received += 1
        if self._session is not None and self._writer.is_open:
            clock = self._context.clock
            commands = self._session.receive_text(data, now=clock.now(), now_s=clock.monotonic_s())
            self._carry_out(commands, owing=self._session.unverified > 0 or self._work.is_waiting)

    def _fail(self, error: ClientError) -> None:
        metrics.note_refused(error.code)
        if self._session is not None:
            self._carry_out(self._session.fail(error))

    def _carry_out(self, commands: list[Command], *, owing: bool = False) -> None:
        """Do what the session wants; answers wait while one to an earlier request is owed."""
        for command in commands:
            match command:
                case Send(message=message) if owing and not isinstance(message, messages.Error):
                    self._do(self._answer(message))
                case Send(message=message):
                    self._writer.send_text(messages.encode(message))
                case Verify(token=token):
                    self._verify(token)
                case Enter():
                    self._enter(command)
                case Renew(identity=identity):
                    self._context.hub.renew(self.subscriber, identity.principal)
                case StartSubscription(dialogs=dialogs, since=since):
                    self._do(self._subscribe(dialogs, since))
                case StopSubscription(dialogs=dialogs):
                    self._do(self._unsubscribe(dialogs))
                case Close(code=code, reason=reason):
                    self._close(code, reason)
            owing = owing or isinstance(command, StartSubscription | StopSubscription)

    async def _answer(self, message: messages.ServerMessage) -> None:
        self._writer.send_text(messages.encode(message))

    def _enter(self, command: Enter) -> None:
        principal = command.identity.principal
        self._context.connections.enter_user(principal)
        self.subscriber = self._context.hub.connect(principal, self)
        self._writer.send_text(messages.encode(command.message))
        self.offer(self._context.hub.status())

    def _verify(self, token: str) -> None:
        try:
            identity = self._context.verifier.verify_at_once(token) if self._work.is_idle else None
            if identity is None:
                self._do(self._verify_later(token))
            else:  # nearly always, and without a task
                self._verified(identity)
        except ClientError as error:
            self._fail(error)

    async def _verify_later(self, token: str) -> None:
        try:
            self._verified(await self._context.verifier.verify(token))
        except ClientError as error:
            self._fail(error)

    def _verified(self, identity: Identity) -> None:
        if self._writer.is_open and self._session is not None:
            self._carry_out(self._session.verified(identity, now=self._context.clock.now()))
            self._visit_at_expiry()

    def _visit_at_expiry(self) -> None:
        identity = None if self._session is None else self._session.identity
        if identity is not None:
            clock = self._context.clock
            left_s = (identity.expires_at - clock.now()).total_seconds()
            self._context.sweeper.visit_at(self, clock.monotonic_s() + left_s)

    async def _subscribe(self, dialogs: frozenset[str] | None, since: str | None) -> None:
        if self.subscriber is not None:
            await self._context.hub.subscribe(self.subscriber, dialogs=dialogs, since=since)

    async def _unsubscribe(self, dialogs: frozenset[str] | None) -> None:
        if self.subscriber is not None:
            self._context.hub.unsubscribe(self.subscriber, dialogs=dialogs)

    def _do(self, piece: Piece) -> None:
        if not self._work.add(piece):
            self._fail(TooManyError("too many messages at once: wait for the answers"))

    def crash(self) -> None:
        """End the connection after an error that is a defect; the others go on."""
        if self._session is None:
            self._writer.reject(handshake.FAILED)
        self._close(1011, "internal error: reconnect with the cursor")  # RFC 6455

    def _close(self, code: int, reason: str, *, drop_queued: bool = False) -> None:
        if self._writer.close(code, reason, drop_queued=drop_queued):
            self._visit_at_end()

    def _visit_at_end(self) -> None:
        """Have the connection dropped if it has not ended by itself by then."""
        if self._writer.ends_at_s is not None:
            self._context.sweeper.visit_at(self, self._writer.ends_at_s)
