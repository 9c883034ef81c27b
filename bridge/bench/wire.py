"""What each server reads on its input: for the bridge the messages of a replication slot, else ready text.

The journal's rows are as Postgres sends them, byte for byte (tests/unit/bench/test_wire.py compares).
"""

import datetime as dt
import struct
import uuid
from typing import Final

import msgspec

from bridge.bench.plan import STAMP
from bridge.journal import NAME, SCHEMA

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_SIZE = struct.Struct("=I")
_HEAD = struct.Struct(">cqqq")
_KEEPALIVE = struct.Struct(">cqqB")
_OID: Final = 16_384
COLUMNS: Final = ("id", "txid", "relation", "action", "record", "old_record", "recorded_at")

_encode = msgspec.json.Encoder().encode

BODY: Final = "x" * 78
"""With the stamp a message of 100 characters."""


class SlotWriter:
    """Writes what a slot sends for messages of the chat, each committed by itself, for ``bridge.bench.fed``.

    Args:
        first_id: Id of the first row of the journal.
        at: When all of it was committed.
    """

    def __init__(self, first_id: int, at: dt.datetime) -> None:
        self.next_id = first_id
        self._lsn = 0x1000000
        self._described = False
        self._time = (at - _EPOCH) // dt.timedelta(microseconds=1)
        self._recorded_at = at.strftime("%Y-%m-%d %H:%M:%S.%f+00").encode()
        self._created_at = at.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")

    @property
    def keepalive(self) -> bytes:
        """A message that says nothing new."""
        text = _KEEPALIVE.pack(b"k", 0, self._time, 0)
        return _SIZE.pack(len(text)) + text

    def message(self, dialog_id: str) -> bytes:
        """Return what is sent for one message's INSERT: BEGIN, the row of the journal, COMMIT."""
        id_ = self.next_id
        self.next_id += 1
        txid = 1000 + id_
        record = record_text(id_, dialog_id, created_at=self._created_at).encode()
        cells = (b"%d" % id_, b"%d" % txid, b"public.messages", b"INSERT", record, None, self._recorded_at)
        row = b"".join(b"n" if cell is None else b"t" + struct.pack(">i", len(cell)) + cell for cell in cells)
        self._lsn += 512
        parts = [b"B" + struct.pack(">qqi", self._lsn, self._time, txid)]
        if not self._described:
            self._described = True
            parts.append(relation(COLUMNS))
        parts.append(b"I" + struct.pack(">i", _OID) + b"N" + struct.pack(">h", len(cells)) + row)
        parts.append(b"C" + struct.pack(">bqqq", 0, self._lsn, self._lsn + 48, self._time))
        return b"".join(self._framed(part) for part in parts)

    def _framed(self, part: bytes) -> bytes:
        return _SIZE.pack(_HEAD.size + len(part)) + _HEAD.pack(b"w", self._lsn, self._lsn, self._time) + part


def record_text(id_: int, dialog_id: str, *, created_at: str = "2026-01-01T10:00:00.123456+00:00") -> str:
    """Return a message's row as the journal has it."""
    return (
        f'{{"id": "{uuid.UUID(int=id_)}", "body": "{STAMP.decode()}{BODY}", "dialog_id": "{dialog_id}", '
        f'"sender_id": "{uuid.UUID(int=1)}", "created_at": "{created_at}", "updated_at": "{created_at}"}}'
    )


def relation(columns: tuple[str, ...]) -> bytes:
    """Return the description of the journal."""
    head = b"R" + struct.pack(">i", _OID) + SCHEMA.encode() + b"\0" + NAME.encode() + b"\0d"
    parts = [
        (b"\1" if n == 0 else b"\0") + column.encode() + b"\0" + struct.pack(">ii", 25, -1)
        for n, column in enumerate(columns)
    ]
    return head + struct.pack(">h", len(columns)) + b"".join(parts)


def ready_message(group: int, number: int, dialog_id: str) -> bytes:
    """Return what the servers that only send read: the very text that a client gets."""
    record = {
        "id": str(uuid.UUID(int=number)),
        "body": f"{STAMP.decode()}{BODY}",
        "dialog_id": dialog_id,
        "sender_id": str(uuid.UUID(int=1)),
        "created_at": "2026-01-01T10:00:00.123456+00:00",
        "updated_at": "2026-01-01T10:00:00.123456+00:00",
    }
    text = _encode(
        {
            "type": "new_message",
            "id": f"01234567-{number}",
            "cursor": f"0123456789abcdef-{number}",
            "dialog_id": dialog_id,
            "schema": "public",
            "table": "messages",
            "eventType": "INSERT",
            "commit_timestamp": "2026-01-01T10:00:00.123Z",
            "new": record,
            "old": {},
            "errors": None,
        }
    )
    return struct.pack("=II", len(text), group) + text
