"""What is fed to the bridge is what a replication slot sends."""

import datetime as dt
import struct

import msgspec

from bridge.bench.plan import STAMP
from bridge.bench.wire import SlotWriter, ready_message
from bridge.capture.journal_rows import read_entry
from bridge.capture.replication import Stream
from bridge.capture.wal_rows import RowReader
from bridge.events import Change, RowEvent, View
from bridge.fanout.frames import EventEncoder

AT = dt.datetime(2026, 1, 1, 10, 0, 0, 123_456, tzinfo=dt.UTC)


def _changes(data: bytes) -> list[Change]:
    stream, reader, changes = Stream(), RowReader(), []
    while data:
        (size,) = struct.unpack_from("=I", data)
        payload = stream.receive(memoryview(data)[4 : 4 + size])
        data = data[4 + size :]
        read = None if payload is None else reader.read(payload, 1.0)
        if read is not None:
            entry = read_entry(read[0], 1.0)
            assert isinstance(entry, Change)
            changes.append(entry)
    return changes


def test_the_slot_sends_one_row_of_the_journal_for_each_message():
    """The table is described once; ids follow each other; a keepalive says nothing."""
    slot = SlotWriter(7, AT)

    first, second = _changes(slot.message("d1") + slot.keepalive + slot.message("d2"))

    assert (first.id, second.id, first.table, first.action) == (7, 8, "public.messages", "INSERT")
    assert first.new is not None
    assert second.new is not None
    assert (first.new["dialog_id"], second.new["dialog_id"]) == ("d1", "d2")
    assert first.new["body"].startswith(STAMP.decode())
    assert first.commit_timestamp == "2026-01-01T10:00:00.123Z"


def test_other_servers_send_what_the_bridge_would():
    """The same fields, and about as many bytes: nobody has less to write."""
    (change,) = _changes(SlotWriter(7, AT).message("d" * 36))
    text = ready_message(0, 7, "d" * 36)[8:]
    encoder = EventEncoder(dialog_table="public.dialogs", message_table="public.messages")
    event = RowEvent(
        table=change.table,
        new=change.new,
        old=None,
        key={},
        dialog_id="d" * 36,
        commit_timestamp=change.commit_timestamp,
        received_s=0.0,
        id="01234567-7",
    )
    ours = encoder.encode(event, View(action="INSERT"), "0123456789abcdef-7").payload

    assert list(msgspec.json.decode(text)) == list(msgspec.json.decode(ours))
    assert abs(len(text) - len(ours)) < 16
