"""Carries each event through the stages, one after the other, in commit order.

While the look-up rows may be stale (from a Gap until they are loaded again) nothing is delivered:
changes wait in the source's queue, and clients are told by ``status``.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bridge import metrics
from bridge.authorization import (
    Authorizer,
    CatalogChangedError,
    Effect,
    Pace,
    Pending,
    PlanSet,
    Resync,
)
from bridge.backoff import Backoff
from bridge.clock import Clock
from bridge.errors import BridgeError, RpcError
from bridge.events import (
    Change,
    Event,
    Gap,
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
from bridge.reminders import Reminders
from bridge.tracing import Tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TURN_S = 0.01
"""Time for changes that wait before the others on the loop have their turn."""

TIMEOUT_LOG_INTERVAL_S = 60.0
"""Seconds between two log lines about policies of one table that take too long."""


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
        self.state: UpstreamState = "down"
        self._source = source
        self._loading = Loading(source=source, load=load, audience=audience, backoff=backoff)
        self._compile_again = compile_again
        self._database = database
        self._audience = audience
        self._tables = tables
        self._clock = clock
        self._on_first_live: Callable[[], None] | None = on_first_live
        self._tracing = tracing
        self._authorizer: Authorizer | None = None
        self._reloading = False
        self._usable = False
        """True if what is in memory is as of the last change."""
        self._pace = Pace()
        self._noted_s = self._turn_ends_s = 0.0
        self._timeout_logged_s: dict[str, float] = {}
        self.reminders = Reminders(audience.remind)
        # Who connects before the first Live may have read rows that changed before it.
        self._missed: ResyncReason | None = "upstream_started"

    async def run(self) -> None:
        """Carry events for ever."""
        event: Event | None = None
        while True:
            if event is None:
                event = await self._source.next_event()
            taken, event = event, None
            match taken:
                case Live():
                    await self._catch_up()
                case Gap(reason=reason, table=""):
                    self._lose(reason)
                case Gap(reason=reason, table=table):
                    if table in self._tables:  # else nobody reads it
                        self._lose(reason)
                        await self._catch_up()
                case Paused():
                    self._set_state("down")
                case Resumed():
                    self._set_state("live" if self._usable else "down")
                case Change() as change:
                    event = await self._relay(change)

    async def watch_catalog(self, interval_s: float) -> None:
        """Ask for ever whether policies, grants, functions or tables changed, and let that take effect."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.check_catalog()
            except RpcError as error:
                # Upstream, which is lost in the same moment, says it to the clients.
                log.warning("catalog_unreadable", reason=str(error))

    async def check_catalog(self) -> None:
        """Let changed policies, grants, functions or tables take effect, between two changes.

        Raises:
            RpcError: the database did not answer.
        """
        authorizer = self._authorizer
        if authorizer is None or self.state != "live":
            return  # what is loaded next is the catalog of then
        marker = await self._database.catalog_marker()
        if marker == authorizer.marker:
            return
        try:
            planset = await self._compile_again()
        except BridgeError as error:
            # A watched table is gone or has no key any more, or who sees what has changed and cannot be read:
            # nothing is told until it is back.
            log.error("catalog_unusable", reason=str(error))
            planset = None
        if self._authorizer is not authorizer or self.state != "live":
            return
        if planset is not None and planset.means_the_same(authorizer.planset):
            authorizer.marker = marker  # some other table, or an index
            return
        if planset is not None:
            log.info("policies_changed", tables=planset.upstream_tables)
        if not self._reloading:
            self._reloading = True
            self._missed = "policies_changed"
            self._source.reload()  # in its turn: policies change between two changes, never within one

    async def decide(self, principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        """Answer how ``principal`` experiences each of ``events`` as of now; None while unknown.

        Raises:
            RpcError: only Postgres knows, and it did not answer.
        """
        authorizer = self._authorizer
        if authorizer is None or not self._usable:
            return [None] * len(events)
        return await authorizer.decide(principal, events, self._database)

    def _lose(self, reason: ResyncReason) -> None:
        metrics.GAPS.labels(reason).inc()
        self._missed = reason
        self._usable = False
        self._audience.forget_history()
        self._set_state("down")

    async def _catch_up(self) -> None:
        """Load the catalog and the look-up rows anew, for as long as it takes."""
        if self._usable:
            self._audience.forget_history()
        self._usable = self._reloading = False
        self._set_state("catching_up")
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
        self._audience.open()
        if self._missed is not None:
            self._audience.announce_gap(self._missed)
            self._missed = None
        self._set_state("live")
        if self._on_first_live is not None:
            on_first_live, self._on_first_live = self._on_first_live, None
            on_first_live()

    async def _relay(self, change: Change) -> Event | None:
        """Relay ``change``, and if Postgres has to be asked also those that wait: about all of them at once.

        Return what was taken of the source behind them.
        """
        following: Event | None = change
        ends_s = self._clock.monotonic_s() + TURN_S
        while isinstance(following, Change) and self._relay_at_once(following):
            if self._clock.monotonic_s() >= ends_s:
                await asyncio.sleep(0)
                return None
            following = self._source.take()
        begun: list[tuple[Change, list[Effect] | Pending]] = []
        while isinstance(following, Change):
            change, following = following, None
            metrics.CHANGES.counts[change.table, change.action] += 1
            # Else left over from before a change of tables; the Gap that follows covers it.
            if not self._usable or self._authorizer is None:
                pass
            elif change.table not in self._tables:
                self._deliver(change, ())
            else:
                self._note_age(change)
                if self._tracing is not None:
                    self._tracing.begin(change)
                try:
                    effects = await self._authorizer.begin(change, self._database)
                except (CatalogChangedError, RpcError) as error:
                    await self._settle(begun)
                    await self._retry_afresh([change], error)
                    return None
                if isinstance(effects, list) and not begun:
                    self._deliver(change, effects)
                else:
                    begun.append((change, effects))
            if begun and len(begun) < self._pace.room:
                following = await self._waiting()
        await self._settle(begun)
        if self._clock.monotonic_s() >= self._turn_ends_s:
            await asyncio.sleep(0)
            self._turn_ends_s = self._clock.monotonic_s() + TURN_S
        return following

    def _relay_at_once(self, change: Change) -> bool:
        """Relay ``change`` if nothing has to be asked or looked up; False if it was not."""
        authorizer = self._authorizer
        if authorizer is None or not self._usable or change.table not in self._tables or self._tracing:
            return False
        try:
            effect = authorizer.insert(change)
        except CatalogChangedError:
            return False  # it is raised again
        if effect is None:
            return False
        metrics.CHANGES.counts[change.table, change.action] += 1
        self._note_age(change)
        self._audience.deliver(change, (effect,))
        return True

    async def _waiting(self) -> Event | None:
        """Return the next event if it is there already."""
        if self._source.ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    return await self._source.next_event()
        return None

    async def _settle(self, begun: Sequence[tuple[Change, list[Effect] | Pending]]) -> None:
        if not begun or self._authorizer is None:
            return
        started_s = self._clock.monotonic_s()
        try:
            settled = await self._authorizer.settle([effects for _, effects in begun], self._database)
        except RpcError as error:
            await self._retry_afresh([change for change, _ in begun], error)
            return
        self._pace.note(len(begun), self._clock.monotonic_s() - started_s)
        for (change, _), effects in zip(begun, settled, strict=True):
            self._deliver(change, effects)

    def _deliver(self, change: Change, effects: Sequence[Effect]) -> None:
        if self._tracing is not None:
            self._tracing.decided(change)
        now: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Resync) and effect.may_wait:
                self.reminders.add(effect)
                continue
            if isinstance(effect, Resync) and effect.timeout is not None:
                self._log_timeout(change.table, effect)
            now.append(effect)
        self._audience.deliver(change, now)
        if self._tracing is not None:
            self._tracing.delivered(change)

    async def _retry_afresh(self, changes: Sequence[Change], error: BridgeError) -> None:
        """Load everything anew and apply ``changes`` once more; clients read again in any case."""
        log.warning("change_not_applied", table=changes[0].table, code=error.code, reason=str(error))
        self._lose("catalog_changed" if isinstance(error, CatalogChangedError) else "database_unreachable")
        await self._catch_up()
        again: BridgeError | None = None
        for change in changes:
            if self._authorizer is None or not self._usable or self._source.keeps_past:
                return  # what is read again has these changes too
            if not isinstance(again, RpcError):  # it would take as long for each of the others
                try:
                    self._deliver(change, await self._authorizer.apply(change, self._database))
                    continue
                except (CatalogChangedError, RpcError) as failure:
                    again = failure
            # The clients were told to read again, which covers this change too.
            metrics.undelivered(
                change.table, "catalog_changed" if isinstance(again, CatalogChangedError) else "rpc"
            )
            log.error("change_dropped", table=change.table, code=again.code, reason=str(again))

    def _log_timeout(self, table: str, late: Resync) -> None:
        now_s = self._clock.monotonic_s()
        logged_s = self._timeout_logged_s.get(table)
        if logged_s is None or now_s - logged_s >= TIMEOUT_LOG_INTERVAL_S:
            self._timeout_logged_s[table] = now_s
            log.warning(
                "question_timed_out", table=table, users=len(late.principals), reason=str(late.timeout)
            )

    def _set_state(self, state: UpstreamState) -> None:
        if state == self.state:
            return
        log.info("upstream_state_changed", state=state, before=self.state)
        self.state = state
        metrics.show_upstream(state)
        self._audience.announce_status(state)

    def _note_age(self, change: Change) -> None:
        """Measure how old it was on arrival; the first of those that arrived together stands for them."""
        if change.received_s == self._noted_s:
            return
        self._noted_s = change.received_s
        try:
            committed = dt.datetime.fromisoformat(change.commit_timestamp)
        except ValueError:
            return  # upstream did not say
        since_receipt_s = self._clock.monotonic_s() - change.received_s
        age_s = (self._clock.now() - committed).total_seconds() - since_receipt_s
        metrics.COMMIT_TO_RECEIVE.observe(max(0.0, age_s))
