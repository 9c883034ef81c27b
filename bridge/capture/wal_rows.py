"""From the plugin's messages to rows of the journal: those inserted, in commit order."""

import datetime as dt
from collections.abc import Callable
from itertools import takewhile
from operator import itemgetter
from typing import Any, Final

from bridge.capture.refusal import ReplicationError
from bridge.clock import rfc3339_ms
from bridge.journal import JOURNAL, NAME, SCHEMA, JournalRow
from bridge.pgoutput import EPOCH, Relation, read_commit_us, read_relation, read_some

NEEDED: Final = ("id", "relation", "action", "record", "old_record")
LATER: Final = ("txid", "relation_oid")
"""Columns that the journal was given later, in that order."""

_INSERT, _BEGIN, _COMMIT, _RELATION = map(ord, "IBCR")


class RowReader:
    """Reads the messages of one slot, in order.

    The journal is pruned by DELETE: those are the bulk of what else arrives, and cost a look at one byte.
    """

    def __init__(self) -> None:
        self._oid = b""
        """The journal's, once it has been described."""
        self._others: set[bytes] = set()
        """The oids of tables that are none of ours."""
        self._wanted: tuple[bool, ...] = ()
        """For each of its columns whether it is one of ours."""
        self._pick: Callable[[list[str | None]], tuple[Any, ...]] = itemgetter(0)
        """Puts these in order."""
        self._committed_s = -1
        self._prefix = ""
        self._commit_timestamp = ""
        self._kept: tuple[Any, ...] | None = None
        """The last row: with the next message it is known whether it is the last of its transaction."""
        self._kept_size = 0
        self._received_s = 0.0

    def read(self, message: bytes, received_s: float) -> tuple[JournalRow, int] | None:
        """Return the row before ``message``, and the size of its message in bytes; None where there is none.

        Raises:
            ReplicationError: the journal lacks a column, or the publication leaves it out.
            ValueError, IndexError, LookupError, struct.error: it is none of pgoutput's, version 1.
        """
        kind = message[0]
        if kind == _COMMIT:
            return None if self._kept is None else self._told(self._kept, last=True)
        if kind == _INSERT:
            oid = message[1:5]
            if oid != self._oid:
                if oid in self._others:
                    return None
                raise LookupError("a row of a table that was not described")
            before = None if self._kept is None else self._told(self._kept, last=False)
            cells = read_some(message, 6, self._wanted)
            cells.append("")  # stands for what there is no column for
            self._kept = self._pick(cells)
            self._kept_size, self._received_s = len(message), received_s
            return before
        if kind == _BEGIN:
            self._date(read_commit_us(message))
        elif kind == _RELATION:
            self._describe(message[1:5], read_relation(message))
        return None

    def _told(self, kept: tuple[Any, ...], *, last: bool) -> tuple[JournalRow, int]:
        self._kept = None
        id_, relation, action, record, old_record, txid, oid = kept
        at, received_s = self._commit_timestamp, self._received_s
        oid = int(oid) if oid else None
        row = JournalRow(int(id_), relation, action, record, old_record, at, txid, last, received_s, oid)
        return row, self._kept_size

    def _date(self, committed_us: int) -> None:
        """Take note of when the transaction committed that begins."""
        second, microseconds = divmod(committed_us, 1_000_000)
        if second != self._committed_s:
            self._committed_s = second
            self._prefix = rfc3339_ms(EPOCH + dt.timedelta(seconds=second)).removesuffix("000Z")
        self._commit_timestamp = f"{self._prefix}{microseconds // 1000:03d}Z"

    def _describe(self, oid: bytes, relation: Relation) -> None:
        if relation.name != NAME or relation.schema != SCHEMA:
            self._others.add(oid)
            if oid == self._oid:
                self._oid = b""  # it was renamed
            return
        names = [name for name, _ in relation.columns]
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise ReplicationError(
                f"the rows of {JOURNAL} come without {', '.join(missing)}",
                "apply sql/migrations (bridge migrate up), and publish the table without a column list",
            )
        wanted = (*NEEDED, *takewhile(names.__contains__, LATER))
        ours = [name for name in names if name in wanted]
        self._others.discard(oid)
        self._oid, self._wanted = oid, tuple(name in wanted for name in names)
        self._pick = itemgetter(*[ours.index(name) if name in ours else -1 for name in (*NEEDED, *LATER)])
