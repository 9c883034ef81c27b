"""What each row of the journal says."""

from typing import Any, TypeAlias

import msgspec
import structlog

from bridge import metrics
from bridge.events import Action, Change
from bridge.journal import JournalRow
from bridge.numbers import exact_number

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Truncated(msgspec.Struct, frozen=True):
    """A table lost all its rows."""

    id: int
    table: str


class Unreadable(msgspec.Struct, frozen=True):
    """A row that is none of ours, or in which a value nests too deep: what changed is not known."""

    id: int
    table: str


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
                str(new.get("txid", "")),
                change.last,
            ],
            JournalRow,
        )
    except (KeyError, msgspec.ValidationError):
        return None


def read_entry(row: JournalRow, received_s: float) -> Entry:
    """Return what ``row`` says."""
    if row.action == "TRUNCATE":
        return Truncated(row.id, row.relation)
    try:
        return Change(
            table=row.relation,
            action=msgspec.convert(row.action, Action),
            new=None if row.record is None else _record.decode(row.record),
            old=None if row.old_record is None else _record.decode(row.old_record),
            commit_timestamp=row.recorded_at,
            received_s=received_s,
            id=row.id,
            txid=row.txid,
            last=row.last,
        )
    except (msgspec.MsgspecError, RecursionError, ArithmeticError):
        metrics.FRAMES_SKIPPED.labels("undecodable").inc()
        hint = "a value nests too deep, or somebody else than bridge.record_change() wrote it"
        log.error("journal_row_skipped", id=row.id, table=row.relation, hint=hint)
        return Unreadable(row.id, row.relation)
