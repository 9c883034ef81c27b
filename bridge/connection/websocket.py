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
from bridge.connection.commands import carry_out, fail, visit_at_expiry
from bridge.connection.compression import wire_of
from bridge.connection.handshake import Protocol
from bridge.connection.ports import Context
from bridge.connection.ports import Frame as OutFrame
from bridge.connection.session import AUTH_TIMEOUT_S, Close, Send, Session
from bridge.connection.work import Work, ends_its_owner
from bridge.connection.writer import Writer
from bridge.errors import ClientError, MalformedMessageError, SlowConsumerError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class WebSocketConnection(asyncio.Protocol):
    """One client.

    Args:
        context: What all connections share.
    """

    __slots__ = (
        "_entered",
        "_fragments",
        "_heard_s",
        "_opened_s",
        "_protocol",
        "_received",
        "context",
        "id",
        "session",
        "subscriber",
        "wires",
        "work",
        "writer",
    )

    def __init__(self, context: Context) -> None:
        self.context = context
        self._protocol = Protocol(context.extensions)
        self.writer = Writer(self._protocol, limit_bytes=context.outbox_limit_bytes, clock=context.clock)
        self.wires: list[bytes] | None = self.writer.outbox.frames
        self.session: Session | None = None
        self._entered = False
        self._opened_s = self._heard_s = context.clock.monotonic_s()
        self._fragments: bytearray | None = None
        self._received = 0
        self.work = Work(context.spawn, self)
        self.id = secrets.token_hex(8)
        self.subscriber: Any = None

    # What asyncio calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.writer.transport = transport  # type: ignore[assignment]  # a stream transport, as TCP servers have

    @ends_its_owner
    def open(self, request: Request | None) -> None:
        """Answer the handshake with which the connection began; None for one that cannot be read."""
        is_accepted, response = handshake.answer(self._protocol, request)
        if request is None or not is_accepted:
            self.writer.reject(response)
        else:
            self.writer.outbox.frames.append(response)  # what can be said at once goes with it, in one call
            self._begin(request)
            self.flush()

    @override
    @ends_its_owner
    def data_received(self, data: bytes) -> None:
        if self.session is None:
            return  # refused, and about to be closed
        self._heard_s = self.context.clock.monotonic_s()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
        if self.writer.write_protocol():
            self._visit_at_end()
        if self.writer.is_overfull:
            self.cut_off()  # who asks and never reads the answers

    @override
    def pause_writing(self) -> None:
        self.writer.pause()

    @override
    def resume_writing(self) -> None:
        self.writer.resume()

    @override
    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.writer.lose()
        if self.session is None:
            return
        identity = self.session.identity
        if self.subscriber is not None:
            self.context.hub.disconnect(self.subscriber)
            self.subscriber = None
            if identity is not None:
                self.context.connections.leave_user(identity.principal)
        if self._entered:
            self.context.connections.leave()
            self._entered = False
        self.context.sweeper.remove(self)
        self.work.cancel()
        sent = self._protocol.close_sent
        code = 1006 if sent is None else sent.code
        metrics.note_closed(code)
        refusal = self.session.refusal
        log.info(
            "connection_closed",
            connection_id=self.id,
            user_id=None if identity is None else identity.principal.user_id,
            close_code=code,
            duration_s=round(self.context.clock.monotonic_s() - self._opened_s, 3),
            messages_in=self._received,
            unsent_bytes=self.writer.pending_bytes,
            **({} if refusal is None else {"code": refusal.code, "reason": str(refusal)}),
        )

    # What the hub and the flusher call.

    @property
    def packs(self) -> bool:
        """True if it takes events compressed."""
        return bool(self._protocol.extensions)

    @ends_its_owner
    def offer(self, frame: OutFrame) -> None:
        """Queue a frame for the client; too much of it ends the connection (4430)."""
        if self.writer.is_open:
            if not self.wires:
                self.context.flusher.mark(self)
            if not self.writer.outbox.offer(wire_of(frame) if self.packs else frame.wire):
                self.cut_off()

    @ends_its_owner
    def flush(self) -> None:
        """Write everything that waits, in one call."""
        if not self.writer.flush():
            self.cut_off()

    async def room(self) -> bool:
        """Wait until the client has read most of what was offered; one that does not is cut off."""
        if not (has_room := await self.writer.room()):
            self.cut_off()
        return has_room

    def cut_off(self) -> None:
        """End a client that does not read (4430); what waits here is left for it to resume."""
        if not self.writer.is_open or self.session is None:
            return
        metrics.SLOW_CONSUMERS.inc()
        error = SlowConsumerError(
            f"{self.writer.pending_bytes} bytes unread (limit {self.context.outbox_limit_bytes}): "
            "reconnect with the cursor"
        )
        for command in self.session.fail(error):
            if isinstance(command, Close):  # an error message would only wait behind the rest
                self.close(command.code, command.reason, drop_queued=True)

    # What the sweeper and the server call.

    @ends_its_owner
    def sweep(self) -> None:
        """Look at the clock: deadlines, expiry, answers that did not come."""
        clock, writer = self.context.clock, self.writer
        now_s = clock.monotonic_s()
        if writer.ends_at_s is not None:
            if now_s >= writer.ends_at_s:
                writer.abort()
            return
        if self.session is not None:
            carry_out(self, self.session.receive_time(now=clock.now(), now_s=now_s))
            visit_at_expiry(self)
        if now_s - self._heard_s > 2 * self.context.ping_interval_s:
            writer.abort()  # half-open: no answer to two pings

    @ends_its_owner
    def ping(self) -> None:
        """Send a ping."""
        self.writer.ping()

    @ends_its_owner
    def send_reconnect(self, after_ms: int) -> None:
        """Ask the client to come back, and close (1012)."""
        goodbye = Close(1012, "restart: reconnect with the cursor")
        carry_out(self, [Send(messages.Reconnect(after_ms)), goodbye])

    def facts(self) -> dict[str, Any]:
        """Return what the admin port shows of this connection."""
        identity = None if self.session is None else self.session.identity
        return {
            "connection_id": self.id,
            "user_id": None if identity is None else identity.principal.user_id,
            "transport": "websocket",
            "connected_s": round(self.context.clock.monotonic_s() - self._opened_s, 1),
            "pending_bytes": self.writer.pending_bytes,
            "subscribed": self.subscriber is not None and self.subscriber.subscribed,
        }

    def _begin(self, request: Request) -> None:
        context = self.context
        self.session = Session(
            connection_id=self.id, opened_s=self._opened_s, ping_interval_s=context.ping_interval_s
        )
        context.sweeper.add(self)
        try:
            context.connections.enter()
            self._entered = True
            context.origins.check(request.headers.get("Origin"))
            token = handshake.token_of(request, allow_in_url=context.allow_token_in_url)
        except ClientError as error:
            fail(self, error)
            return
        if token is None:
            context.sweeper.visit_at(self, self._opened_s + AUTH_TIMEOUT_S)
        else:
            carry_out(self, self.session.receive_token(token))

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
                fail(self, MalformedMessageError("a binary message is not understood: send JSON as text"))
            case _:
                pass  # ping, pong and close are the protocol's own business

    def _text(self, data: bytes) -> None:
        self._received += 1
        if self.session is not None and self.writer.is_open:
            clock = self.context.clock
            commands = self.session.receive_text(data, now=clock.now(), now_s=clock.monotonic_s())
            carry_out(self, commands, owing=self.session.unverified > 0 or self.work.is_waiting)

    def crash(self) -> None:
        """End the connection after an error that is a defect; the others go on."""
        if self.session is None:
            self.writer.reject(handshake.FAILED)
        try:
            self.close(1011, "internal error: reconnect with the cursor")  # RFC 6455
        except Exception:  # noqa: BLE001 - the defect is logged, and it may be in what writes
            self.writer.abort()

    def close(self, code: int, reason: str, *, drop_queued: bool = False) -> None:
        """Begin the closing handshake."""
        if self.writer.close(code, reason, drop_queued=drop_queued):
            self._visit_at_end()

    def _visit_at_end(self) -> None:
        """Have the connection dropped if it has not ended by itself by then."""
        if self.writer.ends_at_s is not None:
            self.context.sweeper.visit_at(self, self.writer.ends_at_s)
