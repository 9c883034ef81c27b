"""What clients get: JSON of the documented shape, in WebSocket frames of every length."""

import json
import random
import zlib
from decimal import Decimal

import pytest

from bridge.deflate import TAIL, WINDOW_BITS
from bridge.events import RowEvent, View
from bridge.fanout.frames import EventEncoder, Frame, notice, text_frame
from bridge.fanout.notices import Status
from tests.support.events import message

encoder = EventEncoder(dialog_table="public.dialogs", message_table="public.messages")


def encoded(event: RowEvent, action: str = "INSERT", columns: frozenset[str] | None = None) -> dict:
    return json.loads(encoder.encode(event, View(action=action, columns=columns), "e-1").payload)  # type: ignore[arg-type]


def test_tables_play_their_parts_by_the_names_of_the_database() -> None:
    """Which are known once its catalog has been read."""
    late = EventEncoder(dialog_table="public.Rooms", message_table='public."Posts"')
    assert late.type_of("public.Posts", "INSERT") == "row_change"
    late.name_tables(dialog_table="public.rooms", message_table="public.Posts")
    assert late.type_of("public.Posts", "INSERT") == "new_message"
    assert late.type_of("public.rooms", "INSERT") == "dialog_update"


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_header_for_its_length(size: int, header: bytes):
    """The three forms of RFC 6455, at their edges."""
    assert text_frame(b"x" * size) == header + b"x" * size


def test_a_frame_is_compressed_once_for_all_who_want_it_so():
    """RSV1 on a text frame, which inflates to the payload and keeps its cursor; others get what they did."""
    frame = encoder.encode(message(1, body="hello " * 50), View(action="INSERT"), "e-1")
    plain, packed = frame.wire, frame.pack()
    data = packed.wire[4:]
    assert packed.wire[:4] == b"\xc1\x7e" + len(data).to_bytes(2, "big")
    assert zlib.decompressobj(-WINDOW_BITS).decompress(data + TAIL) == frame.payload
    assert frame.packed is packed
    assert (frame.wire, packed.cursor, packed.payload) == (plain, "e-1", frame.payload)


def test_what_would_not_get_smaller_is_sent_as_it_is():
    """Small messages are not tried; what cannot be compressed is tried once."""
    small = notice(Status("live"))
    assert small.pack() is small
    noise = random.Random(1).randbytes(1000)
    frame = Frame(noise, text_frame(noise))
    assert frame.pack().wire == frame.wire
    assert frame.packed is not None


@pytest.mark.parametrize(
    ("table", "action", "type_"),
    [
        ("public.messages", "INSERT", "new_message"),
        ("public.messages", "UPDATE", "message_update"),
        ("public.messages", "DELETE", "message_delete"),
        ("public.dialogs", "INSERT", "dialog_update"),
        ("public.dialogs", "DELETE", "dialog_update"),
        ("other.messages", "UPDATE", "row_change"),
    ],
)
def test_the_type_follows_table_and_experience(table: str, action: str, type_: str):
    """As docs/protocol.md has it."""
    assert encoder.type_of(table, action) == type_


def test_an_insert_has_every_documented_field():
    """The envelope of supabase-js, and ours around it."""
    assert encoded(message(1, id="s-7")) == {
        "type": "new_message",
        "id": "s-7",
        "cursor": "e-1",
        "dialog_id": "d1",
        "schema": "public",
        "table": "messages",
        "eventType": "INSERT",
        "commit_timestamp": "2026-01-01T00:00:00.000Z",
        "new": {"id": 1, "body": "hi"},
        "old": {},
        "errors": None,
    }


def test_an_update_shows_both_rows_and_a_delete_the_key_alone():
    """DELETE has an empty `new`, whatever happened in the table."""
    event = message(1, old={"id": 1, "body": "before"})
    assert encoded(event, "UPDATE")["old"] == {"id": 1, "body": "before"}
    assert (encoded(event, "DELETE")["old"], encoded(event, "DELETE")["new"]) == ({"id": 1}, {})
    assert encoded(message(1), "UPDATE")["old"] == {}
    hiding = View(action="UPDATE", hides_old=True)
    assert json.loads(encoder.encode(event, hiding, "c").payload)["old"] == {"id": 1}
    assert encoded(message(1), "DELETE")["old"] == {"id": 1}


def test_a_withdrawal_names_the_key_and_the_dialog_that_the_client_has():
    """Both may have changed with the row."""
    event = message(2, old={"id": 1, "body": "b"}, old_dialog_id="d0")
    assert (encoded(event, "DELETE")["old"], encoded(event, "DELETE")["dialog_id"]) == ({"id": 1}, "d0")
    assert encoded(event, "UPDATE")["dialog_id"] == "d1"


def test_columns_that_may_not_be_selected_are_left_out():
    """In `new`, in `old`, and in the key."""
    event = message(1, old={"id": 1, "body": "before"})
    only = frozenset({"body"})
    assert encoded(event, "UPDATE", only)["new"] == {"body": "hi"}
    assert encoded(event, "UPDATE", only)["old"] == {"body": "before"}
    assert encoded(event, "DELETE", only)["old"] == {}


@pytest.mark.parametrize("action", ["INSERT", "UPDATE", "DELETE"])
def test_the_dialog_is_not_named_to_who_may_not_select_what_names_it(action: str):
    """The envelope tells nothing that the row does not."""
    event = message(1, dialog_column="room_id", old={"id": 1}, old_dialog_id="d0")
    assert encoded(event, action, frozenset({"id", "body"}))["dialog_id"] is None
    for columns in (None, frozenset({"id", "room_id"})):
        assert encoded(event, action, columns)["dialog_id"] == ("d0" if action == "DELETE" else "d1")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (True, True),
        (Decimal("0.5"), 0.5),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (None, None),
        ({"a": [1]}, {"a": [1]}),
    ],
)
def test_numbers_that_javascript_would_round_become_strings(value: object, shown: object):
    """Everything else stays as it is."""
    assert encoded(message(1, new={"v": value}))["new"] == {"v": shown}


def test_a_notice_has_no_cursor():
    """It is no event: nothing to resume from."""
    frame = notice(Status("live"))
    assert (frame.payload, frame.cursor) == (b'{"type":"status","upstream":"live"}', None)
    assert frame.wire == text_frame(frame.payload)
