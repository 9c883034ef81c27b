"""From what was found out about a change to its effects, once Postgres has been asked."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from bridge import metrics
from bridge.authorization.asking import Questions
from bridge.authorization.effects import Probe, concerned
from bridge.authorization.experience import Deliver, Effect, Resync, Shares, Shift, Shifted, without
from bridge.authorization.plan import Plan
from bridge.authorization.roster import Roster
from bridge.authorization.shaping import Shaper
from bridge.events import Action, Change, Principal

RowKey: TypeAlias = tuple[object, ...]
"""Table and primary key."""

UNTOLD_ROWS = 10_000
"""Rows that were not told of, because they had changed again, until the change that does tell."""


class Pending(msgspec.Struct, kw_only=True):
    """A change that was applied, and of which only Postgres knows who experiences it.

    Attributes:
        change: The change.
        shares: Who experiences it; None if its table is not watched.
        shifts: Rows that come into sight, or leave it, by it.
        others: Questions that cannot be asked about a row.
        gone: Questions about a row that is gone.
        moved: Whose sight may have changed, here or not.
        questions: What Postgres has to tell.
    """

    change: Change
    shares: Shares | None
    shifts: Sequence[Shift]
    others: Sequence[Probe]
    gone: Sequence[Probe] = ()
    moved: Sequence[Shifted]
    questions: Questions

    @property
    def late(self) -> set[Principal]:
        """Those of whom Postgres did not tell in time."""
        return {p for _, _, answer in self.questions.asked if answer.is_late for p in answer.asked}


class Settler:
    """Makes effects, of one change after the other.

    Args:
        shaper: Makes events.
        roster: Who is here.
        dialog_table: The table whose rows are the dialogs.
        keys: Primary keys by table.
    """

    def __init__(
        self, shaper: Shaper, roster: Roster, *, dialog_table: str, keys: Mapping[str, Sequence[str]]
    ) -> None:
        self._shaper = shaper
        self._keys = keys
        self._roster = roster
        self._dialog_table = dialog_table
        self._untold: OrderedDict[RowKey, set[Principal]] = OrderedDict()

    def settle(self, pending: Pending) -> list[Effect]:
        """Return what the users experience, in order; Postgres has been asked.

        Those of whom it did not tell in time get nothing of it: they have to read again.
        """
        effects = [*self._effects(pending), *pending.moved]
        late = pending.late
        return [without(e, late) if isinstance(e, Deliver) else e for e in effects] if late else effects

    def _effects(self, pending: Pending) -> list[Effect]:
        change, shares = pending.change, pending.shares
        effects: list[Effect] = [] if shares is None else self._shared(change, shares)
        if not pending.shifts and not pending.others:
            return effects
        told = {pair for effect in effects for pair in self._told(effect)}
        affected: list[tuple[Principal, str | None]] = []
        # Who sees nothing any more of a deleted dialog is told that it went, and need not read again.
        gone = {
            (probe.plan.role, self._shaper.dialog_id(probe.plan.table, probe.row)): probe
            for probe in pending.gone
            if probe.plan.table == self._dialog_table
        }

        def announce(plan: Plan, row: Mapping[str, Any], action: Action, principals: list[Principal]) -> None:
            event, delivery = self._shaper.announcement(change, plan, dict(row), action, principals)
            effects.append(Deliver(event, (delivery,)))
            told.update(self._told(effects[-1]))

        for shift in pending.shifts:
            dialog = self._shaper.dialog_id(shift.probe.plan.table, shift.row)
            affected += [(principal, dialog) for principal in shift.doubtful]
            gained, lost = shift.settle()
            if not shift.probe.is_key:
                left = gone.get((shift.probe.plan.role, dialog))
                affected += [(principal, dialog) for principal in (gained if left else (*gained, *lost))]
                if left and lost:
                    announce(left.plan, left.row, "DELETE", lost)
                continue
            if shift.untold:
                metrics.undelivered(shift.probe.plan.table, "row_superseded")
                self._remember(shift.probe.plan.table, shift.probe.row, shift.untold)
            changes: tuple[tuple[Action, list[Principal]], ...] = (("INSERT", gained), ("DELETE", lost))
            for action, principals in changes:
                if principals:
                    announce(shift.probe.plan, shift.row, action, principals)
        for probe in pending.others:
            dialog = self._shaper.dialog_id(probe.plan.table, probe.row)
            affected += [(principal, dialog) for principal in concerned(probe, self._roster)]
        # Who was told that a dialog came or went knows that its messages did.
        resync = {p for p, dialog in affected if dialog is None or (p, dialog) not in told}
        if resync:
            effects.append(Resync(tuple(resync)))
        return effects

    def _shared(self, change: Change, shares: Shares) -> list[Effect]:
        untold = self._untold.pop(self._key(change.table, shares.key), set()) if self._untold else set()
        effects: list[Effect] = [shares.deliver(self._shaper, change, untold)]
        if change.new is not None and untold:
            self._remember(change.table, change.new, untold)
        if any(share.sees.superseded for share in shares.of_roles):
            # Its next version follows in the stream, and says what this one would have.
            seems = any(share.sees.seems for share in shares.of_roles)
            metrics.undelivered(change.table, "values_untold" if seems else "row_superseded")
        missed = [principal for share in shares.of_roles for principal in share.missed]
        if missed:
            metrics.undelivered(change.table, "old_viewers_unknown")
            effects.append(Resync(tuple(missed), may_wait=True))
        return effects

    def _key(self, table: str, row: Mapping[str, Any]) -> RowKey:
        return (table, *(row[column] for column in self._keys[table]))

    def _remember(self, table: str, row: Mapping[str, Any], untold: set[Principal]) -> None:
        self._untold.setdefault(self._key(table, row), set()).update(untold)
        if len(self._untold) > UNTOLD_ROWS:
            self._untold.popitem(last=False)

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
