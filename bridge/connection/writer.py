"""The sending half of one WebSocket: whole frames in order, bounded, and the closing handshake."""

import asyncio
import contextlib

from websockets.exceptions import InvalidState
from websockets.protocol import State

from bridge.clock import Clock
from bridge.connection.handshake import Protocol
from bridge.connection.outbox import Outbox

CLOSE_GRACE_S = 1.0
"""Seconds a client has to answer a close, before its connection is dropped."""

STALL_S = 60.0
"""Seconds a client may take to read what a replay has offered to it."""


class Writer:
    """Writes frames of fan-out, and what the protocol has to say, to one transport.

    Args:
        protocol: The protocol of this connection.
        limit_bytes: What may wait for the client.
        clock: Source of time.
    """

    __slots__ = ("_clock", "_protocol", "_resumed", "ends_at_s", "outbox", "transport")

    def __init__(self, protocol: Protocol, *, limit_bytes: int, clock: Clock) -> None:
        self.transport: asyncio.Transport | None = None
        """None before the connection is made and after it is lost."""
        self.ends_at_s: float | None = None
        """When the connection is dropped, once a close has been sent."""
        self._protocol = protocol
        self.outbox = Outbox(limit_bytes)
        """Frames for the next flush, which forgets them once the writer is closed."""
        self._clock = clock
        self._resumed: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        """True while frames can still reach the client."""
        return self.transport is not None and self.ends_at_s is None

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the client, here and in the transport."""
        return self.outbox.pending_bytes(self.transport)

    @property
    def is_overfull(self) -> bool:
        """True once more waits than may."""
        return self.outbox.is_overfull(self.transport)

    def flush(self) -> bool:
        """Write what is queued, in one call; False once the client has become a slow consumer."""
        transport = self.transport
        if transport is None or self.ends_at_s is not None:
            self.outbox.clear()
            return True
        return self.outbox.flush(transport)

    def send_text(self, payload: bytes) -> None:
        """Send a message: with what is queued, behind it, or at once."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(payload)
            if self.outbox.frames:
                self.outbox.offer(b"".join(self._protocol.data_to_send()))
            else:
                self.write_protocol()

    def ping(self) -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self.write_protocol()

    def close(self, code: int, reason: str, *, drop_queued: bool = False) -> bool:
        """Begin the closing handshake; False if it had begun before."""
        if self.ends_at_s is not None:
            return False
        if drop_queued:
            self.outbox.clear()
        self.flush()
        self._expect_end()
        with contextlib.suppress(InvalidState):
            self._protocol.send_close(code, reason)
        self.write_protocol()
        return True

    def write_protocol(self) -> bool:
        """Write what the protocol has to say; True if that began the end of the connection."""
        had_begun = self.ends_at_s is not None
        for data in self._protocol.data_to_send():
            if self.transport is None or self.transport.is_closing():
                break
            if data:
                self.transport.write(data)
            else:
                # Half-closed, not closed: closing with unread input would reset the connection and
                # take the close frame with it.  The sweeper ends it if the client does not.
                self._expect_end()
                self.transport.write_eof()
        return not had_begun and self.ends_at_s is not None

    def reject(self, response: bytes) -> None:
        """End a connection that did not become a WebSocket, with this response."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(response)
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.abort()

    async def room(self) -> bool:
        """Write what is queued and wait until the client has read most of it; False if it does not."""
        self.flush()
        await asyncio.sleep(0)  # the loop writes
        if self._resumed is not None and self.is_open:
            await asyncio.wait([self._resumed], timeout=STALL_S)
        return self.is_open and self._resumed is None

    # What the transport tells of its buffer.

    def pause(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self._resumed = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """The transport's buffer has drained, or is gone."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def lose(self) -> None:
        """The connection is lost."""
        self.transport = None
        self.resume()

    def _expect_end(self) -> None:
        self.outbox.clear()  # nothing comes behind a close
        if self.ends_at_s is None:
            self.ends_at_s = self._clock.monotonic_s() + CLOSE_GRACE_S
