"""permessage-deflate of one connection: negotiated, inflated within bounds, and nothing kept in between.

No context is taken over in either direction.  Events are compressed, each once for all who get it; what
is told to one client is mostly short, and goes as it is.
"""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

from typing_extensions import override
from websockets.exceptions import NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import CTRL_OPCODES, OP_CONT, Frame
from websockets.typing import ExtensionParameter

from bridge import metrics
from bridge.connection.ports import Frame as OutFrame
from bridge.deflate import TAIL, WINDOW_BITS

_saved = metrics.COMPRESSION_SAVED.counts


class Deflate(Extension):
    """Inflates what a client sends.

    websockets' own would keep for ever what follows the end of a stream, and let pass a bit that
    RFC 7692 section 6.1 forbids in a later fragment.
    """

    name = PerMessageDeflate.name
    _inflater: Any = None
    """Of the message whose fragments are coming."""

    @override
    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return ``frame`` with what it says; the protocol refuses those that keep the bit.

        Raises:
            PayloadTooBig: it says more than ``max_size``; no more than that has been inflated.
            ProtocolError: it cannot be inflated.
        """
        is_first = frame.opcode is not OP_CONT
        is_compressed = frame.rsv1 if is_first else self._inflater is not None and not frame.rsv1
        if frame.opcode in CTRL_OPCODES or not is_compressed:
            return frame
        if is_first:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        limit_bytes = len(frame.data) if max_size is None else max_size
        # Not again after the end of a stream: it would keep whatever follows.
        said = b"" if self._inflater.eof else self._inflate(frame, limit_bytes + 1)
        if len(said) > limit_bytes:
            raise PayloadTooBig(None, limit_bytes)
        if frame.fin:
            self._inflater = None
        return dataclasses.replace(frame, data=said, rsv1=False)

    @override
    def encode(self, frame: Frame) -> Frame:
        """Return ``frame`` as it is."""
        return frame

    def _inflate(self, frame: Frame, at_most: int) -> bytes:
        data = bytes(frame.data) + TAIL if frame.fin else frame.data
        try:
            return bytes(self._inflater.decompress(data, at_most))
        except zlib.error as error:
            raise ProtocolError("a compressed message cannot be inflated") from error


class DeflateFactory(ServerExtensionFactory):
    """Accepts offers of clients that can read what fan-out has compressed for all of them."""

    name = PerMessageDeflate.name

    def __init__(self) -> None:
        self._negotiation = ServerPerMessageDeflateFactory(
            server_no_context_takeover=True, client_no_context_takeover=True
        )

    @override
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Deflate]:
        """Return what the handshake answers.

        Raises:
            NegotiationError: the offer is declined: another may follow, else nothing is compressed.
        """
        answer, agreed = self._negotiation.process_request_params(params, accepted_extensions)
        if agreed.local_max_window_bits < WINDOW_BITS:
            raise NegotiationError(f"a window of less than {WINDOW_BITS} bits is not served")
        return answer, Deflate()


class Client(Protocol):
    """A connection, as far as fan-out uses it."""

    wires: list[bytes] | None

    def flush(self) -> None: ...

    def offer(self, frame: OutFrame) -> None: ...

    async def room(self) -> bool: ...

    def send_reconnect(self, after_ms: int) -> None: ...

    def cut_off(self) -> None: ...


class DeflatingSink:
    """Stands between fan-out and a connection that has negotiated compression, and picks its bytes.

    Args:
        client: The connection.
    """

    __slots__ = ("_client", "wires")

    packs = True

    def __init__(self, client: Client) -> None:
        self._client = client
        self.wires = client.wires

    def offer(self, frame: OutFrame) -> None:
        """Queue the frame; compressed if it is an event."""
        packed = frame if frame.cursor is None else frame.packed or frame.pack()
        _saved[()] += packed.saved_bytes
        self._client.offer(packed)

    def flush(self) -> None:
        """Write everything that waits, in one call."""
        self._client.flush()

    async def room(self) -> bool:
        """Wait until the client has read most of what was offered."""
        return await self._client.room()

    def send_reconnect(self, after_ms: int) -> None:
        """Ask the client to come back, and close."""
        self._client.send_reconnect(after_ms)

    def cut_off(self) -> None:
        """End a client that does not read."""
        self._client.cut_off()
