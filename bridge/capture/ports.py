"""What the journal's source needs of the stream and of the database."""

from collections.abc import Sequence
from typing import Protocol

from bridge.events import Event
from bridge.journal import JournalHoles, JournalPage, JournalRow


class JournalReader(Protocol):
    """Reads the journal table."""

    async def journal_since(self, after: int, holes: Sequence[tuple[int, int]], max_rows: int) -> JournalPage:
        """Return the rows after an id and those in the holes before it.

        Raises:
            RpcError: the database did not answer.
        """

    async def journal_holes(self, after: int) -> JournalHoles:
        """Return which ids after a given one no row has.

        Raises:
            RpcError: the database did not answer.
        """

    async def journal_before(self, age_s: float) -> int:
        """Return the id after which all rows of the last ``age_s`` seconds stand.

        Raises:
            RpcError: the database did not answer.
        """


class Stream(Protocol):
    """What brings the INSERTs into the journal: ``Live`` first, then rows, or changes of its table.

    A ``Gap`` when it is lost.
    """

    async def next_or_woken(self) -> Event | JournalRow | None:
        """Return the next event, or None once woken; nothing is lost if the caller is cancelled."""

    def wake(self) -> None:
        """Have ``next_or_woken`` return."""

    async def run(self) -> None: ...

    def take(self) -> Event | JournalRow | None:
        """Return the next event if it can be had without a wait."""

    def reload(self) -> None:
        """Tell a further ``Live`` if the stream lives."""

    @property
    def waiting(self) -> int: ...
