"""Watches the catalog: policies that changed take effect without a restart; unchecked for long, none does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from bridge.authorization import Authorizer, PlanSet
from bridge.certainty import Certainty
from bridge.clock import Clock
from bridge.errors import BridgeError, RpcError
from bridge.ports import Audience, Database
from bridge.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Watched(Protocol):
    """Decides by the policies that are watched."""

    @property
    def in_use(self) -> Authorizer | None:
        """What decides; None while it is loaded, or has to be: that has the catalog of then."""

    def load_again(self) -> None:
        """Load the policies anew, in their turn: they change between two changes, never within one."""

    def show(self) -> None:
        """Tell everybody how things stand, if that is news."""


class CatalogWatch:
    """Asks whether policies, grants, functions or tables changed, and lets that take effect.

    Args:
        watched: Loads them.
        database: Has them.
        compile_again: Compiles the plans from the catalog as it is now.
        certainty: Is lost here, and comes back.
        audience: Waits while it is lost.
        clock: Source of time.

    Attributes:
        trouble: Why the catalog could not be asked for.
    """

    def __init__(
        self,
        watched: Watched,
        *,
        database: Database,
        compile_again: Callable[[], Awaitable[PlanSet]],
        certainty: Certainty,
        audience: Audience,
        clock: Clock,
    ) -> None:
        self._watched = watched
        self._database = database
        self._compile_again = compile_again
        self._certainty = certainty
        self._audience = audience
        self.trouble = Trouble(clock)

    async def run(self, interval_s: float) -> None:
        """Check for ever."""
        attempt = 0
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.check()
            except RpcError as error:
                attempt += 1
                if self.trouble.note(str(error), attempt=attempt):
                    log.warning("catalog_unreadable", reason=str(error), attempt=attempt)
            else:
                attempt = 0
                self.trouble.end()

    async def check(self) -> None:
        """Let changed policies, grants, functions or tables take effect.

        Raises:
            RpcError: the database did not answer.
        """
        authorizer = self._watched.in_use
        if authorizer is None:
            return
        try:
            marker = await self._database.catalog_marker()
        except RpcError:
            self._be_uncertain()
            raise
        if marker == authorizer.marker:
            self._be_certain()
            return
        try:
            planset = await self._compile_again()
        except BridgeError as error:
            # A watched table is gone or has no key any more, or who sees what has changed and cannot be read:
            # nothing is told until it is back.
            log.error("catalog_unusable", reason=str(error))
            planset = None
        if self._watched.in_use is not authorizer:
            return
        if planset is not None and planset.means_the_same(authorizer.planset):
            authorizer.marker = marker  # some other table, or an index
            self._be_certain()
            return
        if planset is not None:
            log.info("policies_changed", tables=planset.upstream_tables)
        self._watched.load_again()
        self._certainty.note_changed()

    def _be_uncertain(self) -> None:
        if self._watched.in_use is not None and self._certainty.note_unchecked():
            # Who sees what may have changed: nothing is told until that is known, and nothing is lost.
            log.error("policies_uncertain", unchecked_s=round(self._certainty.unchecked_s))
            self._audience.close()
            self._watched.show()

    def _be_certain(self) -> None:
        if self._certainty.note_checked():
            log.info("policies_certain")
            self._audience.open()
            self._watched.show()
