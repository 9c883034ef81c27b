"""What each row of the journal says."""

from typing import Any, Final, TypeAlias, get_args

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

_ACTIONS: Final[dict[str, Action]] = {action: action for action in get_args(Action)}

_record = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)


def streamed_row(change: Change) -> JournalRow | None:
    """Return the row whose INSERT into the journal ``change`` is; None if it is not whole."""
    new = change.new or {}
    try:
        id_, relation, action, record, old = (
            new["id"],
            new["relation"],
            new["action"],
            new["record"],
            new["old_record"],
        )
    except KeyError:
        return None
    # For every change: comparing classes is faster than msgspec's conversion.
    texts = (record is None or record.__class__ is str) and (old is None or old.__class__ is str)
    if id_.__class__ is int and relation.__class__ is str and action.__class__ is str and texts:
        txid = str(new.get("txid", ""))
        at, received_s = change.commit_timestamp, change.received_s
        return JournalRow(id_, relation, action, record, old, at, txid, change.last, received_s)
    return None


def read_entry(row: JournalRow, received_s: float) -> Entry:
    """Return what ``row`` says."""
    if row.action == "TRUNCATE":
        return Truncated(row.id, row.relation)
    try:
        return Change(
            table=row.relation,
            action=_ACTIONS[row.action],
            new=None if row.record is None else _record.decode(row.record),
            old=None if row.old_record is None else _record.decode(row.old_record),
            commit_timestamp=row.recorded_at,
            received_s=received_s,
            id=row.id,
            txid=row.txid,
            last=row.last,
        )
    except (KeyError, msgspec.MsgspecError, RecursionError, ArithmeticError):
        metrics.FRAMES_SKIPPED.labels("undecodable").inc()
        hint = "a value nests too deep, or somebody else than bridge.record_change() wrote it"
        log.error("journal_row_skipped", id=row.id, table=row.relation, hint=hint)
        return Unreadable(row.id, row.relation)
