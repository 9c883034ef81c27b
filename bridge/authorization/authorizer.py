"""The stage itself: says who sees each change, and as what, as of that change."""

from collections.abc import Mapping, Sequence

from bridge import metrics
from bridge.authorization.aftermath import still_seen
from bridge.authorization.arrivals import Arrivals
from bridge.authorization.asking import Database, Questions, Visibility
from bridge.authorization.deciding import Asker, Decider
from bridge.authorization.effects import Crowd, Probe
from bridge.authorization.experience import Deliver, Effect, Resync, shifted
from bridge.authorization.finders import Users
from bridge.authorization.lookup import LookupRow, same
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import CatalogChangedError, RowMemory
from bridge.authorization.settling import Pending, Settler
from bridge.authorization.shaping import Shaper
from bridge.authorization.sharing import Sharing
from bridge.authorization.shifting import Shifting
from bridge.events import Change, Principal, Row, RowEvent, View


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
        self.moves = 0
        """Counts the changes of look-up rows, in what policies read of them."""
        self._came: set[Principal] | None = None
        """Who came or went since a change was applied of which nobody is told yet; None if there is none."""
        self._shaper = Shaper(keys=memory.keys, dialog_columns=dialog_columns)
        self._settler = Settler(self._shaper, roster, dialog_table=dialog_table, keys=memory.keys)
        self._plans = list(planset.plans.values())
        self._plans_of = {
            name: {plan.role: plan for plan in self._plans if plan.table == name} for name in planset.watched
        }
        self._arrivals = {
            name: Arrivals(name, plans, memory=memory, roster=roster, shaper=self._shaper)
            for name, plans in self._plans_of.items()
            if name not in memory.lookups
        }
        self.arriving = self._arrivals.keys()
        """Tables whose INSERTs :meth:`insert` may take."""
        asker = Asker(planset.catalog)
        self._sharing = Sharing(self._plans_of, memory, roster, asker)
        self._shifting = Shifting(self._plans, memory, roster, asker, planset.catalog)
        self._decider = Decider(self._plans_of, memory, asker)
        for plan in self._plans:
            plan.cohorts.meet(roster)
        roster.on_change = self._noticed

    def _noticed(self, principal: Principal) -> None:
        if self._came is not None:
            self._came.add(principal)
        for plan in self._plans:
            plan.cohorts.notice(principal)

    async def apply(self, change: Change, database: Database) -> list[Effect]:
        """Apply ``change``, ask what has to be asked, and return what the users experience, in order.

        Raises:
            CatalogChangedError, RpcError: as :meth:`begin` and :meth:`settle` do.
        """
        return (await self.settle([await self.begin(change, database)], database))[0]

    async def begin(self, change: Change, database: Database) -> list[Effect] | Pending:
        """Apply ``change`` to the look-up rows and return what the users experience, in order.

        :meth:`settle` has to follow.  Where only Postgres knows, it is asked there, about several changes at
        once: who is decided in memory is decided as of this change all the same.

        Args:
            change: A change of a watched table or of a look-up table.
            database: Asked for a row that a membership may bring into somebody's sight, where it is
                not remembered.

        Raises:
            CatalogChangedError: the plans do not fit the table any more; nothing was applied.
            RpcError: the database did not answer: everything has to be loaded again.
        """
        inserted = self.insert([change])
        if inserted:
            self._watch_who_comes()
            return [*inserted]
        self.memory.check(change)
        answerable: list[tuple[Probe, Row]] = []
        others: list[Probe] = []
        found: list[Probe] = []
        news: list[Probe] = []
        own: list[Probe] = []
        gone: list[Probe] = []
        unseen = False
        if change.table in self.memory.lookups:
            found = self._shifting.probes(change, *self.memory.lookup_rows(change))
            for probe in found:  # the change of a row itself is the event of this row
                (own if self._shifting.is_own(probe, change) else news).append(probe)
            answerable, others, gone = await self._shifting.answerable(news, database.row)
            unseen = self.memory.is_unseen(change)
        # From here on nothing waits: everything is as of this change.
        self._watch_who_comes()
        questions = Questions()
        row_before, row_after = self.memory.lookup_rows(change)
        here, anybody = (Crowd(found, change.table, who) for who in ("here", "anybody"))
        for crowd in (here, anybody):
            crowd.count_all() if unseen else crowd.count(row_before)
        saw_others = self._shifting.saw(answerable)
        saw = self._sharing.before(change)
        self._store(change, row_before, row_after)
        shares = None if saw is None else self._sharing.after(change, saw, questions)
        shifts = [
            self._shifting.shift(probe, row, before, questions, unseen=unseen)
            for (probe, row), before in zip(answerable, saw_others, strict=True)
        ]
        for crowd in (here, anybody):
            crowd.count(row_after)
        pending = Pending(
            change=change,
            shares=shares,
            shifts=shifts,
            others=here.of(others),
            gone=gone,
            moved=shifted(anybody.of(news)) + shifted(anybody.of(own), by_row=True),
            questions=questions,
        )
        if not questions:
            return self._settler.settle(pending)
        metrics.ASKED.labels(change.table).inc(len(questions))
        return pending

    def _watch_who_comes(self) -> None:
        """Take note of who comes until ``settle``: nobody decided about them, and no history has it yet."""
        if self._came is None:
            self._came = set()

    def pass_by(self, change: Change, *, is_loaded: bool) -> list[Effect]:
        """Take in a change of the past; nobody is told, and nothing may be asked until the last one.

        Args:
            change: With the whole row before it, as the journal has it.
            is_loaded: True if it was committed before the rows were read.

        Raises:
            CatalogChangedError: the plans do not fit the table any more.
        """
        memory = self.memory
        memory.check(change, is_whole=True)
        effects: list[Effect] = []
        lookup = memory.lookups.get(change.table)
        if lookup is not None:
            # What memory holds may be newer than the change.
            old, new = (None if row is None else lookup.pack(row) for row in (change.old, change.new))
            found = [
                probe
                for probe in self._shifting.probes(change, old, new)
                if not self._shifting.is_own(probe, change)
            ]
            crowd = Crowd(found, change.table, "past")
            crowd.count(old)
            crowd.count(new)
            effects += shifted(crowd.of(found))
        if not is_loaded:  # else its row may be gone since without a word: truncated, dropped, not watched
            memory.store(change)  # the cohorts are computed after all of the past
        if change.table in self._plans_of:
            event = self._shaper.committed(change, memory.key_row(change), change.old)
            effects.append(Deliver(event, ()))
        return effects

    async def settle(self, begun: Sequence[list[Effect] | Pending], database: Database) -> list[list[Effect]]:
        """Ask Postgres what is pending, if anything, and return the effects of each change; in stream order.

        Those of whom Postgres does not tell in time get nothing of the change, and read again.

        Raises:
            RpcError: the database did not answer: everything has to be loaded again.
        """
        pending = [one for one in begun if isinstance(one, Pending)]
        questions = Questions()
        for one in pending:
            questions.asked += one.questions.asked
        try:
            await questions.ask(database)
        finally:
            came, self._came = self._came or (), None
        settled = [self._settler.settle(one) if isinstance(one, Pending) else one for one in begun]
        if came:
            settled[-1].append(Resync(tuple(came)))
        if questions.timeout is not None:
            for one in pending:
                if one.late:
                    metrics.undelivered(one.change.table, "asked_timeout")
            late = {principal for one in pending for principal in one.late}
            settled[-1].append(Resync(tuple(late), questions.timeout))
        return settled

    def still_seen(self, effects: Sequence[Effect], moves: int) -> Sequence[Effect]:
        """Return ``effects`` for those who see the rows as of the last change that was applied.

        Args:
            effects: Of one change.
            moves: As of that change.
        """
        return effects if moves == self.moves else still_seen(effects, self._plans_of)

    def insert(self, changes: Sequence[Change]) -> list[Deliver]:
        """Store INSERTs, which most changes are, and say who sees the rows.

        Args:
            changes: In order; those from the first on for which :meth:`begin` has to be called are left.

        Raises:
            CatalogChangedError: the plans do not fit the table of the first any more; nothing was applied.
        """
        found: list[Deliver] = []
        table, arrivals = "", None
        for change in changes:
            if change.table != table:
                table = change.table
                arrivals = self._arrivals.get(table)
                if arrivals is not None:
                    arrivals.refresh()
            try:
                one = None if arrivals is None else arrivals.take(change)
            except CatalogChangedError:
                if found:
                    break  # it is raised when it comes first
                raise
            if one is None:
                break
            found.append(one)
        return found

    async def decide(
        self, principal: Principal, events: Sequence[RowEvent], database: Visibility
    ) -> list[View | None]:
        """Return how ``principal`` experiences each of ``events`` as of now; None if not at all.

        Raises:
            RpcError: only Postgres knows, and it did not answer, or not in time.
        """
        return await self._decider.decide(principal, events, database)

    def audience(self, event: RowEvent) -> dict[str, Users]:
        """Return, by role, the ids of the users who may experience ``event`` as of now, or more of them."""
        return self._decider.audience(event)

    def _store(self, change: Change, row_before: LookupRow | None, row_after: LookupRow | None) -> None:
        """Store ``change``; with it the look-up row ``row_before`` becomes ``row_after``."""
        self.memory.store(change)
        lookup = self.memory.lookups.get(change.table)
        if lookup is not None and not same(row_before, row_after):
            self.moves += 1
            for plan in self._plans:
                plan.cohorts.row_changed(lookup, row_before, row_after)
