"""How somebody who comes back experiences past events, as of now."""

from collections.abc import Mapping, Sequence

from bridge import metrics
from bridge.authorization.asking import Questions, Visibility
from bridge.authorization.candidates import Candidates
from bridge.authorization.catalog import Catalog
from bridge.authorization.effects import Sighting
from bridge.authorization.experience import Decision, Sees
from bridge.authorization.grounds import Grounds, grounds
from bridge.authorization.plan import Plan
from bridge.authorization.rows import RowMemory
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


class Decider:
    """Decides for one principal at a time.

    Args:
        plans_of: Plans by role, by table.
        memory: What is known of the rows.
        candidates: Finds the users of a row once.
        asker: Puts the rest into questions.
    """

    def __init__(
        self,
        plans_of: Mapping[str, Mapping[str, Plan]],
        memory: RowMemory,
        candidates: Candidates,
        asker: Asker,
    ) -> None:
        self._plans_of = plans_of
        self._memory = memory
        self._candidates = candidates
        self._asker = asker

    async def decide(
        self, principal: Principal, events: Sequence[RowEvent], database: Visibility
    ) -> list[View | None]:
        """Return how ``principal`` experiences each of ``events``; None if not at all.

        Raises:
            RpcError: only Postgres knows, and it did not answer, or not in time.
        """
        questions = Questions()
        hidden = self._candidates.hidden([event.id for event in events], principal)
        decisions = [
            # An INSERT: whoever does not see the row is told nothing.
            None
            if is_hidden and event.old is None and event.announced is None
            else self._decision(principal, event, questions)
            for event, is_hidden in zip(events, hidden, strict=True)
        ]
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

        def sighting(row: Row, *, before: bool) -> Sighting:
            seen = self._candidates.sees(plan, (event.id, before), row, principal)
            if seen is not None:
                return Sighting((principal,) if seen else ())
            try:
                return Sighting((principal,) if plan.visible(row, principal) else ())
            except UndecidedError:
                return Sighting((), (principal,))

        if event.announced is None and event.old is None and event.new is not None:
            # The most frequent one: whoever does not see the row is told nothing.
            seen = self._candidates.sees(plan, (event.id, False), event.new, principal)
            if seen is False:
                return None
        decision = Decision(event=event, columns=plan.columns)
        if event.announced == "DELETE":
            return decision
        if event.new is not None:
            decision.sees_new = self._asker.sees(
                plan, sighting(event.new, before=False), event.new, questions
            )
        if event.old is not None:
            if not self._memory.needed(event.table) <= event.old.keys():
                decision.saw_old = None
                return decision
            saw = sighting(event.old, before=True)
            if saw.open:
                decision.row_only = self._asker.grounds_of(plan).row_only
            action: Action = "DELETE" if event.new is None else "UPDATE"
            if saw.open and action in self._asker.grounds_of(plan).hidden_by:
                decision.unsure = True
            else:
                decision.saw_old = self._asker.saw(event.table, saw, event.old, questions)
        return decision
