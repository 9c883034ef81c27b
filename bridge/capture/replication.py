"""The messages of a replication stream, and how far it has been received: no sockets, no clocks.

Source: Postgres manual, "Streaming Replication Protocol".
"""

import datetime as dt
import struct

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

_DATA = ord("w")
_KEEPALIVE = ord("k")
_DATA_BYTES = 25  # kind, LSN of what follows, end of WAL, time
_end_lsn = struct.Struct(">q").unpack_from
_KEEPALIVE_FORM = struct.Struct(">cqqB")  # kind, end of WAL, time, whether a reply is wanted at once
_STATUS = struct.Struct(">cqqqqB")  # kind, written, flushed and applied LSN, time, whether a reply is wanted


class Stream:
    """What has arrived of one slot's changes.

    Attributes:
        received_lsn: All before it has arrived.  That is what we confirm: a temporary slot is never read
            twice, and WAL kept for longer would be kept for nobody.
        reply_wanted: True while the server waits for a status, and ends the connection if none comes.
    """

    def __init__(self) -> None:
        self.received_lsn = 0
        self.reply_wanted = False

    def receive(self, message: memoryview) -> bytes | None:
        """Take one message; return the plugin's message in it, None if it holds none.

        Raises:
            ValueError, IndexError, struct.error: it has no known form.
        """
        kind = message[0]
        if kind == _DATA:
            end_lsn = _end_lsn(message, 9)[0]
            if end_lsn > self.received_lsn:  # noqa: PLR1730 - for every message: max() takes longer than the rest
                self.received_lsn = end_lsn
            return bytes(message[_DATA_BYTES:])
        if kind != _KEEPALIVE:
            raise ValueError(f"a message of kind {kind} in the replication stream")
        _, end_lsn, _, reply = _KEEPALIVE_FORM.unpack_from(message)
        self._advance(end_lsn)
        self.reply_wanted = self.reply_wanted or reply == 1
        return None

    def status(self, *, now: dt.datetime, ask: bool) -> bytes:
        """Return the message that confirms what has been received.

        Args:
            now: The time, for ``pg_stat_replication``.
            ask: Whether the server shall answer at once, to be heard of.
        """
        self.reply_wanted = False
        lsn = self.received_lsn
        return _STATUS.pack(b"r", lsn, lsn, lsn, (now - _EPOCH) // _MICROSECOND, ask)

    def _advance(self, lsn: int) -> None:
        # Descriptions of tables come with 0, changes with the LSN of their own record, before their commit's.
        self.received_lsn = max(self.received_lsn, lsn)
