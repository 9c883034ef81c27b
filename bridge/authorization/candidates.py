"""Who may see rows of the past, found once for all who come back.

After a restart every client resumes, and each would be asked about each missed change.  Instead a row's
users are found by index, as they are when it is live, and kept for the next client; until a look-up
row changes what one of them sees.
"""

from collections.abc import Iterable, Sequence

from bridge.authorization.algebra import Now
from bridge.authorization.audience import Users
from bridge.authorization.expressions import walk
from bridge.authorization.plan import Plan
from bridge.events import Principal, Row

LIMIT = 500_000
"""Users of rows that are kept, and rows; more are found anew."""


class Candidates:
    """Users by row, as of now."""

    def __init__(self) -> None:
        self._moment = 0
        self._kept = 0
        self._found: dict[tuple[str, str, bool], tuple[int, Users, bool]] = {}
        self._moved: dict[str, int] = {}
        """When what a user sees changed last, where it did since the first row was kept."""
        self._fit: dict[Plan, bool] = {}

    def shift(self, users: Iterable[str] | None) -> None:
        """Note that these users (None: all) may see other rows from now on."""
        if not self._found:
            return
        self._moment += 1
        if users is None:
            self.clear()
        else:
            self._moved.update(dict.fromkeys(users, self._moment))

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
        self._kept = 0
        self._moved.clear()

    def sees(self, plan: Plan, of: tuple[str, bool], row: Row, principal: Principal) -> bool | None:
        """Return whether ``principal`` sees ``row``; None if it has to be asked of the plan.

        Args:
            plan: The plan of the row's table and the principal's role.
            of: Names the row: its event, and whether it is the row before.
            row: The row.
            principal: Who comes back.
        """
        user = principal.user_id
        if user is None or not self._fits(plan):
            return None
        key = (plan.role, of[0], of[1])
        found = self._found.get(key)
        if found is None or self._moved.get(user, -1) > found[0]:
            if self._kept >= LIMIT:
                self.clear()
            users, exact = plan.users(row)
            self._kept += 1 + len(users or ())
            found = self._found[key] = (self._moment, users, exact)
        _, users, exact = found
        if users is None:
            return None
        if user not in users:
            return False
        return True if exact else None

    def hidden(self, ids: Sequence[str], principal: Principal) -> list[bool]:
        """Say which of the rows after these events are known to be hidden from ``principal``.

        Nearly all are that anybody misses, so it is one call for many.  Of the others nothing is said.
        """
        user, role = principal.user_id, principal.role
        found, since = self._found, self._moved.get(user or "", -1)
        if user is None:
            return [False] * len(ids)
        return [
            (known := found.get((role, id_, False))) is not None
            and known[1] is not None
            and user not in known[1]
            and since <= known[0]
            for id_ in ids
        ]

    def _fits(self, plan: Plan) -> bool:
        """True if a row's users depend on the look-up rows alone: neither on who is here nor on the time."""
        known = self._fit.get(plan)
        if known is None:
            timeless = not any(isinstance(node, Now) for node in walk(plan.condition))
            known = self._fit[plan] = timeless and not plan.cohorts and not plan.opaque
        return known
