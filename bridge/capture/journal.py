"""What leaves the journal, and when: rows of a stream that may lose some, and of reads that find them.

    stream ──row──▶ held ──nothing missing before it──▶ change
                     ▲
       read of what is missing, as of one snapshot: at each hole, every few seconds, or, while the
       stream is away, twice a second

Invariants, whatever the stream loses, doubles, delays or reorders:

1. Each committed row leaves once.
2. A row leaves only when every row with a smaller id that was committed before it has left.  What a
   transaction has seen of another has a smaller id, so a cause comes before its effect, and changes of one
   key come in the order in which they were made.
3. What a read has found goes with the snapshot it was found in; a row of the stream goes by itself only
   where nothing can be missing before it.
4. While the stream lives, what it brings leaves in the order of commits: who was removed while a message was
   being written is not sent it, though its id is the smaller one.  What the stream has lost leaves by ids.

No I/O and no clock here: :mod:`bridge.capture.journal_source` has both.
"""

import hashlib
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import force_setattr

from bridge import metrics
from bridge.capture.journal_rows import Entry, Held, Truncated, Unreadable, as_committed, read_entry
from bridge.events import Change, Event, Gap, GapReason, Live, Paused, Resumed
from bridge.journal import JournalPage, JournalRow
from bridge.position import Position

READ_EVERY_S = 3.0
"""Time between reads while the stream lives: what it lost silently is late by that and ``ARRIVE_S``."""

POLL_EVERY_S = 0.5
"""The same while the stream is away, when the reads are the transport; and after a read that failed."""

CLOSE_EVERY_S = 0.5
"""The same while ids are missing that may never come: two reads close them, and cursors name each of them."""

FEW_HOLES = 3

AGAIN_S = 0.05
"""Time until the next read where a row of the stream was not in the last: commits are sent before seen."""

ARRIVE_S = 0.4
"""Time for the stream to bring what a read has found while it lives: reads know no order but that of ids."""

MAX_HELD = 2_000
"""Rows of the stream that may wait for a read; no more are taken until it has come."""


_LATE, _STREAM = ("late",), ("stream",)


class _Looked(msgspec.Struct, frozen=True):
    """What a read has found has been passed: what it has not found was not there."""

    up_to: int
    xmin: int
    xmax: int


class Asked(msgspec.Struct, frozen=True):
    """What was there when a read was begun.

    Attributes:
        after: The largest id that had been passed.
        held: Rows that waited for a read.
        since: Which stream there was.
    """

    after: int
    held: frozenset[int]
    since: int


_Ready: TypeAlias = Entry | _Looked | Gap | Live | Paused | Resumed


class Journal:
    """What a reader has of the journal, and what waits to leave.

    What ``receive_*`` was told leaves by :meth:`take`, which has to be called until there is nothing left
    before the next row or page is received.

    Args:
        position: What has left already.
        epoch: Of the rows; None for that of the first page.
        lossless: True if the stream brings every commit in order while it lives.
        never: Ids that no row will ever have, as pairs of first and last.
        is_past: True if what is read has been there before there was a stream; only counted so.
    """

    def __init__(
        self,
        position: Position,
        epoch: str | None = None,
        *,
        lossless: bool = False,
        never: Sequence[tuple[int, int]] = (),
        is_past: bool = False,
    ) -> None:
        self.position = position
        self.stream = ""
        self.epoch = epoch
        self.read_epoch = epoch
        """Epoch of the last page: another one after a Gap, until somebody begins anew."""
        self._lossless = lossless
        self._never = never
        self._via = "past" if is_past else "read"
        self._ready: deque[_Ready] = deque()
        self._held: dict[int, Held] = {}
        self._absent: dict[int, int] = {}
        """Rows that are held and were not in a read, with what a later one's ``xmin`` has to reach."""
        self._aside: dict[int, float] = {}
        """Rows that a read has found and the stream may yet bring, with when they were first found."""
        self._streaming = False
        self._begun = False
        """True if a read has been made since the stream began: what that has not found, the stream brings."""
        self._whole = False
        """True if a read has found all that was committed before the stream began."""
        self._paused = False
        self._unfinished = ""
        """The transaction of which the stream is bound to bring more; empty if there is none."""
        self._due_s = self._wait_until_s = float("-inf")
        self._since = 0
        """Counts the streams, and what is begun anew."""

    @property
    def epoch(self) -> str | None:
        """What ids are of: rows of another epoch may have the same ones."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: str | None) -> None:
        self._epoch = epoch
        self.stream = hashlib.sha256((epoch or "").encode()).hexdigest()[:8]

    @property
    def waiting(self) -> int:
        """Number of rows that have arrived and not left."""
        return len(self._ready) + len(self._held)

    @property
    def ready(self) -> bool:
        """True if something may leave."""
        return bool(self._ready)

    @property
    def full(self) -> bool:
        """True if no more rows of the stream may be received before a read."""
        return len(self._held) >= MAX_HELD

    @property
    def flows(self) -> bool:
        """True if nothing waits for a read, and what the stream brings need not either."""
        return self._whole and not self._held

    def holds(self, txid: str) -> bool:
        """True if a row of this transaction waits for a read, or is certain to come."""
        return txid == self._unfinished or any(held.txid == txid for held in self._held.values())

    def read_at_s(self, *, stream_waits: bool) -> float:
        """Return when to read what is missing, on the caller's clock.

        Args:
            stream_waits: True if the stream has more, which may be what is missing.
        """
        if self._held and (self.full or not stream_waits):
            return self._wait_until_s
        soon_s = min(self._due_s, min(self._aside.values(), default=math.inf) + ARRIVE_S)
        return max(soon_s, self._wait_until_s)  # a database that fails at once is not asked at once again

    def take(self) -> Event | None:
        """Return the next event that may leave; None if there is none.

        Where a table lost all its rows, or a change of it cannot be read, a ``Gap`` stands for that and
        names it.
        """
        ready = self._ready
        while ready:
            entry = ready.popleft()
            if entry.__class__ is Change:
                if self._pass(entry.id) if self._never else self.position.add(entry.id):
                    # Nobody else has seen it yet: a copy would take as long as all the rest here.
                    force_setattr(entry, "position", self.position.text())
                    force_setattr(entry, "stream", self.stream)
                    return entry
                continue
            match entry:
                case _Looked(up_to=up_to, xmin=xmin, xmax=xmax):
                    self.position.looked(up_to=up_to, xmin=xmin, xmax=xmax)
                case Truncated(id=id_, table=table):
                    if self._pass(id_):
                        return Gap(reason="table_truncated", table=table, id=id_)
                case Unreadable(id=id_, table=table):
                    if self._pass(id_):
                        return Gap(reason="row_unreadable", table=table, id=id_)
                case event:
                    return event
        return None

    def _pass(self, id_: int) -> bool:
        before = self.position.after
        if not self.position.add(id_):
            return False
        if self._never and id_ > before + 1:
            place = bisect_left(self._never, (before, 0))
            while place < len(self._never) and self._never[place][0] < id_:
                self.position.close(*self._never[place])
                place += 1
        return True

    def restart(self, position: Position, epoch: str | None) -> None:
        """Go on from another position; what waits is forgotten and read again."""
        self.position, self.epoch = position, epoch
        self._ready.clear()
        self._forget()

    def receive_stream(self, *, lives: bool) -> None:
        """Take note that the stream has begun, has ended, or has lost something: a read is due."""
        self._streaming = lives
        self._since += 1
        self._begun = self._whole = False
        self._aside.clear()
        self._due_s = self._wait_until_s
        if not lives:
            # A read finds them, if they are of this line of time.  After a fail-over they are not, and
            # their ids are others' now.
            self._held.clear()
            self._absent.clear()

    def receive_row(self, row: JournalRow) -> None:
        """Take a row of the stream: at once if nothing can be missing before it, else after a read."""
        self._aside.pop(row.id, None)
        if self._lossless:
            self._unfinished = "" if row.last else row.txid
        if row.id in self.position or row.id in self._held:
            metrics.JOURNAL_ROWS.counts[_LATE] += 1
            return
        entry = read_entry(row, row.received_s)
        metrics.JOURNAL_ROWS.counts[_STREAM] += 1
        if self._whole and self._lossless:
            self._ready.append(entry)
            return
        self._held[row.id] = Held(entry, row.txid)
        if self._whole and not self._ready and self.position.floor == self.position.after:
            # Also what had overtaken it.
            last = self.position.after
            while last + 1 in self._held:
                last += 1
            arrived = [held for id_, held in self._held.items() if id_ <= last]
            self._ready += [self._held.pop(id_).entry for id_ in as_committed(arrived)]

    def ask(self) -> Asked:
        """Take note of what there is when a read is begun: :meth:`receive_page` has to know."""
        return Asked(self.position.after, frozenset(self._held), self._since)

    def receive_page(self, page: JournalPage, now_s: float, asked: Asked) -> None:
        """Take what was read of all that :attr:`position` lacked when it was asked for."""
        if asked.since != self._since:
            return  # what it does not have is not known to be still to come
        if self._paused:
            self._paused = False
            self._ready.append(Resumed())
        if self.epoch is None:
            self.epoch = page.epoch
        self.read_epoch = page.epoch
        if page.epoch != self.epoch:
            self._break("journal_restarted", now_s)
            return
        rows = [row for row in page.rows if row.id not in self.position]  # the others have come meanwhile
        if self.position.missing(page.pruned) > sum(row.id <= page.pruned for row in rows):
            self._break("journal_pruned", now_s)
            return
        found = {}
        for row in rows:
            self._absent.pop(row.id, None)
            # Not what was held: in another epoch that is another row.
            found[row.id] = read_entry(row, now_s)
        first = self._await_stream(found, now_s, more=page.more)
        now = {id_: entry for id_, entry in found.items() if id_ < first}
        arrived = [held for id_, held in self._held.items() if id_ in now]
        metrics.JOURNAL_ROWS.counts[self._via,] += len(now) - len(arrived)
        for held in arrived:
            del self._held[held.entry.id]
        # Where the stream has brought all of them, it has told their order, too.
        in_order = as_committed(arrived) if len(arrived) == len(now) else list(now)
        self._ready += [now[id_] for id_ in in_order]
        last_id = max(now, default=0)
        up_to = last_id if page.more else max(asked.after, last_id)
        if first > up_to:
            self._ready.append(_Looked(up_to, int(page.xmin), int(page.xmax)))
        self._wait_until_s = float("-inf")
        if page.more:
            self._due_s = self._wait_until_s
            return
        every_s = READ_EVERY_S if len(self.position.holes) <= FEW_HOLES else CLOSE_EVERY_S
        self._due_s = now_s + (every_s if self._streaming else POLL_EVERY_S)
        if not self._begun:
            self._unfinished = ""  # the stream that was bound to bring it is gone: this page had it
        self._begun = self._streaming
        self._look_for_held(asked.held.difference(found), int(page.xmin), int(page.xmax))
        still_waits = not asked.held.isdisjoint(self._held)
        self._whole = self._streaming and not still_waits
        if still_waits:
            self._wait_until_s = now_s + AGAIN_S

    def _await_stream(self, found: Mapping[int, Entry], now_s: float, *, more: bool) -> float:
        """Return the first id that the stream may yet bring: it and those behind it wait for that."""
        since, self._aside = self._aside, {}
        if not self._begun or more or self.full:
            return math.inf
        for id_ in found.keys() - self._held.keys():
            since_s = since.get(id_, now_s)
            if now_s < since_s + ARRIVE_S:
                self._aside[id_] = since_s
        return min(self._aside, default=math.inf)

    def receive_failure(self, now_s: float) -> None:
        """Take note that a read failed."""
        self._due_s = self._wait_until_s = now_s + POLL_EVERY_S
        if not self._paused and (self._held or not self._whole):
            self._paused, self._whole = True, False
            self._ready.append(Paused())

    def _look_for_held(self, unseen: frozenset[int], xmin: int, xmax: int) -> None:
        """Keep what the stream had brought and a read has not; let go what no read will find any more."""
        for id_ in sorted(unseen.intersection(self._held)):
            known = self._absent.get(id_)
            if known is None:
                # The snapshot may end before its transaction, which has been sent and is not in sight yet.
                self._absent[id_] = max(xmax, self._held[id_].xid + 1)
            elif xmin >= known:
                # Its transaction has ended and it is not there: somebody has deleted it from the journal.
                del self._absent[id_]
                self._ready.append(self._held.pop(id_).entry)

    def _break(self, reason: GapReason, now_s: float) -> None:
        """A new line of time, or rows that are gone unread: what is in memory may be wrong."""
        self._forget()
        self._ready += [Gap(reason=reason), Live()]
        self._due_s = self._wait_until_s = now_s + POLL_EVERY_S

    def _forget(self) -> None:
        self._since += 1
        self._held.clear()
        self._absent.clear()
        self._aside.clear()
        self._unfinished = ""
        self._begun = self._whole = False
        self._due_s = self._wait_until_s = float("-inf")
