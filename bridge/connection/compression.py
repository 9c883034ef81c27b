"""permessage-deflate of one connection: negotiated, inflated within bounds, and nothing kept in between.

No context is taken over in either direction.  Events are compressed, each once for all who get it; what
is told to one client is mostly short, and goes as it is.
"""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

from typing_extensions import override
from websockets.exceptions import NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions import Extension, ServerExtensionFactory
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import CTRL_OPCODES, OP_CONT, Frame
from websockets.typing import ExtensionParameter

from bridge import metrics
from bridge.connection.ports import Frame as OutFrame
from bridge.deflate import TAIL, WINDOW_BITS


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


def wire_of(frame: OutFrame) -> bytes:
    """Return the bytes of ``frame`` for one who has negotiated compression; only events are compressed."""
    if frame.cursor is None:
        return frame.wire
    packed = frame.pack()
    metrics.COMPRESSION_SAVED.counts[()] += packed.saved_bytes
    return packed.wire
