"""The principals that somebody may still have to hear for: connected ones, and those just gone.

A client that lost its connection comes back with a cursor and replays what it missed.  What a
replay cannot work out afterwards (who lost sight of a dialog, and when) has to be recorded while
it happens, so a principal stays on the roster for as long as its cursor can be resumed.
"""

from collections.abc import Callable, Collection

from bridge.clock import Clock
from bridge.events import Principal

_NOBODY: frozenset[Principal] = frozenset()


class Roster:
    """Principals by role and user, with the time until which the absent ones count.

    Args:
        linger_s: Seconds that a principal stays after it has left.
        clock: Source of time.
    """

    def __init__(self, *, linger_s: float, clock: Clock) -> None:
        self._linger_s = linger_s
        self._clock = clock
        self._by_role: dict[str, dict[str | None, set[Principal]]] = {}
        self._members: dict[str, set[Principal]] = {}
        # Most users are here once: these are found without looking into a set.
        self._once: dict[str, dict[str | None, Principal]] = {}
        self._leaving: dict[Principal, float] = {}
        self._since: dict[Principal, int] = {}
        self.version = 0
        """Rises whenever somebody comes or goes."""
        self._roles: tuple[str, ...] = ()
        self.on_change: Callable[[Principal], None] = lambda _principal: None
        """Called with each principal that came or went."""

    def __len__(self) -> int:
        return sum(map(len, self._members.values()))

    def add(self, principal: Principal, moment: int = 0) -> None:
        """Count ``principal`` as present, from ``moment`` on if it was not on the roster."""
        self._leaving.pop(principal, None)
        self._members.setdefault(principal.role, set()).add(principal)
        known = self._by_role.setdefault(principal.role, {}).setdefault(principal.user_id, set())
        if principal not in known:
            known.add(principal)
            self._since[principal] = moment
            self._count(principal)
            self.on_change(principal)

    def since(self, principal: Principal) -> int:
        """Return the moment since which ``principal``, who is on the roster, has been on it."""
        return self._since[principal]

    def remove(self, principal: Principal) -> None:
        """Count ``principal`` as gone, and forget it when its cursor is too old to resume."""
        self.expire()
        # Insertion order is order of expiry: the wait is the same for all, and coming back removes.
        self._leaving[principal] = self._clock.monotonic_s() + self._linger_s

    def expire(self) -> None:
        """Forget those who have been gone for too long."""
        now_s = self._clock.monotonic_s()
        while self._leaving:
            principal, until_s = next(iter(self._leaving.items()))
            if until_s > now_s:
                return
            del self._leaving[principal], self._since[principal]
            self._members[principal.role].discard(principal)
            users = self._by_role[principal.role]
            users[principal.user_id].discard(principal)
            if not users[principal.user_id]:
                del users[principal.user_id]
            self._count(principal)
            self.on_change(principal)

    def _count(self, principal: Principal) -> None:
        """Keep up with whether its user is here once, and with the roles that somebody has."""
        self.version += 1
        self._roles = tuple(role for role, members in self._members.items() if members)
        here = self._by_role[principal.role].get(principal.user_id, _NOBODY)
        once = self._once.setdefault(principal.role, {})
        if len(here) == 1:
            (once[principal.user_id],) = here
        else:
            once.pop(principal.user_id, None)

    def roles(self) -> Collection[str]:
        """Return the roles that somebody has."""
        return self._roles

    def of_role(self, role: str) -> Collection[Principal]:
        """Return everybody with this role."""
        return self._members.get(role, _NOBODY)

    def of_user(self, role: str, user_id: str | None) -> Collection[Principal]:
        """Return the principals of one user with this role."""
        return self._by_role.get(role, {}).get(user_id, _NOBODY)

    def of_users(self, role: str, users: Collection[str | None]) -> list[Principal]:
        """Return those of ``users`` who are here with this role."""
        known = self._by_role.get(role)
        if not known:
            return []
        if len(users) > len(known):
            return [p for user, here in known.items() if user in users for p in here]
        once = self._once[role]
        found = [principal for principal in map(once.get, users) if principal is not None]
        if len(once) < len(known):
            found += [p for user in users if user not in once for p in known.get(user, _NOBODY)]
        return found
