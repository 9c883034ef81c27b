"""The journal's other transport: one slot's stream that is started again for ever, its events in order."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from bridge import metrics
from bridge.capture.queue import EventQueue
from bridge.capture.refusal import ReplicationError, redacted
from bridge.capture.replication import Stream
from bridge.capture.slot import Slot, open_slot
from bridge.capture.supervision import Phase, Supervision
from bridge.capture.wal_rows import RowReader
from bridge.clock import Clock
from bridge.events import Change, Event, Gap, GapReason, Live, UpstreamState
from bridge.journal import JOURNAL, JournalRow
from bridge.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()

QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
"""Messages that may wait, as they arrived; their text takes up to four times as much in memory."""

STATUS_EVERY_S = 5.0
"""Time between two statuses, each of which asks for an answer: an idle server says nothing by itself."""


class WalSource:
    """Journal rows by logical replication.

    ``run`` has to run for ``next_or_woken`` to have anything to return.  Each connection makes a temporary
    slot, which starts at the present and ends with the connection: what is committed in between is a ``Gap``.

    A slow reader is waited for: a full queue is not read into, the server's send buffer fills, and the server
    keeps WAL (up to ``max_slot_wal_keep_size``) until we read on.  Nothing is dropped; statuses are sent all
    the while, so that ``wal_sender_timeout`` does not end the connection.

    Args:
        database_url: Direct connection as a role that may replicate; a pooler cannot.
        clock: Source of time.
        random: Returns a value in [0, 1), for jitter.
        publication: Publication that has ``bridge.journal``; what else it has costs reading.
        queue_limit: Changes that may wait.
        queue_limit_bytes: Size of the messages that may wait; one always may.
        silence_s: Without any message for so long, answers to statuses included, the connection is given up.
    """

    def __init__(
        self,
        *,
        database_url: str,
        clock: Clock,
        random: Callable[[], float],
        publication: str = "bridge_journal",
        queue_limit: int = 50_000,
        queue_limit_bytes: int = QUEUE_LIMIT_BYTES,
        silence_s: float = 30.0,
    ) -> None:
        self._database_url = database_url
        self._clock = clock
        self._publication = publication
        self._queue = EventQueue[JournalRow](queue_limit, queue_limit_bytes)
        self._supervision = Supervision(silence_s=silence_s, now_s=clock.monotonic_s(), random=random)
        self._trouble = Trouble(clock)
        self._silence_s = silence_s
        self._reading = False
        self._moved = asyncio.Event()  # the phase may have changed, or there is room again
        self._errors: list[ReplicationError] = []  # what was heard of the end of this connection

    @property
    def state(self) -> UpstreamState:
        """``live`` between the start of the stream and the next loss."""
        return "live" if self._supervision.phase is Phase.LIVE else "down"

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that are captured."""
        return (JOURNAL,)

    @property
    def waiting(self) -> int:
        """Number of events that have arrived and not been taken."""
        return len(self._queue)

    def reload(self) -> None:
        """Tell a further Live in its turn; where one will come anyway, leave it at that."""
        if self.state == "live":
            self._queue.live()

    def take(self) -> Event | JournalRow | None:
        """Return the next event if it has arrived."""
        item = self._queue.take()
        if item is not None and not self._reading and self._queue.half_empty:
            self._moved.set()
        return item

    def wake(self) -> None:
        """Have :meth:`next_or_woken` return."""
        self._queue.wake()

    async def next_or_woken(self) -> Event | JournalRow | None:
        """Return the next event, or None once woken; nothing is lost if the caller is cancelled."""
        item = await self._queue.get()
        if not self._reading and self._queue.half_empty:
            self._moved.set()
        return item

    async def run(self) -> None:
        """Stream, and stream again after each loss, until cancelled."""
        while True:
            error = await self._connection()
            retry_in_s = self._supervision.retry_in_s(self._clock.monotonic_s())
            reason, attempt = redacted(error.reason, self._database_url), self._supervision.attempt
            if self._trouble.note(reason, attempt=attempt):
                log.warning(
                    "upstream_lost",
                    reason=reason,
                    advice=error.advice,
                    attempt=attempt,
                    retry_in_s=round(retry_in_s, 2),
                )
            await asyncio.sleep(retry_in_s)

    async def try_join(self) -> str | None:
        """Make a slot once, instead of :meth:`run`; return why there was none, None if there was one."""
        try:
            async with open_slot(self._database_url, self._publication):
                return None
        except ReplicationError as error:
            return redacted(str(error), self._database_url)

    async def _connection(self) -> ReplicationError:
        """Run one connection to its end; return why it ended."""
        self._supervision.opened(self._clock.monotonic_s())
        self._moved.clear()
        self._errors.clear()
        joined = False
        try:
            async with open_slot(self._database_url, self._publication) as slot:
                joined = True
                metrics.UPSTREAM_CONNECTS.labels("joined").inc()
                log.info("upstream_joined", tables=self.tables)
                self._put(self._supervision.joined(self._clock.monotonic_s()))
                await self._keep(slot)
        except ReplicationError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever libpq does, we never give up
            self._fail(_unexpected(error))
        finally:
            self._lose("upstream_disconnected")  # where nothing else has told it
            if not joined:
                metrics.UPSTREAM_CONNECTS.labels("failed").inc()
        return self._errors[0] if self._errors else self._silent()

    async def _keep(self, slot: Slot) -> None:
        """Look after a streaming slot until it is lost."""
        loop = asyncio.get_running_loop()
        stream, journal = Stream(), RowReader()
        status_every_s = min(STATUS_EVERY_S, self._silence_s / 4)
        if slot.wal_sender_timeout_s:
            status_every_s = min(status_every_s, slot.wal_sender_timeout_s / 4)
        look_every_s = min(1.0, status_every_s)
        told_s = float("-inf")

        def receive() -> None:
            self._receive(slot, stream, journal)
            if self._queue.full or self._supervision.lost is not None:
                loop.remove_reader(slot.fileno)
                self._reading = False
                self._moved.set()

        try:
            while self._supervision.lost is None:
                now_s = self._clock.monotonic_s()
                if not self._reading and self._queue.half_empty:
                    self._reading = True
                    self._supervision.receive_noise(now_s)  # while we did not listen it could not be heard
                    loop.add_reader(slot.fileno, receive)
                    receive()  # what libpq holds already wakes nobody
                    continue
                if now_s - told_s >= status_every_s:
                    told_s = now_s
                    slot.send(stream.status(now=self._clock.now(), ask=self._reading))
                self._moved.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look_every_s):
                        await self._moved.wait()
                if self._reading:
                    self._put(self._supervision.receive_time(self._clock.monotonic_s()))
        finally:
            loop.remove_reader(slot.fileno)
            self._reading = False

    def _receive(self, slot: Slot, stream: Stream, journal: RowReader) -> None:
        """Take what has arrived, as far as there is room; called when the socket is readable."""
        now_s = self._clock.monotonic_s()
        rows: list[tuple[JournalRow, int]] = []
        failure: ReplicationError | None = None
        room, room_bytes = self._queue.room()
        try:
            asked = False
            while len(rows) < room and room_bytes > 0:
                message = slot.message()
                if message is None:
                    # Only once, for the others on the loop; and only when all that libpq holds has been
                    # taken, else it would hold more and more.
                    if asked:
                        break
                    asked = True
                    slot.receive()
                    self._supervision.receive_noise(now_s)
                    continue
                payload = stream.receive(message)
                if payload is None:
                    continue
                read = journal.read(payload, now_s)
                if read is not None:
                    rows.append(read)
                    room_bytes -= read[1]
            if stream.reply_wanted:
                slot.send(stream.status(now=self._clock.now(), ask=False))
        except ReplicationError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the caller is the loop, which would only log it
            failure = _unexpected(error)
        if rows:
            self._queue.extend(rows)
        if failure is not None:
            self._fail(failure)

    def _silent(self) -> ReplicationError:
        return ReplicationError(
            f"nothing came for {self._silence_s:g} s", "see to the network and to Postgres"
        )

    def _fail(self, error: ReplicationError) -> None:
        self._errors.append(error)
        self._lose(error.gap)

    def _lose(self, reason: GapReason) -> None:
        self._put(self._supervision.lose(reason, self._clock.monotonic_s()))

    def _put(self, item: Change | Live | Gap | None) -> None:
        match item:
            case Live():
                self._queue.live()
            case Gap():
                self._queue.gap(item)
        self._moved.set()


def _unexpected(error: Exception) -> ReplicationError:
    # Only the type: the message may quote a row.
    return ReplicationError(
        f"unexpected {type(error).__name__} in the stream", "report it with the version of Postgres"
    )
