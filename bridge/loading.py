"""Loads the look-up rows, and with them what the journal has of the time before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bridge.authorization import Authorizer, CatalogChangedError, PlanSet
from bridge.backoff import Backoff
from bridge.clock import Clock
from bridge.errors import BridgeError, RpcError, SourceError
from bridge.events import Change, Gap
from bridge.ports import Audience, Database, Source
from bridge.position import Position
from bridge.transactions import net_of_each
from bridge.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Loading:
    """Tries for as long as it takes.

    Args:
        source: Has the past.
        load: Builds a fresh authorization stage from the database.
        database: Says whether its catalog changes.
        audience: Is told of the past, which nobody is sent.
        backoff: Time between two tries.
        clock: Source of time.

    Attributes:
        trouble: Why it does not end.
    """

    def __init__(
        self,
        *,
        source: Source,
        load: Callable[[], Awaitable[Authorizer]],
        database: Database,
        audience: Audience,
        backoff: Backoff,
        clock: Clock,
    ) -> None:
        self._source = source
        self._load = load
        self._database = database
        self._audience = audience
        self._backoff = backoff
        self.trouble = Trouble(clock)

    async def run(self) -> Authorizer:
        """Return an authorization stage as of now, once the database answers."""
        before: PlanSet | None = None
        while True:
            try:
                marker = await self._database.catalog_marker() if self._source.keeps_past else None
                # Before the rows: what is there by then is in those that are read after it.
                start, there = await self._source.rewind()
                authorizer = await self._load()
                if marker not in (None, authorizer.marker):
                    # A trigger may have been off: what the past lacks the rows have, and it would undo that.
                    # Where something else changes all the time, two readings of the triggers tell.
                    known, before = before, authorizer.planset
                    if known is None or not before.means_the_same(known):
                        raise SourceError(
                            "the catalog changed while the journal's end was read: reading again"
                        )
                await self._pass_by(authorizer, start, there)
            except BridgeError as error:
                await self._wait_after(error)
            else:
                self._backoff.reset()
                self.trouble.end()
                return authorizer

    async def _past(self) -> Sequence[Change | Gap] | None:
        """Return what comes next of the past: a read that fails is tried again, and not all that led to it.

        Raises:
            SourceError: the past could not be read to its end.
        """
        while True:
            try:
                return await self._source.past()
            except RpcError as error:
                await self._wait_after(error)

    async def _wait_after(self, error: BridgeError) -> None:
        retry_in_s = self._backoff.next_s()
        attempt = self._backoff.attempt
        if self.trouble.note(str(error), attempt=attempt):
            log.error("load_failed", reason=str(error), attempt=attempt, retry_in_s=round(retry_in_s, 2))
        await asyncio.sleep(retry_in_s)

    async def _pass_by(self, authorizer: Authorizer, start: Position, there: Position) -> None:
        """Take in what was committed before and while the look-up rows were loaded, for those who come back.

        Args:
            authorizer: With these rows.
            start: Where the past begins.
            there: What was committed before.

        Raises:
            SourceError: the past could not be read, or the rows are not what they were.
        """
        version = self._source.version(authorizer.planset.digest)
        self._audience.begin(version, start)
        while (events := await self._past()) is not None:
            for event, whole in net_of_each(events, authorizer.memory.keys):
                if isinstance(event, Gap):
                    if event.table not in authorizer.planset.upstream_tables:
                        continue
                    is_wrong = event.reason != "row_unreadable" or event.table in authorizer.memory.lookups
                    if is_wrong and event.id not in there:
                        raise SourceError(
                            f"{event.table} changed while its rows were read ({event.reason}): reading again"
                        )
                    self._audience.begin(version, self._source.position)
                elif whole is None:
                    self._audience.remember(event, ())
                else:
                    is_loaded = whole.id in there
                    try:
                        ours = authorizer.memory.concerns(whole)
                        effects = authorizer.pass_by(whole, is_loaded=is_loaded) if ours else ()
                        self._audience.remember(whole, effects)
                    except CatalogChangedError:
                        if not is_loaded:
                            raise  # what was read before it may be of the catalog of before
                        # Of a table as it was before: what led to it cannot be told.
                        self._audience.begin(version, self._source.position)
