"""permessage-deflate, as RFC 7692 has it, with zlib as the reader."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.deflate import SMALL_BYTES, TAIL, WINDOW_BITS, deflated


def inflated(data: bytes) -> bytes:
    """Inflate with no more than the window: in pieces, as zlib looks into what it has just written without asking."""
    inflater, found, rest = zlib.decompressobj(-WINDOW_BITS), b"", data + TAIL
    while piece := inflater.decompress(rest, 64):
        found, rest = found + piece, inflater.unconsumed_tail
    return found


@given(st.binary(max_size=20_000) | st.text(max_size=500).map(str.encode))
def test_a_message_is_read_as_it_was(payload: bytes):
    """Whatever it is, an empty one too."""
    assert inflated(deflated(payload)) == payload


@given(st.binary(min_size=1, max_size=300))
def test_nothing_of_another_message_is_in_it(payload: bytes):
    """The same text gives the same bytes, whatever was compressed before."""
    first = deflated(payload)
    deflated(payload + b"something else")
    assert deflated(payload) == first


@pytest.mark.parametrize("distance", [100, 4_096, 5_000, 32_000])
def test_no_message_points_back_further_than_the_window(distance: int):
    """A client that has agreed to 4 KiB reads it; what is repeated after more is sent again."""
    chooser = random.Random(1)
    payload = chooser.randbytes(distance) * 3
    assert inflated(deflated(payload)) == payload


def test_a_typical_message_gets_smaller_from_the_threshold_on():
    """A DELETE is the shortest event; the notices below the threshold stay as they are."""
    event = (
        b'{"type":"message_delete","id":"01234567-77","cursor":"0123456789abcdef-77","dialog_id":null,"schema":"public",'
        b'"table":"messages","eventType":"DELETE","commit_timestamp":"2026-01-01T10:00:00.123Z","new":{},"old":{"id":7},"errors":null}'
    )
    assert len(event) > SMALL_BYTES
    assert len(deflated(event)) < 0.8 * len(event)
