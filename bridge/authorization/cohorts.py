"""Users who are here, by the value of an expression that depends on the user alone.

``auth.jwt() ->> 'org_id'``, "is an admin", "the organisation in my profile": such an expression has a
value for each user, whatever the row.  Keeping the users by that value finds those who match a row
without asking each of them.  A value is computed again when a look-up row changes that it may read.
"""

from collections.abc import Callable, Collection, Hashable
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeAlias

from bridge.authorization.lookup import LookupRow, LookupTable
from bridge.authorization.reach import Reach
from bridge.authorization.undecided import UndecidedError
from bridge.events import Principal

UserId: TypeAlias = str | None
_NOBODY: frozenset[UserId] = frozenset()


class Present(Protocol):
    """Who is here, as the roster knows it."""

    def of_role(self, role: str) -> Collection[Principal]:
        """Return everybody with this role."""

    def of_user(self, role: str, user_id: UserId) -> Collection[Principal]:
        """Return the principals of one user."""


class Cohort:
    """The users of one role by the value of one expression.

    Args:
        values: Returns a principal's values: one, or several where any of them may match.
        reaches: Look-up rows that may change them.
    """

    def __init__(
        self, values: Callable[[Principal], Collection[Hashable]], reaches: tuple[Reach, ...]
    ) -> None:
        self._values = values
        self.reaches = reaches
        self._users: dict[Hashable, set[UserId]] = {}
        self._known: dict[UserId, tuple[Hashable, ...]] = {}
        self._undecided: set[UserId] = set()
        self._mixed: set[UserId] = set()
        self._stale: set[UserId] = set()

    @property
    def is_stale(self) -> bool:
        """True if somebody's value may have changed."""
        return bool(self._stale)

    def mark(self, user_id: UserId) -> None:
        """Note that this user came or went."""
        self._stale.add(user_id)

    def mark_known(self, user_id: UserId) -> None:
        """Note that this user's value may have changed, if the user is here."""
        if user_id in self._known:
            self._stale.add(user_id)

    def mark_all(self) -> None:
        """Note that everybody's value may have changed."""
        self._stale.update(self._known)

    def refresh(self, present: Present, role: str) -> None:
        """Compute again what may have changed."""
        stale, self._stale = self._stale, set()
        for user_id in stale:
            for value in self._known.pop(user_id, ()):
                users = self._users[value]
                users.discard(user_id)
                if not users:
                    del self._users[value]
            self._undecided.discard(user_id)
            self._mixed.discard(user_id)
            principals = present.of_user(role, user_id)
            if principals:
                self._known[user_id] = self._computed(user_id, principals)
                for value in self._known[user_id]:
                    self._users.setdefault(value, set()).add(user_id)

    def _computed(self, user_id: UserId, principals: Collection[Principal]) -> tuple[Hashable, ...]:
        found: set[Hashable] = set()
        answers: set[frozenset[Hashable]] = set()
        for principal in principals:
            try:
                values = frozenset(self._values(principal))
            except UndecidedError:
                self._undecided.add(user_id)
            else:
                answers.add(values)
                found |= values
        if len(answers) > 1:
            self._mixed.add(user_id)
        found.discard(None)
        return tuple(found)

    def users(self, value: Any) -> Collection[UserId]:
        """Return the users that have ``value``; do not change what is returned."""
        return self._users.get(value, _NOBODY)

    def is_mixed(self, users: Collection[UserId]) -> bool:
        """True if one of ``users`` is here twice, with different values: each of the two has to be asked."""
        return bool(self._mixed) and not self._mixed.isdisjoint(users)

    @property
    def undecided(self) -> AbstractSet[UserId]:
        """Users whose value only Postgres knows."""
        return self._undecided


class Cohorts:
    """All cohorts of one plan, and who is here.

    Args:
        role: The plan's role.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self._cohorts: list[Cohort] = []
        self._present: Present | None = None

    def __len__(self) -> int:
        return len(self._cohorts)

    def add(self, cohort: Cohort) -> Cohort:
        """Keep ``cohort`` up to date from now on."""
        self._cohorts.append(cohort)
        return cohort

    def meet(self, present: Present) -> None:
        """Count those who are here; :meth:`notice` has to be called when that changes."""
        self._present = present
        for principal in present.of_role(self.role):
            self.notice(principal)

    def notice(self, principal: Principal) -> None:
        """Note that ``principal`` came or went."""
        if principal.role == self.role:
            for cohort in self._cohorts:
                cohort.mark(principal.user_id)

    def row_changed(self, table: LookupTable, before: LookupRow | None, after: LookupRow | None) -> None:
        """Note that a look-up row changed."""
        for cohort in self._cohorts:
            for reach in cohort.reaches:
                if reach.lookup != table.name:
                    continue
                if reach.user_column is None:
                    cohort.mark_all()
                    continue
                position = table.position[reach.user_column]
                for row in (before, after):
                    if row is not None:
                        cohort.mark_known(row[position])

    def refresh(self) -> None:
        """Compute again what may have changed."""
        if self._present is not None:
            for cohort in self._cohorts:
                if cohort.is_stale:
                    cohort.refresh(self._present, self.role)
