"""How somebody who comes back experiences past events, as of now."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge import metrics
from bridge.authorization.algebra import Now
from bridge.authorization.asking import Questions, Visibility
from bridge.authorization.catalog import Catalog
from bridge.authorization.experience import NOBODY, Sees
from bridge.authorization.expressions import walk
from bridge.authorization.finders import Users
from bridge.authorization.grounds import Grounds, grounds
from bridge.authorization.plan import Plan
from bridge.authorization.rows import RowMemory
from bridge.authorization.shaping import experience
from bridge.authorization.sightings import Sighting
from bridge.authorization.undecided import UndecidedError
from bridge.events import Action, Principal, Row, RowEvent, View


class Asker:
    """Puts what memory does not know into questions.

    Args:
        catalog: Tells what the answers of Postgres are grounded on.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._grounds: dict[Plan, Grounds] = {}

    def sees(self, plan: Plan, sighting: Sighting, row: Row, questions: Questions) -> Sees:
        """Return who sees ``row``, with those asked about of whom memory does not know it."""
        if not sighting.open:
            return Sees(sighting)
        return Sees(sighting, questions.add(plan.table, row, sighting.open), self.grounds_of(plan))

    @staticmethod
    def saw(table: str, sighting: Sighting, row: Row, questions: Questions) -> Sees:
        """Return who saw ``row``, which has been changed: that it is not current any more does not matter."""
        return Sees(sighting, questions.add(table, row, sighting.open) if sighting.open else None)

    def grounds_of(self, plan: Plan) -> Grounds:
        known = self._grounds.get(plan)
        if known is None:
            known = self._grounds[plan] = grounds(self._catalog, plan.table, plan.role)
        return known


class Decision(msgspec.Struct, kw_only=True):
    """How one principal experiences an event: asked again as of now, when it comes back for it.

    Attributes:
        event: The event.
        columns: What the principal may read.
        sees_new: Whether it sees the row after the event.
        saw_old: Whether it saw it before; None where that is not known, but that nothing changed for it.
        unsure: True if it cannot be known any more whether it saw it.
        row_only: True if what Postgres says comes of the row alone.
    """

    event: RowEvent
    columns: frozenset[str] | None
    sees_new: Sees = NOBODY
    saw_old: Sees | None = NOBODY
    unsure: bool = False
    row_only: bool = True

    def view(self, untold: set[tuple[object, ...]]) -> View | None:
        """Return what the principal experiences; Postgres has been asked.

        Args:
            untold: Rows that it may see but was not told of, as they had changed again; kept up to date.

        Raises:
            UndecidedError: it may have lost sight of the row, and nobody can tell.
        """
        action = self._action(untold)
        if action is None:
            return None
        certain = self.saw_old is not None and bool(self.saw_old.certain(row_only=self.row_only))
        return View(action=action, columns=self.columns, hides_old=action == "UPDATE" and not certain)

    def _action(self, untold: set[tuple[object, ...]]) -> Action | None:
        event = self.event
        if event.announced == "DELETE":
            return "DELETE"
        row = (event.table, *event.key.values())
        sees = bool(self.sees_new.now)
        saw = sees if self.saw_old is None else bool(self.saw_old.before)
        if self.sees_new.superseded:
            if self.sees_new.later and not saw and not self.unsure and self.saw_old is not None:
                untold.add(row)
            return None
        if sees and row in untold:
            untold.discard(row)
            return "INSERT"
        if self.unsure:
            if not sees:
                raise UndecidedError(
                    f"who saw a row of {event.table} before it changed is not known any more"
                )
            return "UPDATE"
        return experience(saw_old=saw, sees_new=sees)


class Decider:
    """Decides for one principal at a time.

    Args:
        plans_of: Plans by role, by table.
        memory: What is known of the rows.
        asker: Puts the rest into questions.
    """

    def __init__(
        self,
        plans_of: Mapping[str, Mapping[str, Plan]],
        memory: RowMemory,
        asker: Asker,
    ) -> None:
        self._plans_of = plans_of
        self._memory = memory
        self._asker = asker
        self._fit: dict[Plan, bool] = {}

    def audience(self, event: RowEvent) -> dict[str, Users]:
        """Return, by role, the ids of the users who may experience ``event`` as of now, or more of them."""
        found: dict[str, Users] = {}
        for role, plan in self._plans_of.get(event.table, {}).items():
            found[role] = event.only if event.only is not None else self._users(plan, event)
        return found

    def _users(self, plan: Plan, event: RowEvent) -> Users:
        if not self._fits(plan):
            return None
        found: set[str | None] = set()
        for row in (event.new, event.old):
            if row is None or (row is event.old and not self._memory.needed(event.table) <= row.keys()):
                continue
            users, _ = plan.users(row)
            if users is None:
                return None
            found.update(users)
        return found

    def _fits(self, plan: Plan) -> bool:
        """True if a row's users depend on the look-up rows alone: neither on who is here nor on the time."""
        known = self._fit.get(plan)
        if known is None:
            timeless = not any(isinstance(node, Now) for node in walk(plan.condition))
            known = self._fit[plan] = timeless and not plan.cohorts and not plan.opaque
        return known

    async def decide(
        self, principal: Principal, events: Sequence[RowEvent], database: Visibility
    ) -> list[View | None]:
        """Return how ``principal`` experiences each of ``events``; None if not at all.

        Raises:
            RpcError: only Postgres knows, and it did not answer, or not in time.
        """
        questions = Questions()
        decisions = [self._decision(principal, event, questions) for event in events]
        if questions:
            metrics.ASKED.labels(events[0].table).inc(len(questions))
            await questions.ask(database)
            if questions.timeout is not None:
                raise questions.timeout
        untold: set[tuple[object, ...]] = set()
        return [None if decision is None else decision.view(untold) for decision in decisions]

    def _decision(self, principal: Principal, event: RowEvent, questions: Questions) -> Decision | None:
        plan = self._plans_of.get(event.table, {}).get(principal.role)
        if plan is None:
            return None

        def sighting(row: Row) -> Sighting:
            try:
                return Sighting((principal,) if plan.visible(row, principal) else ())
            except UndecidedError:
                return Sighting((), (principal,))

        decision = Decision(event=event, columns=plan.columns)
        if event.announced == "DELETE":
            return decision
        if event.new is not None:
            decision.sees_new = self._asker.sees(plan, sighting(event.new), event.new, questions)
        if event.old is not None:
            if not self._memory.needed(event.table) <= event.old.keys():
                decision.saw_old = None
                return decision
            saw = sighting(event.old)
            if saw.open:
                decision.row_only = self._asker.grounds_of(plan).row_only
            action: Action = "DELETE" if event.new is None else "UPDATE"
            if saw.open and action in self._asker.grounds_of(plan).hidden_by:
                decision.unsure = True
            else:
                decision.saw_old = self._asker.saw(event.table, saw, event.old, questions)
        return decision
