"""Messages of the pgoutput plugin, made by hand after "Logical Replication Message Formats"."""

import datetime as dt
import struct
from collections.abc import Sequence


def begin(at: dt.datetime) -> bytes:
    """A BEGIN; the time is in microseconds since 2000."""
    since = at - dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    return b"B" + struct.pack(">qqi", 1, since // dt.timedelta(microseconds=1), 7)


def commit() -> bytes:
    """A COMMIT; of its positions and its time nobody reads anything."""
    return b"C" + struct.pack(">bqqq", 0, 1, 2, 3)


def relation(schema: str, name: str, columns: Sequence[str], *, oid: int = 42, identity: str = "d") -> bytes:
    """A table whose first column is its key."""
    head = b"R" + struct.pack(">i", oid) + text(schema) + text(name) + identity.encode()
    parts = [
        (b"\1" if n == 0 else b"\0") + text(column) + struct.pack(">ii", 25, -1)
        for n, column in enumerate(columns)
    ]
    return head + struct.pack(">h", len(columns)) + b"".join(parts)


def row(*cells: str | None) -> bytes:
    """A row; None is NULL, ``...`` a value that was not sent."""
    encoded = struct.pack(">h", len(cells))
    for cell in cells:
        if cell is None:
            encoded += b"n"
        elif cell == "...":
            encoded += b"u"
        else:
            encoded += b"t" + struct.pack(">i", len(cell.encode())) + cell.encode()
    return encoded


def insert(*cells: str | None, oid: int = 42) -> bytes:
    """An INSERT."""
    return b"I" + struct.pack(">i", oid) + b"N" + row(*cells)


def text(value: str) -> bytes:
    """A null-terminated string."""
    return value.encode() + b"\0"
