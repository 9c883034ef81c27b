"""The stage itself: says who sees each change, and as what, as of that change."""

from collections.abc import Collection, Mapping
from typing import TypeAlias

import msgspec

from bridge import metrics
from bridge.authorization.effects import Probe, concerned, probes, viewers
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import ReadRow, RowMemory
from bridge.authorization.shaping import Shaper, experience, views
from bridge.events import Action, Change, Delivery, Principal, Row, RowEvent, View


class Deliver(msgspec.Struct, frozen=True):
    """An event and who gets it, as what.  History keeps it also when nobody does."""

    event: RowEvent
    deliveries: tuple[Delivery, ...]


class Resync(msgspec.Struct, frozen=True):
    """These principals see other rows than before, too many to name: they have to read again."""

    principals: tuple[Principal, ...]


Effect: TypeAlias = Deliver | Resync


class Authorizer:
    """Decides in memory who sees what, as of the last change that was applied.

    Args:
        planset: Compiled plans.
        memory: The rows these look into.
        roster: Who is here.
        dialog_columns: Column that holds the dialog's id, by watched table.
        dialog_table: The table whose rows are the dialogs.
    """

    def __init__(
        self,
        planset: PlanSet,
        *,
        memory: RowMemory,
        roster: Roster,
        dialog_columns: Mapping[str, str],
        dialog_table: str,
    ) -> None:
        self.planset = planset
        self.memory = memory
        self._roster = roster
        self._dialog_table = dialog_table
        self._shaper = Shaper(keys=memory.keys, dialog_columns=dialog_columns)
        self._plans = list(planset.plans.values())
        self._plans_of = {
            name: {plan.role: plan for plan in self._plans if plan.table == name} for name in planset.watched
        }

    async def apply(self, change: Change, read_row: ReadRow) -> list[Effect]:
        """Apply ``change`` to the look-up rows and return what the users experience, in order.

        Args:
            change: A change of a watched table or of a look-up table.
            read_row: Asked for a row that a membership may bring into somebody's sight, where it is
                not remembered.

        Raises:
            CatalogChangedError: the plans do not fit the table any more; nothing was applied.
            RpcError: ``read_row`` failed; nothing was applied.
        """
        self.memory.check(change)
        answerable, others = await self._probe(change, read_row)
        # From here on nothing waits: everything is as of this change.
        unseen = self.memory.is_unseen(change)
        before = [viewers(probe.plan, row, self._roster, probe.users) for probe, row in answerable]
        # Somebody may have read the row meanwhile: withdrawing too much does no harm.
        shown = [concerned(probe, self._roster) for probe, _ in answerable] if unseen else before
        effects: list[Effect] = []
        if change.table in self._plans_of:
            effects.append(self._deliver(change))
        else:
            self.memory.store(change)
        told = {pair for effect in effects for pair in self._told(effect)}
        affected: list[tuple[Principal, str | None]] = []
        for (probe, row), saw, may_have_seen in zip(answerable, before, shown, strict=True):
            sees = viewers(probe.plan, row, self._roster, probe.users)
            gained, lost = _without(sees, saw), _without(may_have_seen, sees)
            if not probe.is_key:
                dialog = self._shaper.dialog_id(probe.plan.table, row)
                affected += [(principal, dialog) for principal in (*gained, *lost)]
                continue
            changes: tuple[tuple[Action, list[Principal]], ...] = (("INSERT", gained), ("DELETE", lost))
            for action, principals in changes:
                if principals:
                    event, delivery = self._shaper.announcement(change, probe.plan, row, action, principals)
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

    def decide(self, principal: Principal, event: RowEvent) -> View | None:
        """Return how ``principal`` experiences ``event`` as of now; None if not at all."""
        plan = self._plans_of.get(event.table, {}).get(principal.role)
        if plan is None:
            return None
        if event.announced == "DELETE":
            return View(action="DELETE", columns=plan.columns)
        sees_new = event.new is not None and plan.visible(event.new, principal.user_id)
        if event.new is not None and event.old is None:
            return View(action="INSERT", columns=plan.columns) if sees_new else None
        if event.old is not None and plan.row_columns <= event.old.keys():
            saw_old = plan.visible(event.old, principal.user_id)
        else:
            saw_old = sees_new
        action = experience(saw_old=saw_old, sees_new=sees_new)
        return None if action is None else View(action=action, columns=plan.columns)

    async def _probe(self, change: Change, read_row: ReadRow) -> tuple[list[tuple[Probe, Row]], list[Probe]]:
        """Return the probes that can be answered, each with the row to ask about, and the others."""
        answerable: list[tuple[Probe, Row]] = []
        others: list[Probe] = []
        lookup = self.memory.lookups.get(change.table)
        if lookup is None:
            return answerable, others
        old, new = self.memory.lookup_rows(change)
        for probe in probes(self._plans, lookup, old, new, primary_keys=self.memory.keys):
            if not concerned(probe, self._roster):
                continue
            if probe.is_key:
                if probe.plan.table == change.table and self._is_own(probe, change):
                    continue  # the change itself is the event of this row
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

    def _deliver(self, change: Change) -> Deliver:
        """Store a change of a watched table and say who experiences it, as what."""
        key, old = self.memory.key_row(change), self.memory.before(change)
        plans = self._plans_of[change.table]
        roles = self._roster.roles()
        saw = {
            role: viewers(plans[role], old, self._roster)
            for role in roles
            if role in plans and old is not None
        }
        self.memory.store(change)
        deliveries: list[Delivery] = []
        for role in roles:
            plan = plans.get(role)
            if plan is None:
                metrics.UNDELIVERABLE.labels(change.table, "policy_refused").inc()
                continue
            sees = [] if change.new is None else viewers(plan, change.new, self._roster)
            if change.action != "INSERT" and old is None:
                # Who saw the row before is not known.  Those who see it now cannot be harmed by an
                # UPDATE; those who may have lost sight of it cannot be named, so that is counted.
                metrics.UNDELIVERABLE.labels(change.table, "old_row_unknown").inc()
                shares: list[tuple[Action, list[Principal]]] = [("UPDATE", sees)]
            else:
                shares = views(saw.get(role, []), sees)
            deliveries += [
                Delivery(view=View(action=action, columns=plan.columns), principals=principals)
                for action, principals in shares
                if principals
            ]
        return Deliver(self._shaper.committed(change, key, old), tuple(deliveries))

    def _told(self, effect: Effect) -> set[tuple[Principal, str]]:
        """Return who learns by ``effect`` that a dialog came into sight or left it."""
        if isinstance(effect, Resync) or effect.event.table != self._dialog_table:
            return set()
        return {
            (principal, effect.event.dialog_id)
            for delivery in effect.deliveries
            if delivery.view.action != "UPDATE" and effect.event.dialog_id is not None
            for principal in delivery.principals
        }


def _without(some: Collection[Principal], others: list[Principal]) -> list[Principal]:
    excluded = set(others)
    return [principal for principal in some if principal not in excluded]
