"""The latest events, for clients that come back with a cursor.  In memory, bounded three ways.

A cursor is a version and a position.  The version names the stream and what the policies mean, the
position (:class:`~bridge.position.Position`) which of its changes have been passed.  With a journal both
mean the same in every worker, so that a client may come back to any of them.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from bridge.clock import Clock
from bridge.events import Principal, RowEvent
from bridge.fanout.entry import Entry, Reread
from bridge.fanout.index import Audience, Index, anybody
from bridge.position import OF_ONE_PROCESS, Position

MAX_EVENTS = 100_000
MAX_BYTES = 256 * 1024 * 1024

_FIXED_BYTES = 1000
"""About what an event takes beside what its rows hold."""

_VALUE_BYTES = 50
"""About what a value inside a json or array column takes, beside its text."""


class History:
    """Events in the order in which they were sent.  Cursors can be resumed between ``open`` and ``forget``.

    Args:
        keep_s: Seconds for which events are kept.
        clock: Source of time.
        audience: Says who may experience an event.
    """

    def __init__(self, *, keep_s: float, clock: Clock, audience: Audience = anybody) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._index = Index(audience)
        self._version = ""
        self.is_open = False
        self._entries: deque[Entry] = deque()
        self._marks: deque[Entry] = deque()
        """Those of the entries that say who has to read again."""
        self._by_id: dict[int, Entry | list[Entry]] = {}
        """A list where there are several of one change."""
        self._bytes = 0
        self._id = self._passed = 0
        self._position = self._before = "0"
        self._gone: Position | Entry = Position(0)
        """What is not kept any more, or more than that; or the last entry that is not."""
        self.moment = 0
        """Rises with every entry; who comes now is here since then."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cursor(self) -> str:
        """Cursor of who has seen everything until now."""
        return f"{self._version}-{self._position}"

    def begin(self, version: str, position: Position) -> None:
        """Start anew: nothing of what was passed at ``position`` is kept.  ``open`` has to follow."""
        self.is_open = False
        self._entries.clear()
        self._marks.clear()
        self._index.clear()
        self._bytes = 0
        self._version = version
        self._by_id.clear()
        self._gone = Position(position.after, position.holes)
        self._position = self._before = position.text()
        self._passed = position.after

    def open(self) -> None:
        """Let cursors be resumed: what follows ``begin`` has been appended up to the present."""
        self.is_open = True

    def close(self) -> None:
        """Let no cursor be resumed for now; what is kept stays."""
        self.is_open = False

    def forget(self) -> None:
        """Drop everything: no cursor can be resumed until there is a new beginning."""
        self.begin("", Position(0))

    def advance(self, id_: int, position: str) -> None:
        """Go on to the next change: what is appended is of it.

        Args:
            id_: Its id.
            position: The changes that have been passed with it.
        """
        self._before, self._position, self._id = self._position, position, id_
        if id_ > self._passed:  # noqa: PLR1730 - for every change: max() takes longer than the rest
            self._passed = id_

    def append(self, event: RowEvent, *, is_last: bool = True) -> Entry:
        """Keep ``event`` and return its entry.

        Args:
            event: The event.
            is_last: False if those who get it may get another one of the same change: who is cut off in
                between gets it twice, and knows it by its id.
        """
        cursor = f"{self._version}-{self._position if is_last else self._before}"
        return self._keep(event, cursor, _size(event))

    def mark(self, role: str, users: Iterable[str | None] | None, *, told: bool, late: bool = False) -> None:
        """Remember that these users have to read again, if they come back from before now.

        Args:
            role: Their role.
            users: Their ids; None for everybody with this role.
            told: True if those of them who are here know it, or need not.
            late: True if it is of changes that have been sent before.
        """
        some = None if users is None else frozenset(users)
        reread = Reread(role, some, self.moment if told else None, late)
        self._keep(reread, self.cursor, _FIXED_BYTES + 2 * _VALUE_BYTES * len(some or ()))
        self.shift(role, some)

    def shift(self, role: str, users: Iterable[str | None] | None) -> None:
        """Note that these users (None: everybody with this role) may see other rows from now on."""
        self._index.shift(role, users)

    def _keep(self, what: RowEvent | Reread, cursor: str, size_bytes: int) -> Entry:
        self.moment += 1
        now_s = self._clock.monotonic_s()
        entry = Entry(self._id, self._passed, self._position, cursor, what, now_s, size_bytes, self.moment)
        entries = self._entries
        entries.append(entry)
        if what.__class__ is Reread:
            self._marks.append(entry)
        before = self._by_id.setdefault(self._id, entry)
        if before is not entry:
            self._by_id[self._id] = [*_each(before), entry]
        self._bytes += size_bytes
        if entries[0].at_s < now_s - self._keep_s or len(entries) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._evict(now_s)
        return entry

    def _evict(self, now_s: float) -> None:
        """Forget the oldest entries that are too old or too many."""
        evicted: Entry | None = None
        while self._entries and (
            self._entries[0].at_s < now_s - self._keep_s
            or len(self._entries) > MAX_EVENTS
            or self._bytes > MAX_BYTES
        ):
            evicted = self._entries.popleft()
            self._bytes -= evicted.size_bytes
            self._index.evict(evicted)
            if self._marks and self._marks[0] is evicted:
                self._marks.popleft()
            of_same_change = self._by_id.pop(evicted.id)
            if isinstance(of_same_change, list) and len(of_same_change) > 1:
                self._by_id[evicted.id] = of_same_change[1:]  # it was the first of them
        if evicted is not None:
            self._gone = evicted

    def may_come(self, cursor: str) -> bool:
        """True if ``cursor`` is of something that this worker may yet reach: another one is ahead of it."""
        version, _, text = cursor.partition("-")
        if not self.is_open:
            return version == self._version or not version.startswith(OF_ONE_PROCESS)
        seen = _read(text)
        return version == self._version and seen is not None and seen.after > self._passed

    def file(self, at_most: int) -> bool:
        """Find out who may experience past events, of which it is not known; True if it is of all of them."""
        count = self.moment - self._index.until
        if not count:
            return True
        unfiled = list(islice(reversed(self._entries), count))
        for entry in unfiled[: -1 - at_most : -1]:
            self._index.file(entry)
        return len(unfiled) <= at_most

    def since(self, cursor: str, principal: Principal, here_since: int) -> list[Entry] | None:
        """Return the entries of events after ``cursor`` that ``principal`` may experience, oldest first.

        None if some are gone, if the cursor is not ours, or if ``principal`` had to read again meanwhile.

        Args:
            cursor: What the client has.
            principal: Who it is.
            here_since: The :attr:`moment` since which ``principal`` has been here.
        """
        version, _, text = cursor.partition("-")
        seen = _read(text)
        if not self.is_open or version != self._version or seen is None:
            return None
        if isinstance(self._gone, Entry):
            self._gone = _position(self._gone)
        if seen.after > self._passed or not seen.covers(self._gone):
            return None
        in_holes = list(self._in_holes(seen))
        for mark in (*_after(self._marks, seen), *in_holes):
            what = mark.what
            if not isinstance(what, Reread) or (mark.id in seen and not what.late):
                continue
            if what.concerns(principal, here_since):
                return None
        self.file(len(self._entries))
        missed = {}
        for entry in (*self._theirs(principal, seen), *in_holes):
            if isinstance(entry.what, RowEvent) and entry.id not in seen:
                missed[entry.moment] = entry
        return [missed[moment] for moment in sorted(missed)]

    def ahead(self, cursor: str) -> Position | None:
        """Return what ``cursor`` has seen, if that has changes which are still to come here; else None."""
        seen, passed = _read(cursor.partition("-")[2]), _read(self._position)
        return None if seen is None or (passed is not None and passed.covers(seen)) else seen

    def _theirs(self, principal: Principal, seen: Position) -> Iterator[Entry]:
        """Give what ``principal`` may experience of what was sent at or after the end of ``seen``."""
        moved = self._index.moved(principal)
        if moved is None or moved:
            # Of what was filed before their sight moved it is not known whether it is theirs.
            yield from _after(self._entries, seen, skip=0 if moved is None else self.moment - moved)
        for filed in self._index.of(principal):
            yield from _after(filed, seen)

    def _in_holes(self, seen: Position) -> Iterator[Entry]:
        """Give what fills holes of ``seen`` and was sent before its end."""
        for first, last in seen.holes:
            if last - first < len(self._by_id):
                found = [self._by_id[id_] for id_ in range(first, last + 1) if id_ in self._by_id]
            else:
                found = [entries for id_, entries in self._by_id.items() if first <= id_ <= last]
            for entries in found:
                yield from (entry for entry in _each(entries) if entry.passed < seen.after)


def _each(of_one_change: Entry | list[Entry]) -> list[Entry]:
    return [of_one_change] if isinstance(of_one_change, Entry) else of_one_change


def _after(entries: deque[Entry], seen: Position, *, skip: int = 0) -> Iterator[Entry]:
    """Give those of ``entries`` that were sent at or after the end of ``seen``, but for the last ones."""
    for entry in islice(reversed(entries), skip, None):  # most were away briefly
        if entry.passed < seen.after:
            return
        yield entry


@lru_cache(maxsize=64)
def _read(text: str) -> Position | None:
    """Return the position that ``text`` names; nobody changes it, as those who come back at once share it."""
    return Position.parse(text)


def _position(entry: Entry) -> Position:
    """Return what had been passed with ``entry``, or more, where there were too many holes for a text."""
    found = Position.parse(entry.position)
    return found if found is not None and found.after == entry.passed else Position(entry.passed)


def _size(event: RowEvent) -> int:
    size_bytes = _FIXED_BYTES
    for row in (event.new, event.old):
        if row is not None:
            for value in row.values():
                kind = value.__class__  # for every change: comparing is faster than isinstance here
                if kind is str:
                    size_bytes += 2 * len(value)
                elif kind is dict or kind is list:
                    size_bytes += _nested_bytes(value)
    return size_bytes


def _nested_bytes(value: Any) -> int:
    """Return about what a value of a json or array column takes, with all that it holds."""
    if isinstance(value, str):
        return _VALUE_BYTES + 2 * len(value)
    if isinstance(value, dict):
        return _VALUE_BYTES + sum(2 * len(name) + _nested_bytes(inner) for name, inner in value.items())
    if isinstance(value, list):
        return _VALUE_BYTES + sum(map(_nested_bytes, value))
    return _VALUE_BYTES
