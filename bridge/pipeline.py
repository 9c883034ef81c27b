"""Carries each event through the stages, one after the other, in commit order.

While the look-up rows may be stale (from a Gap until they are loaded again) nothing is delivered:
changes wait in the source's queue, and clients are told by ``status``.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from bridge import metrics
from bridge.authorization import Authorizer, CatalogChangedError, Deliver, Effect, PlanSet, Resync
from bridge.authorization import Database as AuthorizationDatabase
from bridge.backoff import Backoff
from bridge.clock import Clock
from bridge.errors import BridgeError, ConfigError, RpcError
from bridge.events import Change, Event, Gap, Live, Paused, Principal, Resumed, RowEvent, UpstreamState, View

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TIMEOUT_LOG_INTERVAL_S = 60.0
"""Seconds between two log lines about policies of one table that take too long."""


class Source(Protocol):
    """What the pipeline needs of capture."""

    @property
    def keeps_past(self) -> bool:
        """True if what was committed before a ``Live`` is told by ``past``."""

    @property
    def position(self) -> str:
        """The changes that have been passed, as text."""

    async def next_event(self) -> Event: ...

    def version(self, digest: str) -> str:
        """Return what cursors have to be of to mean anything, for plans of this digest."""

    async def rewind(self) -> str:
        """Return the position at which the past begins."""

    async def past(self) -> Sequence[Change | Gap] | None:
        """Return what comes next of what was committed before now; None at the end."""

    def reload(self) -> None:
        """Tell a further ``Live``, if none comes anyway: what is in memory does not do any more."""

    def set_tables(self, tables: Sequence[str]) -> bool:
        """Capture these tables; True if a Gap and a Live follow."""


class Audience(Protocol):
    """What the pipeline needs of fan-out."""

    def begin(self, version: str, position: str) -> None:
        """Keep what follows for those who come back with a cursor of this version, and not before."""

    def remember(self, change: Change, effects: Sequence[Effect]) -> None:
        """Keep what was committed before anybody could be told."""

    def open(self) -> None:
        """Let clients resume from here on."""

    def deliver(self, change: Change, effects: Sequence[Effect]) -> None:
        """Hand the effects to the clients they concern, and remember them for those who come back."""

    def announce_status(self, state: UpstreamState) -> None:
        """Tell every client how things stand upstream."""

    def announce_gap(self, reason: str) -> None:
        """Tell every client to read its rows again: changes may have been missed."""

    def forget_history(self) -> None:
        """Let nobody resume until there is a new beginning."""


class Database(AuthorizationDatabase, Protocol):
    """What the pipeline needs of the project's database."""

    async def catalog_marker(self) -> str:
        """Return a text that changes whenever the catalog may have changed."""


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
    ) -> None:
        self.state: UpstreamState = "down"
        self._source = source
        self._load = load
        self._compile_again = compile_again
        self._database = database
        self._audience = audience
        self._tables = tables
        self._clock = clock
        self._backoff = backoff
        self._on_first_live: Callable[[], None] | None = on_first_live
        self._authorizer: Authorizer | None = None
        self._reloading = False
        self._usable = False
        """True if what is in memory is as of the last change."""
        self._timeout_logged_s: dict[str, float] = {}
        # Who connects before the first Live may have read rows that changed before it.
        self._missed: str | None = "upstream_started"

    async def run(self) -> None:
        """Carry events for ever."""
        while True:
            match await self._source.next_event():
                case Live():
                    await self._catch_up()
                case Gap(reason=reason):
                    self._lose(reason)
                case Paused():
                    self._set_state("down")
                case Resumed():
                    self._set_state("live" if self._usable else "down")
                case Change() as change:
                    await self._relay(change)

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
        except ConfigError as error:
            # A watched table was dropped, renamed, or has no key any more: nothing is told until it is back.
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

    def _lose(self, reason: str) -> None:
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
        authorizer = await self._load_for_ever()
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

    async def _load_for_ever(self) -> Authorizer:
        while True:
            try:
                authorizer = await self._load()
                await self._pass_by(authorizer)
            except BridgeError as error:
                retry_in_s = self._backoff.next_s()
                log.error("load_failed", reason=str(error), retry_in_s=round(retry_in_s, 2))
                await asyncio.sleep(retry_in_s)
            else:
                self._backoff.reset()
                return authorizer

    async def _pass_by(self, authorizer: Authorizer) -> None:
        """Take in what was committed before the look-up rows were loaded, for those who come back.

        Raises:
            SourceError: the past could not be read.
        """
        version = self._source.version(authorizer.planset.digest)
        self._audience.begin(version, await self._source.rewind())
        while (events := await self._source.past()) is not None:
            for event in events:
                if isinstance(event, Gap):
                    self._audience.begin(version, self._source.position)
                elif event.table in authorizer.planset.upstream_tables:
                    try:
                        self._audience.remember(event, authorizer.pass_by(event))
                    except CatalogChangedError:
                        # Of a table as it was before: what led to it cannot be told.
                        self._audience.begin(version, event.position)
                else:
                    self._audience.remember(event, ())

    async def _relay(self, change: Change) -> None:
        metrics.CHANGES.labels(change.table, change.action).inc()
        if not self._usable or self._authorizer is None:
            return  # left over from before a change of tables; the Gap that follows covers it
        if change.table not in self._tables:
            self._audience.deliver(change, ())
            return
        metrics.COMMIT_TO_RECEIVE.observe(self._age_s(change))
        try:
            effects = await self._authorizer.apply(change, self._database)
        except (CatalogChangedError, RpcError) as error:
            effects = await self._retry_afresh(change, error)
        for effect in effects:
            if isinstance(effect, Resync) and effect.timeout is not None:
                self._log_timeout(change.table, effect)
        self._audience.deliver(change, effects)
        if any(isinstance(effect, Deliver) for effect in effects):
            metrics.CHANGE_TO_WRITE.observe(self._clock.monotonic_s() - change.received_s)

    async def _retry_afresh(self, change: Change, error: BridgeError) -> list[Effect]:
        """Load everything anew and apply ``change`` once more; clients read again in any case."""
        log.warning("change_not_applied", table=change.table, code=error.code, reason=str(error))
        self._lose("catalog_changed" if isinstance(error, CatalogChangedError) else "database_unreachable")
        await self._catch_up()
        if self._authorizer is None or not self._usable or self._source.keeps_past:
            return []  # what was read again has this change too
        try:
            return await self._authorizer.apply(change, self._database)
        except (CatalogChangedError, RpcError) as again:
            # The clients were told to read again, which covers this change too.
            metrics.UNDELIVERABLE.labels(change.table, again.code).inc()
            log.error("change_dropped", table=change.table, code=again.code, reason=str(again))
            return []

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
        metrics.UPSTREAM_LIVE.set(state == "live")
        self._audience.announce_status(state)

    def _age_s(self, change: Change) -> float:
        try:
            committed = dt.datetime.fromisoformat(change.commit_timestamp)
        except ValueError:
            return 0.0
        since_receipt_s = self._clock.monotonic_s() - change.received_s
        return max(0.0, (self._clock.now() - committed).total_seconds() - since_receipt_s)
