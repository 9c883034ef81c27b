"""permessage-deflate: which offers are taken, what clients may send, and what of it is inflated."""

import zlib
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from bridge import metrics
from bridge.connection.compression import DeflateFactory, wire_of
from bridge.connection.handshake import MAX_MESSAGE_BYTES, Protocol, answer
from bridge.deflate import TAIL
from bridge.fanout import Frame
from bridge.fanout.frames import text_frame

OFFER = "permessage-deflate"
COMPRESSED = 0x40
"""RSV1."""

FACTORIES = (DeflateFactory(),)


def opened(offer: str = OFFER, factories: Any = FACTORIES) -> tuple[Protocol, str | None]:
    """Return a protocol that has answered a handshake with this offer, and what it said to it."""
    protocol = Protocol(factories)
    headers = Headers(
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Extensions": offer,
        }
    )
    accepted, response = answer(protocol, Request("/ws", headers))
    assert accepted
    _, _, said = response.decode().partition("Sec-WebSocket-Extensions: ")
    return protocol, said.partition("\r\n")[0] or None


def packed(payload: bytes, *, window_bits: int = 15, end: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(wbits=-window_bits)
    return (compressor.compress(payload) + compressor.flush(end)).removesuffix(TAIL)


def masked(first: int, data: bytes) -> bytes:
    size = len(data)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((first,)) + length + bytes(4) + data


def heard(*frames: bytes, offer: str = OFFER) -> list[bytes] | int:
    """Return what the frames said, or the code that they were closed with."""
    protocol, _ = opened(offer)
    for frame in frames:
        protocol.receive_data(frame)
    if protocol.close_sent is not None:
        return protocol.close_sent.code
    return [event.data for event in protocol.events_received()]  # type: ignore[union-attr]


BOTH = "server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (OFFER, f"{OFFER}; {BOTH}"),
        (f"{OFFER}; client_max_window_bits", f"{OFFER}; {BOTH}"),  # Chromium, Node, Firefox
        (f"{OFFER}; {BOTH}", f"{OFFER}; {BOTH}"),
        (f"{OFFER}; client_max_window_bits=9", f"{OFFER}; {BOTH}; client_max_window_bits=9"),
        (f"{OFFER}; server_max_window_bits=15", f"{OFFER}; {BOTH}; server_max_window_bits=15"),
        (f"{OFFER}; server_max_window_bits=12", f"{OFFER}; {BOTH}; server_max_window_bits=12"),
        (f"{OFFER}; server_max_window_bits=10", None),
        (f"{OFFER}; server_max_window_bits=8", None),
        (f"{OFFER}; server_max_window_bits=10, {OFFER}", f"{OFFER}; {BOTH}"),
        (f"{OFFER}, {OFFER}", f"{OFFER}; {BOTH}"),
        (f"{OFFER}; server_max_window_bits=16", None),
        (f"{OFFER}; server_max_window_bits", None),
        (f"{OFFER}; unknown", None),
        (f"{OFFER}; {BOTH}; {BOTH}", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_an_offer_is_taken_if_what_all_share_can_be_read(offer: str, agreed: str | None):
    """A smaller window than that is declined, so that nothing is compressed; no context is kept on either side."""
    protocol, said = opened(offer)
    assert said == agreed
    assert bool(protocol.extensions) is (agreed is not None)


def test_nothing_is_negotiated_where_it_is_off():
    """Then the bit is an error."""
    protocol, said = opened(factories=())
    assert said is None
    protocol.receive_data(masked(0x81 | COMPRESSED, packed(b"{}")))
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1002


@pytest.mark.parametrize("size", [0, 2, 126, 2_044, 10_000, MAX_MESSAGE_BYTES])
def test_what_a_client_compresses_is_inflated(size: int):
    """Twice, as each message is by itself; up to the largest that may come; others may come as they are."""
    payload = b"x" * size
    frame = masked(0x81 | COMPRESSED, packed(payload))
    assert heard(frame, masked(0x81, b"plain"), frame) == [payload, b"plain", payload]


def test_fragments_are_inflated_as_one_message():
    """A ping may come in between; only the first has the bit."""
    data = packed(b"hello " * 100)
    frames = [
        masked(0x01 | COMPRESSED, data[:3]),
        masked(0x89, b"?"),
        masked(0x00, b""),
        masked(0x80, data[3:]),
        masked(0x01, b"pl"),
        masked(0x80, b"ain"),
    ]
    found = heard(*frames)
    assert isinstance(found, list)
    assert found.count(b"?") == 1
    assert b"".join(part for part in found if part != b"?") == b"hello " * 100 + b"plain"


def test_a_message_may_end_its_stream():
    """Section 7.2.3.4: a final block and a byte that says nothing; what is behind it is nothing, and not kept."""
    whole = packed(b"hello", end=zlib.Z_FINISH)
    assert heard(masked(0xC1, whole + b"\0")) == [b"hello"]
    assert heard(masked(0x01 | COMPRESSED, whole), *[masked(0x00, b"y" * 60_000)] * 3, masked(0x80, b"")) == [
        b"hello",
        b"",
        b"",
        b"",
        b"",
    ]


def test_a_zip_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch):
    """With the code of a message that is too large, whole or in fragments; no more than the limit comes out."""
    bomb = packed(bytes(50_000_000))
    assert len(bomb) < MAX_MESSAGE_BYTES
    longest: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._real = real(bits)

        eof = False

        def decompress(self, data: bytes, at_most: int) -> bytes:
            found = self._real.decompress(data, at_most)
            longest.append(len(found))
            return found

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    assert heard(masked(0xC1, bomb)) == 4413
    assert heard(masked(0x41, bomb[:40]), masked(0x80, bomb[40:])) == 4413
    assert heard(masked(0xC1, packed(b"x" * (MAX_MESSAGE_BYTES + 1)))) == 4413
    exact = packed(b"x" * MAX_MESSAGE_BYTES)
    assert heard(masked(0x41, exact), masked(0x80, packed(b"y"))) == 4413
    assert max(longest) <= MAX_MESSAGE_BYTES + 1


@pytest.mark.parametrize(
    "frames",
    [
        [masked(0x89 | COMPRESSED, b"")],
        [masked(0x88 | COMPRESSED, b"\x03\xe8")],
        [masked(0x01 | COMPRESSED, packed(b"a")), masked(0x80 | COMPRESSED, packed(b"b"))],
        [masked(0x01, b"a"), masked(0x80 | COMPRESSED, packed(b"b"))],
        [masked(0x80 | COMPRESSED, packed(b"b"))],
        [masked(0x01 | COMPRESSED, packed(b"a")), masked(0x81, b"b")],
        [masked(0x81 | 0x20, b"")],
        [masked(0xC1 | 0x10, packed(b"a"))],
        [masked(0xC1, b"\xff\xff\xff\xff")],
    ],
    ids=["ping", "close", "later fragment", "later of a plain one", "of nothing", "before its end", "RSV2", "RSV3", "garbage"],
)  # fmt: skip
def test_bits_where_they_must_not_be_and_garbage_end_the_connection(frames: list[bytes]):
    """1002: RFC 7692 section 6.1 has the bit in the first frame of a message only."""
    assert heard(*frames) == 1002


def test_answers_go_as_they_are():
    """A client reads both kinds."""
    protocol, _ = opened()
    protocol.data_to_send()
    protocol.send_text(b"x" * 1000)
    assert b"".join(protocol.data_to_send()) == text_frame(b"x" * 1000)


def test_events_are_compressed_once_and_what_one_client_is_told_is_not():
    """What that saves is counted for each client."""
    before = metrics.COMPRESSION_SAVED.counts[()]
    large, small = (Frame(payload, text_frame(payload), "c") for payload in (b"x" * 1000, b"{}"))
    told = Frame(large.payload, large.wire)  # as `subscribed` is

    assert wire_of(large) is wire_of(large) is large.pack().wire
    assert [wire_of(small), wire_of(told)] == [small.wire, told.wire]
    assert told.packed is None
    assert metrics.COMPRESSION_SAVED.counts[()] - before == 2 * (len(large.wire) - len(large.pack().wire)) > 0
