"""What clients get, encoded once: JSON for long poll, the same inside a WebSocket frame, and compressed."""

import struct
from decimal import Decimal
from typing import Any, Final

import msgspec

from bridge.deflate import SMALL_BYTES, deflated
from bridge.events import Row, RowEvent, View
from bridge.numbers import MAX_SAFE_INTEGER

_TEXT_FRAME: Final = 0x81
"""First byte of an unfragmented text frame (RFC 6455 section 5.2)."""

_COMPRESSED: Final = 0xC1
"""The same with RSV1: the payload is compressed (RFC 7692 section 6)."""

_MESSAGE_TYPES: Final = {"INSERT": "new_message", "UPDATE": "message_update", "DELETE": "message_delete"}

_AS_THEY_ARE: Final = frozenset((str, bool, type(None)))
"""Types of values that JavaScript can hold, whatever they are."""

_SIZE_IN_2: Final = struct.Struct(">BBH")
_SIZE_IN_8: Final = struct.Struct(">BBQ")

_encoder = msgspec.json.Encoder()


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One server message, ready to be sent to any number of clients.

    Attributes:
        payload: The JSON text.
        wire: The same as an unmasked WebSocket text frame.
        cursor: Cursor after this event; None for messages that are no events.
        saved_bytes: What ``wire`` is shorter than uncompressed.
        packed: The same, compressed, once somebody has asked for it.
    """

    payload: bytes
    wire: bytes
    cursor: str | None = None
    saved_bytes: int = 0
    packed: "Frame | None" = None

    def pack(self) -> "Frame":
        """Return the same for clients of permessage-deflate: :attr:`packed`, but for what is too short."""
        if self.packed is not None:
            return self.packed
        if len(self.payload) < SMALL_BYTES:
            return self
        wire = min(_framed(_COMPRESSED, deflated(self.payload)), self.wire, key=len)
        packed = Frame(self.payload, wire, self.cursor, len(self.wire) - len(wire))
        msgspec.structs.force_setattr(self, "packed", packed)
        return packed


class _Message(msgspec.Struct, frozen=True, gc=False, rename={"event_type": "eventType"}):
    """An event as clients get it."""

    type: str
    id: str
    cursor: str
    dialog_id: str | None
    schema: str
    table: str
    event_type: str
    commit_timestamp: str
    new: Row
    old: Row
    errors: None = None


def text_frame(payload: bytes) -> bytes:
    """Return ``payload`` as one unmasked WebSocket text frame."""
    return _framed(_TEXT_FRAME, payload)


def _framed(first: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:  # noqa: PLR2004 - RFC 6455 section 5.2
        return bytes((first, size)) + data
    if size < 1 << 16:
        return _SIZE_IN_2.pack(first, 126, size) + data
    return _SIZE_IN_8.pack(first, 127, size) + data


def notice(message: msgspec.Struct) -> Frame:
    """Return a message that is no event as a frame."""
    payload = _encoder.encode(message)
    return Frame(payload, text_frame(payload))


class EventEncoder:
    """Encodes the views of row events.

    Args:
        dialog_table: Table whose changes are ``dialog_update``.
        message_table: Table whose changes are ``new_message``, ``message_update``, ``message_delete``.
    """

    def __init__(self, *, dialog_table: str, message_table: str) -> None:
        self.dialog_table = dialog_table
        self._message_table = message_table
        self._names: dict[str, tuple[str, str]] = {}
        """Schema and name of the tables, by both."""

    def name_tables(self, *, dialog_table: str, message_table: str) -> None:
        """Take the names that the tables have in the database, once they are known."""
        self.dialog_table, self._message_table = dialog_table, message_table

    def type_of(self, table: str, action: str) -> str:
        """Return the message type of a change of ``table`` that is experienced as ``action``."""
        if table == self._message_table:
            return _MESSAGE_TYPES[action]
        return "dialog_update" if table == self.dialog_table else "row_change"

    def encode(self, event: RowEvent, view: View, cursor: str) -> Frame:
        """Return the frame of one view of an event."""
        names = self._names.get(event.table)
        if names is None:
            schema, _, table = event.table.partition(".")
            names = self._names[event.table] = schema, table
        payload = _encoder.encode(
            _Message(
                self.type_of(event.table, view.action),
                event.id,
                cursor,
                _dialog(event, view),
                *names,
                view.action,
                event.commit_timestamp,
                {} if view.action == "DELETE" else _shown(event.new, view),
                {} if view.action == "INSERT" else _old(event, view),
            )
        )
        return Frame(payload, _framed(_TEXT_FRAME, payload), cursor)


def _dialog(event: RowEvent, view: View) -> str | None:
    if view.columns is not None and event.dialog_column is not None and not view.tells(event.dialog_column):
        return None
    if event.old_dialog_id is not None and view.action == "DELETE":  # it moved away
        return event.old_dialog_id
    return event.dialog_id


def _old(event: RowEvent, view: View) -> Row:
    if view.action == "UPDATE" and not view.hides_old:
        return _shown(event.old, view)
    # The key before the change: that is the row that the client has.
    old = event.old or {}
    return _shown({column: old.get(column, value) for column, value in event.key.items()}, view)


def _shown(row: Row | None, view: View) -> Row:
    if row is None:
        return {}
    if view.columns is None:
        if _AS_THEY_ARE.issuperset(map(type, row.values())):  # as in most rows
            return row
        return {column: _js_value(value) for column, value in row.items()}
    return {column: _js_value(value) for column, value in row.items() if column in view.columns}


def _js_value(value: Any) -> Any:
    """Return ``value`` as JavaScript can hold it: numbers that it would round become strings."""
    if value.__class__ is int and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return str(value)
    if value.__class__ is Decimal:
        number = float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if value.__class__ is dict or value.__class__ is list:
        return _inside(value)
    return value


def _inside(value: Any) -> Any:
    """Return what a json or array column holds; its integers are as they were written."""
    if value.__class__ is dict:
        return {name: _inside(inner) for name, inner in value.items()}
    if value.__class__ is list:
        return [_inside(inner) for inner in value]
    return _js_value(value) if value.__class__ is Decimal else value
