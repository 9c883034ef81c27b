"""The stage itself: says who sees each change, and as what, as of that change."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge import metrics
from bridge.authorization.asking import Answer, Questions, Visibility
from bridge.authorization.effects import Probe, Sighting, concerned, probes, viewers
from bridge.authorization.experience import (
    NOBODY,
    Decision,
    Deliver,
    Effect,
    Resync,
    Share,
    Shares,
    Shift,
    Shifted,
    shifted,
    without,
)
from bridge.authorization.lookup import LookupRow, same
from bridge.authorization.plan import Plan
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import ReadRow, RowMemory
from bridge.authorization.shaping import Shaper
from bridge.authorization.undecided import UndecidedError
from bridge.events import Action, Change, Delivery, Principal, Row, RowEvent, View


class Database(Visibility, Protocol):
    """What applying a change may need of the project's database."""

    async def row(self, table: str, key: Row) -> Row | None:
        """Return one row by primary key, as of now; None when it is gone."""


class Authorizer:
    """Decides in memory who sees what, as of the last change that was applied.

    Args:
        planset: Compiled plans.
        memory: The rows these look into.
        roster: Who is here.
        dialog_columns: Column that holds the dialog's id, by watched table.
        dialog_table: The table whose rows are the dialogs.
        marker: What the database said of its catalog's version just before it was read.
    """

    def __init__(
        self,
        planset: PlanSet,
        *,
        memory: RowMemory,
        roster: Roster,
        dialog_columns: Mapping[str, str],
        dialog_table: str,
        marker: str = "",
    ) -> None:
        self.planset = planset
        self.marker = marker
        self.memory = memory
        self._roster = roster
        self._came: set[Principal] | None = None
        """Who came or went while Postgres is asked; None while it is not."""
        self._dialog_table = dialog_table
        self._shaper = Shaper(keys=memory.keys, dialog_columns=dialog_columns)
        self._plans = list(planset.plans.values())
        self._plans_of = {
            name: {plan.role: plan for plan in self._plans if plan.table == name} for name in planset.watched
        }
        for plan in self._plans:
            plan.cohorts.meet(roster)
        roster.on_change = self._noticed

    def _noticed(self, principal: Principal) -> None:
        if self._came is not None:
            self._came.add(principal)
        for plan in self._plans:
            plan.cohorts.notice(principal)

    async def apply(self, change: Change, database: Database) -> list[Effect]:
        """Apply ``change`` to the look-up rows and return what the users experience, in order.

        Args:
            change: A change of a watched table or of a look-up table.
            database: Asked for a row that a membership may bring into somebody's sight, where it is
                not remembered, and for what only Postgres can decide.

        Those of whom Postgres does not tell in time get nothing of it, and read again.

        Raises:
            CatalogChangedError: the plans do not fit the table any more; nothing was applied.
            RpcError: the database did not answer: everything has to be loaded again.
        """
        self.memory.check(change)
        if change.action == "INSERT" and change.table not in self.memory.lookups:
            inserted = self._inserted(change)
            if inserted is not None:
                return [inserted]
        answerable: list[tuple[Probe, Row]] = []
        others: list[Probe] = []
        moved: list[Shifted] = []
        unseen = False
        if change.table in self.memory.lookups:
            found = self._probes(change, *self.memory.lookup_rows(change))
            moved = shifted(found)
            answerable, others = await self._answerable(found, database.row)
            unseen = self.memory.is_unseen(change)
        # From here to the questions nothing waits: everything is as of this change.
        questions = Questions()
        late: tuple[Principal, ...] = ()
        before = [viewers(probe.plan, row, self._roster, probe.users) for probe, row in answerable]
        shares = self._shares(change, questions)
        shifts = [
            self._shift(probe, row, saw, questions, unseen=unseen)
            for (probe, row), saw in zip(answerable, before, strict=True)
        ]
        if questions:
            metrics.ASKED.labels(change.table).inc(len(questions))
            late = await self._ask(questions, database)
        effects = self._settled(change, shares, shifts, others)
        effects += moved
        if late:
            effects.append(Resync(late))
        if questions.timeout is None:
            return effects
        metrics.UNDELIVERABLE.labels(change.table, questions.timeout.code).inc()
        effects = [without(e, questions.late) if isinstance(e, Deliver) else e for e in effects]
        return [*effects, Resync(tuple(questions.late), questions.timeout)]

    def pass_by(self, change: Change) -> list[Effect]:
        """Take in a change of the past; nobody is told, and nothing may be asked until the last one.

        Args:
            change: With the whole row before it, as the journal has it.

        Raises:
            CatalogChangedError: the plans do not fit the table any more.
        """
        memory = self.memory
        memory.check(change)
        effects: list[Effect] = []
        lookup = memory.lookups.get(change.table)
        if lookup is not None:
            # What memory holds may be newer than the change.
            old, new = (None if row is None else lookup.pack(row) for row in (change.old, change.new))
            effects += shifted(self._probes(change, old, new))
        memory.store(change)  # the cohorts are computed after all of the past
        if change.table in self._plans_of:
            event = self._shaper.committed(change, memory.key_row(change), change.old)
            effects.append(Deliver(event, ()))
        return effects

    async def _ask(self, questions: Questions, database: Database) -> tuple[Principal, ...]:
        """Ask, and return who came meanwhile: nobody asked about them, and the history has no change yet."""
        came = self._came = set()
        try:
            await questions.ask(database)
        finally:
            self._came = None
        return tuple(came)

    def _settled(
        self, change: Change, shares: Shares | None, shifts: Sequence[Shift], others: Sequence[Probe]
    ) -> list[Effect]:
        """Return what the users experience; Postgres has been asked."""
        effects: list[Effect] = [] if shares is None else [shares.deliver(self._shaper, change)]
        if not shifts and not others:
            return effects
        told = {pair for effect in effects for pair in self._told(effect)}
        affected: list[tuple[Principal, str | None]] = []
        for shift in shifts:
            dialog = self._shaper.dialog_id(shift.probe.plan.table, shift.row)
            affected += [(principal, dialog) for principal in shift.doubtful]
            gained, lost = shift.settle()
            if not shift.probe.is_key:
                affected += [(principal, dialog) for principal in (*gained, *lost)]
                continue
            changes: tuple[tuple[Action, list[Principal]], ...] = (("INSERT", gained), ("DELETE", lost))
            for action, principals in changes:
                if principals:
                    event, delivery = self._shaper.announcement(
                        change, shift.probe.plan, shift.row, action, principals
                    )
                    effects.append(Deliver(event, (delivery,)))
                    told |= self._told(effects[-1])
        for probe in others:
            dialog = self._shaper.dialog_id(probe.plan.table, probe.row)
            affected += [(principal, dialog) for principal in concerned(probe, self._roster)]
        # Who was told that a dialog came or went knows that its messages did.
        resync = {p for p, dialog in affected if dialog is None or (p, dialog) not in told}
        if resync:
            effects.append(Resync(tuple(resync)))
        return effects

    def _inserted(self, change: Change) -> Deliver | None:
        """Store an INSERT, the most frequent change, and say who sees the row; None where Postgres has to.

        No look-up row changes and nobody saw the row before, so there is nothing else to find out.
        """
        row = change.new
        if row is None:
            return None
        plans, roster = self._plans_of[change.table], self._roster
        deliveries = []
        for role in roster.roles():
            plan = plans.get(role)
            if plan is None:
                continue
            sighting = viewers(plan, row, roster)
            if sighting.open:
                return None
            if sighting.sees:
                view = View(action="INSERT", columns=plan.columns)
                deliveries.append(Delivery(view=view, principals=sighting.sees))
        self.memory.store(change)
        return Deliver(self._shaper.committed(change, self.memory.key_row(change), None), tuple(deliveries))

    async def decide(
        self, principal: Principal, events: Sequence[RowEvent], database: Visibility
    ) -> list[View | None]:
        """Return how ``principal`` experiences each of ``events`` as of now; None if not at all.

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
        return [None if decision is None else decision.view() for decision in decisions]

    def _decision(self, principal: Principal, event: RowEvent, questions: Questions) -> Decision | None:
        plan = self._plans_of.get(event.table, {}).get(principal.role)
        if plan is None:
            return None

        def sees(row: Row) -> Answer:
            try:
                return Answer([principal] if plan.visible(row, principal) else [])
            except UndecidedError:
                return questions.add(event.table, row, [principal])

        decision = Decision(event=event, columns=plan.columns)
        if event.announced == "DELETE":
            return decision
        if event.new is not None:
            decision.sees_new = sees(event.new)
        if event.old is not None:
            known = self.memory.needed(event.table) <= event.old.keys()
            decision.saw_old = sees(event.old) if known else decision.sees_new
        return decision

    def _shares(self, change: Change, questions: Questions) -> Shares | None:
        """Store ``change`` and find out who experiences it; None if its table is not watched."""
        memory, roster, plans = self.memory, self._roster, self._plans_of.get(change.table)
        lookup = memory.lookups.get(change.table)
        before_row, after_row = (None, None) if lookup is None else memory.lookup_rows(change)
        shares: Shares | None = None
        here: list[Plan] = []
        saw: dict[str, Sighting] = {}
        if plans is not None:
            here = [plans[role] for role in roster.roles() if role in plans]
            shares = Shares(key=memory.key_row(change), old=memory.before(change))
            if shares.old is not None:
                saw = {plan.role: viewers(plan, shares.old, roster) for plan in here}
        memory.store(change)
        if lookup is not None and not same(before_row, after_row):
            for plan in self._plans:
                plan.cohorts.row_changed(lookup, before_row, after_row)
        if shares is None:
            return None
        old_unknown = change.action != "INSERT" and shares.old is None
        for plan in here:
            share = Share(columns=plan.columns, saw=saw.get(plan.role, NOBODY), old_unknown=old_unknown)
            if change.new is not None:
                share.sees = viewers(plan, change.new, roster)
            if share.sees.open:
                share.sees_answer = questions.add(change.table, change.new or {}, share.sees.open)
            if share.saw.open:
                share.saw_answer = questions.add(change.table, shares.old or {}, share.saw.open)
            shares.of_roles.append(share)
        if old_unknown and here:
            # Who saw the row before is not known.  Those who see it now cannot be harmed by an
            # UPDATE; those who may have lost sight of it cannot be named, so that is counted.
            metrics.UNDELIVERABLE.labels(change.table, "old_row_unknown").inc()
        return shares

    def _shift(self, probe: Probe, row: Row, saw: Sighting, questions: Questions, *, unseen: bool) -> Shift:
        sees = viewers(probe.plan, row, self._roster, probe.users)
        return Shift(
            probe=probe,
            row=row,
            saw=saw,
            # Somebody may have read the row meanwhile: withdrawing too much does no harm.
            shown=concerned(probe, self._roster) if unseen else saw.sees,
            sees=sees,
            answer=questions.add(probe.plan.table, row, sees.open),
        )

    def _probes(self, change: Change, old: LookupRow | None, new: LookupRow | None) -> list[Probe]:
        """Return the questions whose answers may change with a look-up row."""
        found = probes(
            self._plans,
            self.memory.lookups[change.table],
            old,
            new,
            primary_keys=self.memory.keys,
            fits=self.planset.catalog.fits,
        )
        # The change of a row itself is the event of this row.
        return [
            probe
            for probe in found
            if not (probe.is_key and probe.plan.table == change.table and self._is_own(probe, change))
        ]

    async def _answerable(
        self, found: Sequence[Probe], read_row: ReadRow
    ) -> tuple[list[tuple[Probe, Row]], list[Probe]]:
        """Return the probes that can be answered, each with the row to ask about, and the others."""
        answerable: list[tuple[Probe, Row]] = []
        others: list[Probe] = []
        for probe in found:
            if not concerned(probe, self._roster):
                continue
            if probe.is_key:
                row = await self.memory.find(probe.plan.table, probe.row, read_row)
                if row is not None:
                    answerable.append((probe, row))
            elif probe.plan.row_columns <= probe.row.keys():
                answerable.append((probe, dict(probe.row)))
            else:
                others.append(probe)
        return answerable, others

    def _is_own(self, probe: Probe, change: Change) -> bool:
        """True if ``probe`` asks about the very row that changes, under its key before or after."""
        return any(
            row is not None and all(row.get(c) == probe.row[c] for c in self.memory.keys[change.table])
            for row in (self.memory.key_row(change), change.new)
        )

    def _told(self, effect: Effect) -> set[tuple[Principal, str]]:
        """Return who learns by ``effect`` that a dialog came into sight or left it."""
        if not isinstance(effect, Deliver) or effect.event.table != self._dialog_table:
            return set()
        return {
            (principal, effect.event.dialog_id)
            for delivery in effect.deliveries
            if delivery.view.action != "UPDATE" and effect.event.dialog_id is not None
            for principal in delivery.principals
        }
