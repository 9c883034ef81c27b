"""The latest events, for clients that come back with a cursor.  In memory, bounded three ways."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

from bridge.clock import Clock
from bridge.events import Principal, RowEvent

MAX_EVENTS = 100_000
MAX_BYTES = 256 * 1024 * 1024

_FIXED_BYTES = 1000
"""About what an event takes beside what its rows hold."""

_VALUE_BYTES = 50
"""About what a value inside a json or array column takes, beside its text."""


class Entry(msgspec.Struct, frozen=True):
    """An event, its place in the stream, and what it costs to keep; no event where only a resync was sent."""

    offset: int
    event: RowEvent | None
    at_s: float
    size_bytes: int


class History:
    """Events by offset.  A cursor names the epoch (this process) and the last offset that was seen.

    Args:
        keep_s: Seconds for which events are kept.
        epoch: Random word of this process: cursors of another one are not known here.
        clock: Source of time.
    """

    def __init__(self, *, keep_s: float, epoch: str, clock: Clock) -> None:
        self._keep_s = keep_s
        self._epoch = epoch
        self._clock = clock
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._offset = 0
        self._floor = 0
        """Oldest offset after which everything is still here."""
        self._resynced: dict[tuple[str, str | None], int] = {}
        """Offset of the latest resync that was meant for a user alone, by role and id.

        By user, not by principal: who comes back with other claims has to read again all the same.
        """

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cursor(self) -> str:
        """Cursor of the newest event."""
        return self.cursor_of(self._offset)

    def cursor_of(self, offset: int) -> str:
        """Return the cursor that names ``offset``."""
        return f"{self._epoch}-{offset}"

    def append(self, event: RowEvent | None) -> int:
        """Keep ``event`` and return its offset."""
        self._offset += 1
        now_s = self._clock.monotonic_s()
        entry = Entry(self._offset, event, now_s, _size(event))
        self._entries.append(entry)
        self._bytes += entry.size_bytes
        while self._entries and (
            self._entries[0].at_s < now_s - self._keep_s
            or len(self._entries) > MAX_EVENTS
            or self._bytes > MAX_BYTES
        ):
            evicted = self._entries.popleft()
            self._bytes -= evicted.size_bytes
            self._floor = evicted.offset
        return self._offset

    def mark_resync(self, principals: Iterable[Principal]) -> None:
        """Remember that these have to read again, for those of them who are away just now."""
        offset = self.append(None)
        self._resynced = {user: at for user, at in self._resynced.items() if at > self._floor}
        self._resynced.update({_user(principal): offset for principal in principals})

    def forget(self) -> None:
        """Drop everything: no cursor handed out until now can be resumed."""
        self._entries.clear()
        self._bytes = 0
        # One further, so that a client whose cursor is the newest one has missed something too.
        self._offset += 1
        self._floor = self._offset
        self._resynced.clear()

    def since(self, cursor: str, principal: Principal) -> list[Entry] | None:
        """Return the entries after ``cursor``, oldest first.

        None if some are gone, if the cursor is not ours, or if ``principal`` had to read again meanwhile.
        """
        epoch, _, text = cursor.rpartition("-")
        if epoch != self._epoch or not text.isascii() or not text.isdecimal() or len(text) > 20:  # noqa: PLR2004
            return None
        offset = int(text)
        if not self._floor <= offset <= self._offset or self._resynced.get(_user(principal), 0) > offset:
            return None
        # Offsets are consecutive, so their number is known; from the end, because most were away briefly.
        return list(islice(reversed(self._entries), self._offset - offset))[::-1]


def _user(principal: Principal) -> tuple[str, str | None]:
    return principal.role, principal.user_id


def _size(event: RowEvent | None) -> int:
    if event is None:
        return _FIXED_BYTES
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
