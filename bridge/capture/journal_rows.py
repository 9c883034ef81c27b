"""The rows of the journal as they arrive, and what each of them says."""

from typing import Any, Final, TypeAlias

import msgspec
import structlog

from bridge import metrics
from bridge.events import Action, Change
from bridge.numbers import exact_number

log: structlog.stdlib.BoundLogger = structlog.get_logger()

JOURNAL: Final = "bridge.journal"
"""The table; its primary key is ``id``."""


class JournalRow(msgspec.Struct, frozen=True, array_like=True):
    """One row as ``bridge_journal_since()`` gives it; records are JSON texts."""

    id: int
    relation: str
    action: str
    record: str | None
    old_record: str | None
    recorded_at: str


class JournalPage(msgspec.Struct, frozen=True):
    """Rows as of one snapshot, in order of their ids.

    Attributes:
        epoch: Another one where ids may be handed out again: a promoted standby, a restored backup.
        xmin: Every transaction before it has ended.
        xmax: See :meth:`~bridge.position.Position.looked`.
        pruned: The largest id that was deleted because of its age; 0 for none.
        more: True if it was cut after the last row.
        rows: What was asked for.
    """

    epoch: str
    xmin: str
    xmax: str
    pruned: int
    more: bool
    rows: list[JournalRow]


class Truncated(msgspec.Struct, frozen=True):
    """A table lost all its rows."""

    id: int


class Unreadable(msgspec.Struct, frozen=True):
    """A row that is none of ours."""

    id: int


Entry: TypeAlias = Change | Truncated | Unreadable

_record = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)


def streamed_row(change: Change) -> JournalRow | None:
    """Return the row whose INSERT into the journal ``change`` is; None if it is not whole."""
    new = change.new or {}
    try:
        return msgspec.convert(
            [
                new["id"],
                new["relation"],
                new["action"],
                new["record"],
                new["old_record"],
                change.commit_timestamp,
            ],
            JournalRow,
        )
    except (KeyError, msgspec.ValidationError):
        return None


def read_entry(row: JournalRow, received_s: float) -> Entry:
    """Return what ``row`` says."""
    if row.action == "TRUNCATE":
        return Truncated(row.id)
    try:
        return Change(
            table=row.relation,
            action=msgspec.convert(row.action, Action),
            new=None if row.record is None else _record.decode(row.record),
            old=None if row.old_record is None else _record.decode(row.old_record),
            commit_timestamp=row.recorded_at,
            received_s=received_s,
            id=row.id,
        )
    except (msgspec.MsgspecError, RecursionError, ArithmeticError):
        metrics.FRAMES_SKIPPED.labels("undecodable").inc()
        log.error("journal_row_skipped", id=row.id, hint="somebody else than bridge.record_change() wrote it")
        return Unreadable(row.id)
