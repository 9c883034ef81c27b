"""Changes from the journal: :class:`~bridge.capture.journal.Journal` between its stream and its reader."""

import asyncio
import math
from collections.abc import Sequence

import structlog

from bridge.capture.beside import Alarm, ReadBeside
from bridge.capture.journal import AGAIN_S, POLL_EVERY_S, Asked, Journal
from bridge.capture.journal_rows import streamed_row
from bridge.capture.ports import JournalReader, Stream
from bridge.clock import Clock
from bridge.errors import RpcError, SourceError
from bridge.events import Change, Event, Gap, Live
from bridge.journal import JOURNAL, JournalHoles, JournalPage, JournalRow
from bridge.position import Position

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAGE_ROWS = 2_000
"""Rows of one read."""

LOOKS = 4
"""Reads at the start that find out which missing ids will never come; two do, where nobody runs on."""

LOOK_EVERY_S = 0.05

REST_S = 0.005
"""Time for the rest of a transaction to arrive where it is not said which change is its last."""

_BEYOND = 2**62
"""An id that no row has."""


class JournalSource:
    """Changes of the journalled tables, none lost and each once.

    ``Live`` comes first.  Then, as after each further ``Live`` and each ``Gap`` of a table that it reads, the
    caller has to call :meth:`rewind`, read the rows that it needs, and call :meth:`past` to its end.  ``run``
    has to run all the while: a read that is begun beside the stream is made there.

    Args:
        stream: Brings rows as they are committed.
        reader: Reads rows again.
        clock: Source of time.
        past_s: How far back the past goes at the start, in seconds.
        lossless: True if the stream brings every commit in order while it lives.
    """

    keeps_past = True
    """What was committed can be read again."""

    def __init__(
        self, *, stream: Stream, reader: JournalReader, clock: Clock, past_s: float, lossless: bool = False
    ) -> None:
        self._stream = stream
        self._reader = reader
        self._clock = clock
        self._past_s = past_s
        self._journal = Journal(Position(0), lossless=lossless)
        self._past: Journal | None = None
        self._past_ends = False
        self._started = False
        self._anew = True
        """True if what was passed until now means nothing."""
        self.trouble = ""
        """Why the journal cannot be read; empty while it can."""
        self._reload = False
        self._beside = ReadBeside(lambda: self._answer_of(self._journal.position), stream.wake)
        self._alarm = Alarm(clock, stream.wake)

    @property
    def position(self) -> Position:
        """The rows that :meth:`next_event` or :meth:`past` have returned."""
        return (self._journal if self._past is None else self._past).position

    @property
    def waiting(self) -> int:
        """Number of changes that have arrived and not been taken."""
        return self._journal.waiting + self._stream.waiting

    def version(self, digest: str) -> str:
        """Return what cursors have to be of to mean anything here, for plans of this digest."""
        return f"{self._journal.stream}{digest}"

    def reload(self) -> None:
        """Tell a further Live in its turn."""
        self._reload = True
        self._stream.reload()  # which wakes who waits for it

    def set_tables(self, _tables: Sequence[str]) -> bool:
        """Return False: the database decides which tables are journalled, and nothing is joined again."""
        return False

    async def run(self) -> None:
        """Keep the stream up, and read beside it when that is wanted, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stream.run(), name="stream")
            tasks.create_task(self._beside.run(), name="read-beside")

    async def next_event(self) -> Event:
        """Return the next event, when there is one; nothing is lost if the caller is cancelled."""
        if not self._started:
            await self._start()
            return Live()
        while (event := self._journal.take()) is None:
            if self._reload:
                self._reload = False
                return Live()
            await self._advance()
        return self._left(event)

    def take(self) -> Event | None:
        """Return the next event if it can be had without a wait.

        What is to be read meanwhile is read by :meth:`next_event`, which has to be called now and then.
        """
        if not self._started or self._reload:
            return None
        journal = self._journal
        while (event := journal.take()) is None:
            received = None if journal.full else self._stream.take()
            if received is None:
                return None
            self._receive(received)
        return self._left(event)

    async def rest(self, txid: str) -> Event | None:
        """Return the next event if it comes soon, or with the rest of a transaction of which some waits here.

        No read is begun for anything else: it takes longer than this waits, and would be cancelled each time.
        """
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + REST_S
        while (event := self._journal.take()) is None:
            if self._journal.holds(txid):
                await self._advance()
            elif self._reload or self._journal.full or now_s() >= until_s:
                return None
            else:
                try:
                    async with asyncio.timeout_at(until_s):
                        come = await self._stream.next_or_woken()
                except TimeoutError:
                    return None
                if come is not None:
                    self._receive(come)
        return self._left(event)

    def _left(self, event: Event) -> Event:
        if event.__class__ is Gap and not event.table:
            self._anew = True
            self._journal.epoch = self._journal.read_epoch  # cursors are of that from now on
        return event

    async def rewind(self) -> tuple[Position, Position]:
        """Return where the past begins, which is some time ago or what has been passed, and what is there.

        Raises:
            RpcError: the database did not answer.
        """
        start = self._journal.position
        if self._anew:
            start = Position(await self._reader.journal_before(self._past_s))
        found = await self._reader.journal_holes(start.floor)
        never = await self._never(found)
        self._past_ends = False
        self._past = Journal(
            Position(start.after, start.holes), self._journal.epoch, never=never, is_past=True
        )
        return start, Position(found.last, found.holes)

    async def _never(self, found: JournalHoles) -> list[tuple[int, int]]:
        """Return which of the missing ids no row will ever have: whoever might write one has ended."""
        if not found.holes:
            return []
        scout, without = Position(found.last, found.holes), Position(found.last, found.holes)
        for looks_left in reversed(range(LOOKS)):
            more = True
            while more:
                page = await self._read(scout)
                for row in page.rows:
                    if row.id < found.last:  # what comes after it is of no interest here
                        scout.add(row.id)
                        without.add(row.id)
                last_id = page.rows[-1].id if page.more else found.last
                scout.looked(up_to=min(last_id, found.last), xmin=int(page.xmin), xmax=int(page.xmax))
                more = last_id < found.last
            if not scout.holes or not looks_left:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        for first, last in scout.holes:
            without.close(first, last)
        return without.holes

    async def past(self) -> list[Change | Gap] | None:
        """Return what comes next of what was committed until now; None at the end.

        A ``Gap`` stands for a table that lost all its rows, or a change that cannot be read.
        :meth:`next_event` goes on from the end: with what was not in the past, and nothing else.

        Raises:
            RpcError: the database did not answer.
            SourceError: the journal was pruned, or begun anew, on the way: load and rewind again.
        """
        journal = self._past
        if journal is None:
            return None
        if not journal.ready:
            if self._past_ends:
                self._journal.restart(journal.position, journal.epoch)
                self._past, self._anew = None, False
                return None
            # With its holes: what a later page has may follow from what was committed in one.
            page = await self._read(journal.position)
            journal.receive_page(page, self._clock.monotonic_s(), journal.ask())
            self._past_ends = not page.more
        events: list[Change | Gap] = []
        while (event := journal.take()) is not None:
            match event:
                case Change():
                    events.append(event)
                case Gap() if event.table:
                    return [*events, event]  # the position is that of the gap until the rest is asked for
                case Gap(reason=reason):
                    self._journal.epoch = journal.read_epoch  # cursors are of that from now on
                    self._past, self._anew = None, True
                    raise SourceError(f"the past could not be read to its end ({reason}): reading it again")
                case _:
                    pass
        return events

    async def _start(self) -> None:
        """Wait until the journal can be read."""
        while not self._started:
            try:
                page = await self._reader.journal_since(_BEYOND, (), 1)
            except RpcError as error:
                self._note_unreadable(error)
                await asyncio.sleep(POLL_EVERY_S)
            else:
                self._started, self.trouble = True, ""
                self._journal.epoch = page.epoch

    async def _advance(self) -> None:
        """Read what is missing, if it is time to, or take the next event of the stream."""
        journal = self._journal
        answered = self._beside.take()
        if answered is not None:
            self._receive_answer(*answered)
            return
        now_s = self._clock.monotonic_s()
        reading = self._beside.is_reading
        at_s = math.inf if reading else journal.read_at_s(stream_waits=self._stream.waiting > 0)
        if at_s <= now_s:
            asked = journal.ask()
            if not journal.flows:
                self._receive_answer(await self._answer_of(journal.position), asked)
                return
            self._beside.begin(asked)  # nothing waits for it, so nothing that comes meanwhile shall
            at_s = math.inf
        if journal.full:
            await asyncio.sleep(min(at_s - now_s, AGAIN_S))  # what the stream has stays there
            return
        self._alarm.set(at_s)
        event = await self._stream.next_or_woken()
        if event is not None:
            self._receive(event)

    async def _answer_of(self, position: Position) -> JournalPage | RpcError:
        try:
            return await self._read(position)
        except RpcError as error:
            return error

    def _receive_answer(self, answer: JournalPage | RpcError, asked: Asked) -> None:
        """Take what a read has found, or that it failed."""
        if isinstance(answer, RpcError):
            self._note_unreadable(answer)
            self._journal.receive_failure(self._clock.monotonic_s())
        else:
            self.trouble = ""
            self._journal.receive_page(answer, self._clock.monotonic_s(), asked)

    async def _read(self, position: Position) -> JournalPage:
        return await self._reader.journal_since(position.after, position.holes, PAGE_ROWS)

    def _receive(self, event: Event | JournalRow) -> None:
        """Take what the stream says."""
        if event.__class__ is JournalRow:  # nearly always
            self._journal.receive_row(event)
            return
        match event:
            case Change(table=table, action="INSERT") if table == JOURNAL:
                row = streamed_row(event)
                if row is None:
                    self._journal.receive_stream(lives=True)  # to be read
                else:
                    self._journal.receive_row(row)
            case Live():
                log.info("journal_streamed")
                self._journal.receive_stream(lives=True)
            case Gap(reason=reason):
                log.info("journal_polled", reason=reason)
                self._journal.receive_stream(lives=False)
            case _:
                pass  # pruning deletes rows

    def _note_unreadable(self, error: RpcError) -> None:
        if not self.trouble:
            log.warning("journal_unreadable", reason=str(error))
        self.trouble = str(error)
