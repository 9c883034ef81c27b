"""What each row of the journal says, and in which order rows were committed."""

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise
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
        oid = new.get("relation_oid")
        return JournalRow(id_, relation, action, record, old, at, txid, change.last, received_s, oid)
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
            oid=row.oid,
        )
    except (KeyError, msgspec.MsgspecError, RecursionError, ArithmeticError):
        metrics.FRAMES_SKIPPED.labels("undecodable").inc()
        hint = "a value nests too deep, or somebody else than bridge.record_change() wrote it"
        log.error("journal_row_skipped", id=row.id, table=row.relation, hint=hint)
        return Unreadable(row.id, row.relation)


class Held(msgspec.Struct, frozen=True):
    """A row of the stream that waits for a read."""

    entry: Entry
    txid: str

    @property
    def xid(self) -> int:
        """The transaction's number; 0 where the stream does not say, as with a journal of an older form."""
        return int(self.txid) if self.txid.isdecimal() else 0


def as_committed(arrived: Sequence[Held]) -> list[int]:
    """Return the ids of rows in the order of their commits, where the stream tells it, or else as they are.

    Ids are handed out before the commit.  What was written in a transaction that went on while somebody was
    removed is not for them, although its id is the smaller one.

    Args:
        arrived: The rows as the stream brought them: in the order of commits, if it is in order itself.
    """
    ids = [held.entry.id for held in arrived]
    by_id = sorted(ids)
    if ids == by_id:
        return ids
    # Frames out of order are no order: then times go back, or what one transaction wrote does.
    times = [_time(held.entry) for held in arrived]
    last: dict[str, int] = {}
    for held in arrived:
        if last.get(held.txid, 0) > held.entry.id:
            return by_id
        last[held.txid] = held.entry.id
    return ids if all(one <= other for one, other in pairwise(times)) else by_id


def _time(entry: Entry) -> dt.datetime:
    """Return when it was committed; far in the future where it does not say."""
    text = entry.commit_timestamp if isinstance(entry, Change) else ""
    return dt.datetime.fromisoformat(text or "9999-12-31T00:00:00Z")
