"""Carries each event through the stages, one after the other, in commit order.

While the look-up rows may be stale (from a Gap until they are loaded again) nothing is delivered:
changes wait in the source's queue, and clients are told by ``status``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from bridge import metrics
from bridge.ahead import Ahead
from bridge.authorization import Authorizer, CatalogChangedError, Effect, Pace, Pending, PlanSet, Users
from bridge.backoff import Backoff
from bridge.certainty import Certainty
from bridge.clock import Clock
from bridge.errors import BridgeError, RpcError
from bridge.events import (
    Change,
    Gap,
    GapReason,
    Live,
    Paused,
    Principal,
    Resumed,
    ResyncReason,
    RowEvent,
    UpstreamState,
    View,
)
from bridge.loading import Loading
from bridge.ports import Audience, Database, Source
from bridge.telling import Teller
from bridge.tracing import Tracing
from bridge.transactions import Begun, committed, net, whole_transaction
from bridge.watching import CatalogWatch

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TURN_S = 0.01
"""Time for changes that wait before the others on the loop have their turn."""

TOGETHER = 16
"""Changes that one stage takes before the next one does: its code is in the processor's caches by then."""


class Pipeline:
    """Runs capture's events through authorization into fan-out.

    Args:
        source: Where events come from.
        load: Builds a fresh authorization stage from the database.
        compile_again: Compiles the plans from the catalog as it is now.
        database: Reads single rows, and decides what memory cannot.
        audience: Where effects go.
        tables: The tables that the source captures at the start.
        clock: Source of time.
        backoff: Waits between attempts to load.
        on_first_live: Called once, when changes flow for the first time.
        tracing: Told of each change's way; None where nobody asks for that.
    """

    def __init__(
        self,
        *,
        source: Source,
        load: Callable[[], Awaitable[Authorizer]],
        compile_again: Callable[[], Awaitable[PlanSet]],
        database: Database,
        audience: Audience,
        tables: tuple[str, ...],
        clock: Clock,
        backoff: Backoff,
        on_first_live: Callable[[], None],
        tracing: Tracing | None = None,
    ) -> None:
        self._source = source
        self._loading = Loading(
            source=source, load=load, database=database, audience=audience, backoff=backoff, clock=clock
        )
        self._database = database
        self._audience = audience
        self._tables = tables
        self._clock = clock
        self._on_first_live: Callable[[], None] | None = on_first_live
        self._teller = Teller(audience, clock, tracing)
        self._authorizer: Authorizer | None = None
        self._reloading = False
        self._usable = False
        """True if what is in memory is as of the last change."""
        self._paused = False
        self.certainty = Certainty(clock)
        self.catalog = CatalogWatch(
            self,
            database=database,
            compile_again=compile_again,
            certainty=self.certainty,
            audience=audience,
            clock=clock,
        )
        self._pace = Pace()
        self._ahead = Ahead(source)
        self._turn_ends_s = 0.0
        self.reminders = self._teller.reminders
        # Who connects before the first Live may have read rows that changed before it.
        self._missed: ResyncReason | None = "upstream_started"

    @property
    def state(self) -> UpstreamState:
        """What clients were told last."""
        return self._teller.state

    @property
    def trouble(self) -> str:
        """Why changes do not flow, as the log has it; empty where nothing has failed."""
        return self._loading.trouble.reason or self._source.trouble

    async def run(self) -> None:
        """Carry events for ever."""
        while True:
            has_waited = not self._ahead and not self._source.waiting
            taken = await self._ahead.next_event()
            if has_waited:  # so the others have had theirs
                self._turn_ends_s = self._clock.monotonic_s() + TURN_S
            match taken:
                case Live():
                    await self._catch_up()
                case Gap(reason=reason, table=""):
                    self._lose(reason)
                case Gap(reason=reason, table=table):
                    if self._depends_on(table, reason):
                        self._lose(reason)
                        await self._catch_up()
                case Paused() | Resumed():
                    self._paused = isinstance(taken, Paused)
                    self.show()
                case Change() as change:
                    if await self.certainty.wait():
                        await self._relay(change)
                    else:
                        error = CatalogChangedError("the policies changed while they could not be checked")
                        await self._retry_afresh([change], error)
                        self._skip_past()

    @property
    def in_use(self) -> Authorizer | None:
        """What decides; None while it is loaded, or has to be."""
        return self._authorizer if self._usable else None

    def load_again(self) -> None:
        """Load the policies anew, in their turn: they change between two changes, never within one."""
        if not self._reloading:
            self._reloading = True
            self._missed = "policies_changed"
            self._source.reload()

    async def decide(self, principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        """Answer how ``principal`` experiences each of ``events`` as of now; None while unknown.

        Raises:
            RpcError: only Postgres knows, and it did not answer.
        """
        await self.certainty.wait()  # a replay may have begun before it was lost
        authorizer = self._authorizer
        if authorizer is None or not self._usable:
            return [None] * len(events)
        return await authorizer.decide(principal, events, self._database)

    def _depends_on(self, table: str, reason: GapReason) -> bool:
        """True if what is in memory may be wrong by a gap of this table.

        One change that cannot be read makes only look-up rows wrong: else whoever may write a message could
        stop all of them.
        """
        if reason == "row_unreadable" and self._authorizer is not None:
            return table in self._authorizer.memory.lookups
        return table in self._tables  # else nobody reads it

    def audience(self, event: RowEvent) -> Mapping[str, Users] | None:
        """Return, by role, who may experience ``event`` as of now, or more (None: it may be anybody)."""
        return None if self._authorizer is None else self._authorizer.audience(event)

    def _lose(self, reason: ResyncReason) -> None:
        metrics.GAPS.labels(reason).inc()
        self._missed = reason
        self._usable = False
        self._audience.forget_history()
        self._teller.show("down")

    async def _catch_up(self) -> None:
        """Load the catalog and the look-up rows anew, for as long as it takes."""
        if self._usable:
            self._audience.forget_history()
        self._usable = self._reloading = False
        self._teller.show("catching_up")
        authorizer = await self._loading.run()
        self._authorizer = authorizer
        tables = authorizer.planset.upstream_tables
        if set(tables) != set(self._tables):
            log.info("tables_changed", tables=tables)
            self._tables = tables
            if self._source.set_tables(tables):
                # Rows of a table that was not captured until now may already have changed unseen:
                # the source joins again, and the Live that follows leads back here.
                return
        self._usable = True
        self.certainty.note_loaded()
        self._audience.open()
        if self._missed is not None:
            self._audience.announce_gap(self._missed)
            self._missed = None
        self._teller.show("live")
        if self._on_first_live is not None:
            on_first_live, self._on_first_live = self._on_first_live, None
            on_first_live()

    async def _relay(self, change: Change) -> None:
        """Relay ``change`` and what waits behind it, until the others on the loop have their turn."""
        self._ahead.put_back(change)
        begun: list[Begun] = []
        while True:
            if not begun and self._relay_inserts():
                break
            following = self._ahead.take()
            if not isinstance(following, Change):
                self._ahead.put_back(following)
                break
            together = [following]
            if following.txid and not following.last:
                together, following = await whole_transaction(following, self._source)
                self._ahead.put_back(following)  # there is nothing else: what is not whole is put back last
            try:
                begun += await self._begin(together)
            except (CatalogChangedError, RpcError) as error:
                await self._settle(begun)
                await self._retry_afresh(together, error)
                self._skip_past()
                return
            if not any(isinstance(one.effects, Pending) for one in begun):
                await self._settle(begun)
                begun = []
                if self._clock.monotonic_s() >= self._turn_ends_s:
                    break
            elif len(begun) >= self._pace.room:
                break
        if not await self._settle(begun):
            self._skip_past()
        if self._clock.monotonic_s() >= self._turn_ends_s:
            await asyncio.sleep(0)
            self._turn_ends_s = self._clock.monotonic_s() + TURN_S

    def _relay_inserts(self) -> bool:
        """Relay what waits, while nothing has to be asked or looked up; True if that was all for now."""
        authorizer = self._authorizer
        if authorizer is None or not self._usable or self._teller.traces:
            return False
        while True:
            some = self._ahead.inserts(authorizer.arriving, TOGETHER)
            if not some:
                return not self._ahead
            try:
                delivers = authorizer.insert(some)
            except CatalogChangedError:
                delivers = []  # it is raised again
            for change, deliver in zip(some, delivers, strict=False):
                metrics.CHANGES.counts[change.table, change.action] += 1
                self._teller.begin(change)
                self._audience.deliver(change, (deliver,))
            if len(delivers) < len(some):
                self._ahead.put_back(*some[len(delivers) :])
                return False
            if self._clock.monotonic_s() >= self._turn_ends_s:
                return True

    def _skip_past(self) -> None:
        """Forget what was taken before everything was loaded: what was loaded has it."""
        if self._source.keeps_past:
            self._ahead.skip()

    async def _begin(self, together: Sequence[Change]) -> list[Begun]:
        """Apply the changes of one transaction.

        Raises:
            CatalogChangedError, RpcError: see :meth:`Authorizer.begin`.
        """
        begun: list[Begun] = []
        is_one = len(together) == 1
        keys = {} if is_one or self._authorizer is None else self._authorizer.memory.keys
        for change, whole in zip(together, net(together, keys), strict=True):
            metrics.CHANGES.counts[change.table, change.action] += 1
            # Else left over from before a change of tables; the Gap that follows covers it.
            if not self._usable or self._authorizer is None:
                continue
            is_ours = self._authorizer.memory.concerns(change)
            if not is_ours and change.table in self._tables:
                continue  # what it does is not to be taken for a change of ours with this name
            effects: list[Effect] | Pending = []
            if whole is not None and is_ours:
                self._teller.begin(whole)
                effects = await self._authorizer.begin(whole, self._database)
            begun.append(Begun(whole or change, effects, self._authorizer.moves))
        return begun

    async def _settle(self, begun: Sequence[Begun]) -> bool:
        """Tell what ``begun`` comes to; False if everything had to be loaded anew instead."""
        if not begun or self._authorizer is None:
            return True
        started_s = self._clock.monotonic_s()
        try:
            settled = await self._authorizer.settle([one.effects for one in begun], self._database)
        except RpcError as error:
            await self._retry_afresh([one.change for one in begun], error)
            return False
        if any(isinstance(one.effects, Pending) for one in begun):
            self._pace.note(len(begun), self._clock.monotonic_s() - started_s)
        memory = self._authorizer.memory
        for one, effects in zip(begun, committed(begun, settled, memory.keys, memory.lookups), strict=True):
            # Several were applied before any is told: nobody is shown what the later ones took from them.
            self._teller.tell(one.change, self._authorizer.still_seen(effects, one.moves))
        return True

    async def _retry_afresh(self, changes: Sequence[Change], error: BridgeError) -> None:
        """Load everything anew and apply ``changes`` once more; clients read again in any case."""
        log.warning("change_not_applied", table=changes[0].table, code=error.code, reason=str(error))
        self._lose("catalog_changed" if isinstance(error, CatalogChangedError) else "database_unreachable")
        await self._catch_up()
        again: CatalogChangedError | RpcError | None = None
        for change in changes:
            if self._authorizer is None or not self._usable or self._source.keeps_past:
                return  # what is read again has these changes too
            try:
                if isinstance(again, RpcError):
                    raise again  # it would take as long for each of the others
                self._teller.tell(change, await self._authorizer.apply(change, self._database))
            except (CatalogChangedError, RpcError) as failure:
                # The clients were told to read again, which covers this change too.
                again = failure
                metrics.undelivered(change.table, "rpc" if isinstance(again, RpcError) else "catalog_changed")
                log.error("change_dropped", table=change.table, code=again.code, reason=str(again))

    def show(self) -> None:
        """Tell everybody how things stand, if that is news."""
        is_live = self._usable and not self._paused and not self.certainty.is_lost
        self._teller.show("live" if is_live else "down")
