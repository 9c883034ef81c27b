"""Whose sight of other rows a look-up row shifts when it changes: what to ask, and what that comes to."""

from collections.abc import Sequence

from bridge.authorization.asking import Questions
from bridge.authorization.catalog import Catalog
from bridge.authorization.deciding import Asker
from bridge.authorization.effects import Probe, concerned, probes, viewers
from bridge.authorization.experience import Sees, Shift
from bridge.authorization.lookup import LookupRow
from bridge.authorization.plan import Plan
from bridge.authorization.reach import Reach
from bridge.authorization.references import comes_first
from bridge.authorization.roster import Roster
from bridge.authorization.rows import ReadRow, RowMemory
from bridge.authorization.sightings import Sighting
from bridge.events import Change, Row


class Shifting:
    """Finds what to ask before and after a look-up row changes, and what the answers come to.

    Args:
        plans: All plans.
        memory: What is known of the rows.
        roster: Who is here.
        asker: Puts what memory does not know into questions.
        catalog: What the plans were compiled from.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        memory: RowMemory,
        roster: Roster,
        asker: Asker,
        catalog: Catalog,
    ) -> None:
        self._plans = plans
        self._memory = memory
        self._roster = roster
        self._asker = asker
        self._fits = catalog.fits
        self._first = {
            (plan.table, reach): before
            for plan in plans
            for reach in plan.reaches
            if (before := comes_first(catalog, plan.table, reach))
        }
        """Where a new look-up row shifts nobody's sight, unless these have been written with it."""

    def probes(self, change: Change, old: LookupRow | None, new: LookupRow | None) -> list[Probe]:
        """Return the questions whose answers may change with a look-up row."""
        return probes(
            self._plans,
            self._memory.lookups[change.table],
            old,
            new,
            primary_keys=self._memory.keys,
            fits=self._fits,
            counts=lambda plan, reach: self._counts(change, (plan.table, reach)),
        )

    def _counts(self, change: Change, link: tuple[str, Reach]) -> bool:
        first = self._first.get(link) if change.action == "INSERT" else None
        return first is None or self._memory.writers.may_have_written(first, change)

    def is_own(self, probe: Probe, change: Change) -> bool:
        """True if ``probe`` asks about the very row that changes, under its key before or after."""
        if not probe.is_key or probe.plan.table != change.table:
            return False
        return any(
            row is not None and all(row.get(c) == probe.row[c] for c in self._memory.keys[change.table])
            for row in (self._memory.key_row(change), change.new)
        )

    async def answerable(
        self, found: Sequence[Probe], read_row: ReadRow
    ) -> tuple[list[tuple[Probe, Row]], list[Probe], list[Probe]]:
        """Return the probes that can be answered, each with its row, others, and those whose row is gone.

        Raises:
            RpcError: a row is not remembered, and the database did not answer.
        """
        answerable: list[tuple[Probe, Row]] = []
        others: list[Probe] = []
        gone: list[Probe] = []
        for probe in found:
            if not concerned(probe, self._roster):
                continue
            if probe.is_key:
                row = await self._memory.find(probe.plan.table, probe.row, read_row)
                if row is None:
                    gone.append(probe)
                else:
                    answerable.append((probe, row))
            elif probe.plan.row_columns <= probe.row.keys():
                answerable.append((probe, dict(probe.row)))
            else:
                others.append(probe)
        return answerable, others, gone

    def saw(self, answerable: Sequence[tuple[Probe, Row]]) -> list[Sighting]:
        """Return who sees these rows, before the change is stored."""
        return [viewers(probe.plan, row, self._roster, probe.users) for probe, row in answerable]

    def shift(self, probe: Probe, row: Row, saw: Sighting, questions: Questions, *, unseen: bool) -> Shift:
        """Return who gained or lost sight of ``row``, once the change has been stored.

        Args:
            probe: The question.
            row: The row it is about.
            saw: Who saw the row before.
            questions: Takes what memory does not know.
            unseen: True if the look-up row as it was is not known: who saw is those who do without it.
        """
        sees = Sees(viewers(probe.plan, row, self._roster, probe.users))
        unknown = set(saw.open)
        # Of those of whom it was not known before, nothing can be told.
        asked = [principal for principal in sees.sighting.open if principal not in unknown]
        sighting = sees.sighting
        if probe.is_key and not self._memory.remembers(probe.plan.table, row):
            # It was read, and may be newer than this change: who gains sight of it must have that now, too.
            before = {*saw.sees, *unknown}
            asked += [principal for principal in sighting.sees if principal not in before]
            sighting = Sighting([p for p in sighting.sees if p in before], sighting.open)
        if asked:
            answer = questions.add(probe.plan.table, row, asked)
            sees = Sees(sighting, answer, self._asker.grounds_of(probe.plan))
        return Shift(
            probe=probe,
            row=row,
            saw=saw,
            # Somebody may have read the row meanwhile: withdrawing too much does no harm.
            shown=concerned(probe, self._roster) if unseen else saw.sees,
            sees=sees,
        )
