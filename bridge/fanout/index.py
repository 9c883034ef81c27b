"""Past events by who may experience them, found out once for each event, not for each client that comes back.

After a restart everybody comes back at once.  Asking each of them about each event that was missed costs
clients times events, and keeps the worker from delivering; so it costs what each of them is sent.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from bridge.events import Principal, RowEvent
from bridge.fanout.entry import Entry

Users: TypeAlias = Collection[str | None] | None
"""Ids of users; None for anybody."""

Audience: TypeAlias = Callable[[RowEvent], Mapping[str, Users] | None]
"""Says, by role, who may experience an event as of now, or more than that; None where it may be anybody."""

_Whose: TypeAlias = tuple[str, str | None]
"""A role and a user; None for every user of the role."""

_ANYBODY: _Whose = ("", None)

MAX_NAMED = 250
"""Users that one event is filed for; one of more, by role: of those who come back many may have it anyway."""

MAX_BYTES = 64 * 1024 * 1024
"""What all that is filed by user may take; what comes then is filed by role, too, and costs asking each."""

_NAME_BYTES = 16
"""A place in an event's list, and one in a user's."""

_USER_BYTES = 1_000
"""A user's key and queue."""


def anybody(_event: RowEvent) -> None:
    """Know nothing of who may experience an event."""


class _Shelf(NamedTuple):
    """What may be theirs, in order."""

    whose: _Whose
    entries: deque[Entry]


class Index:
    """Entries of events, in order, by whose they may be.

    Args:
        audience: Says whose an event may be.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._filed: deque[tuple[Entry, list[_Shelf]]] = deque()
        self._of: dict[_Whose, _Shelf] = {}
        self._bytes = 0
        self._moved: dict[_Whose, int] = {}
        """When their sight moved last, in that order."""
        self.until = 0
        """The moment of the last entry that was filed, or passed over."""

    def clear(self) -> None:
        """Forget everything; what is filed next may be any entry."""
        self._filed.clear()
        self._of.clear()
        self._bytes = 0
        self._moved.clear()
        self.until = 0

    def file(self, entry: Entry) -> None:
        """Add the entry that follows the last one."""
        self.until = entry.moment
        if not isinstance(entry.what, RowEvent):
            return
        found = self._audience(entry.what)
        whose = [_ANYBODY] if found is None else self._whose(found)
        shelves = [self._of.get(one) or self._new(one) for one in whose]
        for shelf in shelves:
            shelf.entries.append(entry)
        self._bytes += _NAME_BYTES * len(shelves)
        self._filed.append((entry, shelves))

    def _whose(self, found: Mapping[str, Users]) -> list[_Whose]:
        """Return the users, or the roles of those who are too many."""
        count = sum(len(users) for users in found.values() if users is not None)
        if count > MAX_NAMED or self._bytes > MAX_BYTES:
            return [(role, None) for role, users in found.items() if users is None or users]
        whose: list[_Whose] = [(role, None) for role, users in found.items() if users is None]
        # Anon, who has no id, is given every entry.
        return whose + [(role, u) for role, some in found.items() for u in some or () if u is not None]

    def _new(self, whose: _Whose) -> _Shelf:
        self._bytes += _USER_BYTES
        shelf = self._of[whose] = _Shelf(whose, deque())
        return shelf

    def evict(self, entry: Entry) -> None:
        """Take out the oldest entry, if it was filed."""
        if self._filed and self._filed[0][0] is entry:
            shelves = self._filed.popleft()[1]
            self._bytes -= _NAME_BYTES * len(shelves)
            for shelf in shelves:
                shelf.entries.popleft()
                if not shelf.entries:
                    del self._of[shelf.whose]
                    self._bytes -= _USER_BYTES
        while self._moved:
            whose, moment = next(iter(self._moved.items()))
            if moment > entry.moment:
                return
            del self._moved[whose]

    def shift(self, role: str, users: Iterable[str | None] | None) -> None:
        """Note that these users (None: everybody with this role) may see other rows from now on."""
        if users is None:
            self.clear()
        elif self._filed:  # what is filed later is filed as of then
            for user in users:
                self._moved.pop((role, user), None)
                self._moved[role, user] = self.until

    def moved(self, principal: Principal) -> int | None:
        """Return up to which moment any entry may be theirs; None if it may be any until now."""
        return None if principal.user_id is None else self._moved.get((principal.role, principal.user_id), 0)

    def of(self, principal: Principal) -> list[deque[Entry]]:
        """Return what was filed and may be theirs."""
        whose = ((principal.role, principal.user_id), (principal.role, None), _ANYBODY)
        return [self._of[one].entries for one in dict.fromkeys(whose) if one in self._of]
