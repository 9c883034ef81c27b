"""A database with a journal, as far as readers can tell: ids, transactions, commits and snapshots."""

import json
from collections import deque
from collections.abc import Sequence

import msgspec

from bridge.events import Change
from bridge.journal import JournalPage, JournalRow


class Transaction:
    """Takes ids as it writes; a commit is sent to the stream before snapshots see it."""

    def __init__(self, xid: int) -> None:
        self.xid = xid
        self.rows: list[JournalRow] = []
        self.sent = False


class Snapshot:
    """What is visible, and between which transactions."""

    def __init__(self, rows: dict[int, JournalRow], xmin: int, xmax: int) -> None:
        self.rows = rows
        self.xmin = xmin
        self.xmax = xmax


class JournalModel:
    """Rows that are told by their ids, of a few keys that no two transactions write at once.

    Attributes:
        committed: All rows of transactions that have ended well.
        sent_at: When a row was sent to the stream, by id; on a clock of steps.
        seen_at: When it came into sight.
        wal: Committed rows that the stream has not brought yet, in the order of their commits.
    """

    def __init__(self) -> None:
        self.epoch = "1"
        self.pruned = 0
        self.committed: dict[int, JournalRow] = {}
        self.keys: dict[int, int] = {}
        self.sent_at: dict[int, int] = {}
        self.seen_at: dict[int, int] = {}
        self.wal: deque[JournalRow] = deque()
        self.open: list[Transaction] = []
        self._last_id = 0
        self._last_xid = 100
        self._last_ended = 100
        self._step = 0

    def begin(self) -> Transaction:
        self._last_xid += 1
        self.open.append(Transaction(self._last_xid))
        return self.open[-1]

    def write(self, transaction: Transaction, key: int, action: str = "INSERT") -> int | None:
        """Take an id; None where another transaction has the row locked, or this one has committed."""
        if transaction.sent or any(
            self.keys[row.id] == key for other in self.open if other is not transaction for row in other.rows
        ):
            return None
        self._last_id += 1
        record = None if action == "TRUNCATE" else json.dumps({"key": key})
        row = JournalRow(self._last_id, "public.t", action, record, None, "2026-01-01T00:00:00.000Z")
        transaction.rows.append(row)
        self.keys[row.id] = key
        return row.id

    def send(self, transaction: Transaction) -> None:
        """Write the commit down."""
        if not transaction.sent:
            transaction.sent = True
            self._step += 1
            self.sent_at |= dict.fromkeys([row.id for row in transaction.rows], self._step)
            # What is streamed says when it was committed.
            at = f"2026-01-01T00:00:00.{self._step % 1000:03d}Z"
            self.wal += [
                msgspec.structs.replace(row, recorded_at=at, txid=str(transaction.xid))
                for row in transaction.rows
            ]

    def end(self, transaction: Transaction) -> None:
        """Roll back what has not committed; what has comes into sight."""
        self.open.remove(transaction)
        self._last_ended = max(self._last_ended, transaction.xid)
        if transaction.sent:
            self._step += 1
            self.seen_at |= dict.fromkeys([row.id for row in transaction.rows], self._step)
            self.committed |= {row.id: row for row in transaction.rows}

    def commit(self, *keys: int, action: str = "INSERT") -> list[int]:
        """Write and commit rows; return their ids."""
        transaction = self.begin()
        ids = [self.write(transaction, key, action) or 0 for key in keys]
        self.send(transaction)
        self.end(transaction)
        return ids

    def prune(self, up_to: int) -> None:
        gone = [id_ for id_ in self.committed if id_ <= up_to]
        self.committed = {id_: row for id_, row in self.committed.items() if id_ > up_to}
        self.pruned = max([self.pruned, *gone])

    def snapshot(self) -> Snapshot:
        """As Postgres takes it: ``xmax`` is one past the last that has ended, not the last that has begun."""
        xmax = self._last_ended + 1
        running = [transaction.xid for transaction in self.open if transaction.xid < xmax]
        return Snapshot(dict(self.committed), min(running, default=xmax), xmax)

    def page(
        self, snapshot: Snapshot, after: int, holes: Sequence[tuple[int, int]], max_rows: int
    ) -> JournalPage:
        """Answer as ``bridge_journal_since()`` does, which looks at what runs after it took its snapshot."""
        wanted = [
            row
            for id_, row in sorted(snapshot.rows.items())
            if id_ > after or any(first <= id_ <= last for first, last in holes)
        ]
        rows = wanted[:max_rows]
        last_id = max([row.id for row in rows], default=0)
        xmax = snapshot.xmax
        if holes or sum(row.id > after for row in rows) < max(last_id, after) - after:
            xmax = max([xmax, *(transaction.xid + 1 for transaction in self.open)])
        return JournalPage(
            self.epoch, str(snapshot.xmin), str(xmax), self.pruned, len(rows) == max_rows, rows
        )


def order_is_kept(model: JournalModel, left: Sequence[int]) -> bool:
    """True if no row left before one that it may follow from, nor before an older one of its key."""
    place = {id_: n for n, id_ in enumerate(left)}
    return all(
        place[first] < place[second]
        for first in left
        for second in left
        if first < second
        and (model.keys[first] == model.keys[second] or model.seen_at[first] < model.sent_at[second])
    )


def streamed(row: JournalRow, *, received_s: float = 0.0) -> Change:
    """Return ``row`` as the stream brings it."""
    return Change(
        table="bridge.journal",
        action="INSERT",
        new={
            "id": row.id,
            "txid": row.txid or "1",
            "relation": row.relation,
            "action": row.action,
            "record": row.record,
            "old_record": row.old_record,
            "recorded_at": row.recorded_at,
        },
        old=None,
        commit_timestamp=row.recorded_at,
        received_s=received_s,
    )
