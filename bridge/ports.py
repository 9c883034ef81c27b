"""What the pipeline needs of the stages before and behind it, and of the database."""

from collections.abc import Sequence
from typing import Protocol

from bridge.authorization import Database as AuthorizationDatabase
from bridge.authorization import Effect, Resync
from bridge.events import Change, Event, Gap, ResyncReason, UpstreamState
from bridge.position import Position


class Source(Protocol):
    """What the pipeline needs of capture."""

    @property
    def keeps_past(self) -> bool:
        """True if what was committed before a ``Live`` is told by ``past``."""

    @property
    def position(self) -> Position:
        """The changes that have been passed."""

    @property
    def waiting(self) -> int:
        """Number of changes that have arrived and not been taken; with none ``next_event`` gives way."""

    @property
    def trouble(self) -> str:
        """Why nothing comes; empty where nothing has failed."""

    def take(self) -> Event | None:
        """Return the next event if there is one without a wait; ``next_event`` has its turn now and then."""

    async def next_event(self) -> Event: ...

    async def rest(self, txid: str) -> Event | None:
        """Return the next event if it may be of this transaction, and comes soon; else None."""

    def version(self, digest: str) -> str:
        """Return what cursors have to be of to mean anything, for plans of this digest."""

    async def rewind(self) -> tuple[Position, Position]:
        """Return the position at which the past begins, and the changes that rows read from now on show."""

    async def past(self) -> Sequence[Change | Gap] | None:
        """Return what comes next of what was committed before now; None at the end."""

    def reload(self) -> None:
        """Tell a further ``Live``, if none comes anyway: what is in memory does not do any more."""

    def set_tables(self, tables: Sequence[str]) -> bool:
        """Capture these tables; True if a Gap and a Live follow."""


class Audience(Protocol):
    """What the pipeline needs of fan-out."""

    def begin(self, version: str, position: Position) -> None:
        """Keep what follows for those who come back with a cursor of this version, and not before."""

    def remember(self, change: Change, effects: Sequence[Effect]) -> None:
        """Keep what was committed before anybody could be told."""

    def open(self) -> None:
        """Let clients resume from here on."""

    def close(self) -> None:
        """Have clients that come back wait for ``open``: nothing is lost, but nothing can be decided."""

    def deliver(self, change: Change, effects: Sequence[Effect]) -> None:
        """Hand the effects to the clients they concern, and remember them for those who come back."""

    def remind(self, resync: Resync) -> None:
        """Tell some clients to read again because of changes that were delivered before."""

    def announce_status(self, state: UpstreamState) -> None:
        """Tell every client how things stand upstream."""

    def announce_gap(self, reason: ResyncReason) -> None:
        """Tell every client to read its rows again: changes may have been missed."""

    def forget_history(self) -> None:
        """Let nobody resume until there is a new beginning."""


class Database(AuthorizationDatabase, Protocol):
    """What the pipeline needs of the project's database."""

    async def catalog_marker(self) -> str:
        """Return a text that changes whenever the catalog may have changed."""
