"""From the plugin's messages to changes of the journal: its inserted rows, in commit order."""

from typing import Any, Final

import msgspec

from bridge.capture.refusal import ReplicationError
from bridge.clock import rfc3339_ms
from bridge.events import Change
from bridge.journal import JOURNAL, NAME, SCHEMA
from bridge.pgoutput import Decoder, Relation, RowChange

_COMMIT: Final = ord("C")

NEEDED: Final = ("id", "relation", "action", "record", "old_record")


class RowReader:
    """Reads the messages of one slot, in order.

    A row is as Realtime sends it: ``id`` a number, ``recorded_at`` in RFC 3339, all else text or None.
    """

    def __init__(self) -> None:
        # The journal is pruned by DELETE: those are the bulk of what else arrives.
        self._decoder = Decoder(_is_journal, actions="I")
        self._relation: Relation | None = None
        self._names: tuple[str, ...] = ()
        self._committed_at: Any = None
        self._commit_timestamp = ""
        self._kept: tuple[Change, int] | None = None
        """The last row: with the next message it is known whether it is the last of its transaction."""

    def read(self, message: bytes, received_s: float) -> tuple[Change, int] | None:
        """Return the change before ``message``, and its size in bytes; None where it tells of none.

        Raises:
            ReplicationError: the journal lacks a column, or the publication leaves it out.
            ValueError, IndexError, LookupError, struct.error: see :class:`~bridge.pgoutput.Decoder`.
        """
        if message[0] == _COMMIT and self._kept is not None:
            (change, size), self._kept = self._kept, None
            return msgspec.structs.replace(change, last=True), size
        inserted = self._decoder.decode(message)
        if inserted is None:
            return None
        if inserted.relation is not self._relation:
            self._describe(inserted.relation)
        if inserted.committed_at is not self._committed_at:  # the same one throughout a transaction
            self._committed_at = inserted.committed_at
            self._commit_timestamp = rfc3339_ms(inserted.committed_at)
        before, self._kept = self._kept, (self._change(inserted, received_s), len(message))
        return before

    def _change(self, inserted: RowChange, received_s: float) -> Change:
        row: dict[str, Any] = dict(zip(self._names, inserted.new or (), strict=True))
        row["id"] = int(row["id"])
        recorded_at = row.get("recorded_at")
        if recorded_at is not None:
            row["recorded_at"] = _timestamp(recorded_at)
        return Change(
            table=JOURNAL,
            action="INSERT",
            new=row,
            old=None,
            commit_timestamp=self._commit_timestamp,
            received_s=received_s,
        )

    def _describe(self, relation: Relation) -> None:
        names = tuple(name for name, _ in relation.columns)
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise ReplicationError(
                f"the rows of {JOURNAL} come without {', '.join(missing)}",
                "apply sql/migrations (bridge migrate up), and publish the table without a column list",
            )
        self._relation, self._names = relation, names


def _is_journal(relation: Relation) -> bool:
    return relation.name == NAME and relation.schema == SCHEMA


def _timestamp(text: str) -> str:
    """Return a timestamptz as ``to_jsonb`` has it; ``text`` is ISO and UTC, as the connection is set."""
    return f"{text[:10]}T{text[11:]}:00" if text.endswith("+00") else text
