"""Who experiences the change of a row: who saw it before, and who sees it after.

Between the two the change is stored: both are asked of the look-up rows as of then.
"""

from collections.abc import Mapping

import msgspec

from bridge import metrics
from bridge.authorization.asking import Questions
from bridge.authorization.deciding import Asker
from bridge.authorization.effects import viewers
from bridge.authorization.experience import NOBODY, Sees, Share, Shares
from bridge.authorization.plan import Plan
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.authorization.sightings import Sighting
from bridge.events import Change, Row


class Before(msgspec.Struct):
    """What was known of a row before it changed.

    Attributes:
        key: Its primary key.
        row: The row; None if it was not there, or is not known.
        here: The plans of those who are here.
        saw: Who of them saw it, for each plan; nothing without a row.
    """

    key: Row
    row: Row | None
    here: list[Plan]
    saw: list[Sighting]


class Sharing:
    """Finds each role's part of a change.

    Args:
        plans_of: Plans by role, by table.
        memory: What is known of the rows.
        roster: Who is here.
        asker: Puts what memory does not know into questions.
    """

    def __init__(
        self, plans_of: Mapping[str, Mapping[str, Plan]], memory: RowMemory, roster: Roster, asker: Asker
    ) -> None:
        self._plans_of = plans_of
        self._memory = memory
        self._roster = roster
        self._asker = asker

    def before(self, change: Change) -> Before | None:
        """Return who saw the row of ``change``, which is not stored yet; None if its table is not watched."""
        plans, roster = self._plans_of.get(change.table), self._roster
        if plans is None:
            return None
        here = [plans[role] for role in roster.roles() if role in plans]
        key, row = self._memory.key_row(change), self._memory.before(change)
        return Before(key, row, here, [] if row is None else [viewers(plan, row, roster) for plan in here])

    def after(self, change: Change, before: Before, questions: Questions) -> Shares:
        """Return who experiences ``change``, which has been stored."""
        shares = Shares(key=before.key, old=before.row)
        new, old = change.new, before.row
        old_unknown = change.action != "INSERT" and old is None
        for position, plan in enumerate(before.here):
            sees = (
                NOBODY
                if new is None
                else self._asker.sees(plan, viewers(plan, new, self._roster), new, questions)
            )
            share = Share(columns=plan.columns, old_unknown=old_unknown, sees=sees)
            if old is not None:
                saw = before.saw[position]
                if saw.open:
                    share.row_only = self._asker.grounds_of(plan).row_only
                if saw.open and change.action in self._asker.grounds_of(plan).hidden_by:
                    share.saw, share.unsure = Sees(Sighting(saw.sees)), saw.open
                else:
                    share.saw = self._asker.saw(change.table, saw, old, questions)
            shares.of_roles.append(share)
        if old_unknown and before.here:
            # Who saw the row before is not known.  Those who see it now cannot be harmed by an
            # UPDATE; those who may have lost sight of it cannot be named, so that is counted.
            metrics.undelivered(change.table, "old_row_unknown")
        return shares
