"""New rows of a watched table and who sees them: most changes are that, so nothing is done twice here."""

from collections.abc import Mapping

from bridge.authorization.effects import viewers
from bridge.authorization.experience import Deliver
from bridge.authorization.plan import Plan
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.authorization.shaping import Shaper
from bridge.authorization.sightings import Sightings
from bridge.events import Change, Delivery


class Arrivals:
    """INSERTs into one watched table that no policy looks into.

    No look-up row changes and nobody saw the row before, so there is nothing else to find out.

    Args:
        table: The table.
        plans: Its plans, by role.
        memory: Checks and remembers its rows.
        roster: Who is here.
        shaper: Builds the events.
    """

    def __init__(
        self, table: str, plans: Mapping[str, Plan], *, memory: RowMemory, roster: Roster, shaper: Shaper
    ) -> None:
        self._plans = plans
        self._memory = memory
        self._roster = roster
        self._shaper = shaper
        self._required = memory.required(table)
        self._oid = memory.oid(table)
        self._remembers = memory.remembered[table].limit > 0
        self._here: list[tuple[Plan, Sightings | None]] = []

    def refresh(self) -> None:
        """See who is here and what is still known; before each run of rows between which nothing comes."""
        roster = self._roster
        self._here = [(plan, plan.sightings) for role, plan in self._plans.items() if roster.of_role(role)]
        for _, known in self._here:
            if known is not None:
                known.refresh(roster)

    def take(self, change: Change) -> Deliver | None:
        """Store an INSERT and return who sees the row; None where there may be more to it.

        Raises:
            CatalogChangedError: the plans do not fit the table any more; nothing was applied.
        """
        row = change.new
        if row is None or change.action != "INSERT":
            return None
        if change.oid != self._oid and change.oid is not None and self._oid is not None:
            return None  # another table has the name
        if not self._required <= row.keys():
            self._memory.check(change)
        deliveries = []
        for plan, known in self._here:
            key = None if known is None else known.key(row)
            sighting = None if known is None or key is None else known.find(key)
            if sighting is None:
                sighting = viewers(plan, row, self._roster)
            if sighting.open:
                return None
            if sighting.sees:
                deliveries.append(Delivery(view=plan.arrives, principals=sighting.sees))
        if self._remembers or not change.last:  # else nobody asks for it any more
            self._memory.store(change)
        return Deliver(self._shaper.inserted(change, row), tuple(deliveries))
