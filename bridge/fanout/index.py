"""Past events by who may experience them, found out once for each event, not for each client that comes back.

After a restart everybody comes back at once.  Asking each of them about each event that was missed costs
clients times events, and keeps the worker from delivering; so it costs what each of them is sent.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from bridge.events import Principal, RowEvent
from bridge.fanout.entry import Entry

Users: TypeAlias = Collection[str | None] | None
"""Ids of users; None for anybody."""

Audience: TypeAlias = Callable[[RowEvent], Mapping[str, Users] | None]
"""Says, by role, who may experience an event as of now, or more than that; None where it may be anybody."""

_Whose: TypeAlias = tuple[str, str | None]
"""A role and a user; None for every user of the role."""

_ANYBODY: _Whose = ("", None)


def anybody(_event: RowEvent) -> None:
    """Know nothing of who may experience an event."""


class Index:
    """Entries of events, in order, by whose they may be.

    Args:
        audience: Says whose an event may be.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._filed: deque[tuple[Entry, list[_Whose]]] = deque()
        self._of: dict[_Whose, deque[Entry]] = {}
        self._moved: dict[_Whose, int] = {}
        """When their sight moved last, in that order."""
        self.until = 0
        """The moment of the last entry that was filed, or passed over."""

    def clear(self) -> None:
        """Forget everything; what is filed next may be any entry."""
        self._filed.clear()
        self._of.clear()
        self._moved.clear()
        self.until = 0

    def file(self, entry: Entry) -> None:
        """Add the entry that follows the last one."""
        self.until = entry.moment
        if not isinstance(entry.what, RowEvent):
            return
        found = self._audience(entry.what)
        whose = [_ANYBODY]
        if found is not None:
            whose = [(role, None) for role, users in found.items() if users is None]
            # Anon, who has no id, is given every entry.
            whose += [(role, user) for role, some in found.items() for user in some or () if user is not None]
        for one in whose:
            self._of.setdefault(one, deque()).append(entry)
        self._filed.append((entry, whose))

    def evict(self, entry: Entry) -> None:
        """Take out the oldest entry, if it was filed."""
        if self._filed and self._filed[0][0] is entry:
            for one in self._filed.popleft()[1]:
                filed = self._of[one]
                filed.popleft()
                if not filed:
                    del self._of[one]
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
        return [self._of[one] for one in dict.fromkeys(whose) if one in self._of]
