"""The supervised source: one Realtime subscription that is made again for ever, and its events in order."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Sequence

import msgspec
import structlog
import websockets

from bridge import metrics
from bridge.backoff import Backoff
from bridge.capture.client import UpstreamClient, join
from bridge.capture.completion import ReadRow, complete
from bridge.capture.decode import RawChange, System, decode_frame
from bridge.capture.queue import EventQueue
from bridge.capture.supervision import Phase, Supervision
from bridge.capture.watch import Watch
from bridge.clock import Clock
from bridge.errors import DecodeError, SourceError
from bridge.events import Change, Event, Gap, GapReason, Live, UpstreamState
from bridge.position import OF_ONE_PROCESS, Position
from bridge.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()

HEARTBEAT_S = 15
"""The package sends no heartbeat more often than this."""

JOIN_TIMEOUT_S = 20.0
"""Time for a join until the system message: a cold Realtime takes up to 3 s, a refused join 5 s."""

QUEUE_LIMIT_BYTES = 128 * 1024 * 1024
"""Frames that may wait, as they arrived: two minutes of 1,000 changes a second with 1 kB each."""


class RealtimeSource:
    """Changes of some tables through Supabase Realtime.

    ``run`` has to run for ``next_event`` to have anything to return.

    Args:
        url: Base URL of the project.
        token: Returns the key to join with, asked before each join and before it expires.
        api_key: What the gateway is shown; that key unless given.
        tables: Qualified names of the tables.
        primary_key: Returns the columns of a table's primary key.
        read_columns: Returns the columns of a table whose exact values matter, because policies read them.
        read_row: Reads a row again whose values upstream left out.
        clock: Source of time.
        random: Returns a value in [0, 1), for jitter.
        queue_limit: Changes that may wait; more is a Gap.
        queue_limit_bytes: Size of the frames that may wait; more is a Gap.
        silence_s: Without any frame for so long, heartbeat replies included, the connection is given up.
    """

    def __init__(
        self,
        *,
        url: str,
        token: Callable[[], str],
        api_key: str | None = None,
        tables: Sequence[str],
        primary_key: Callable[[str], Sequence[str]],
        read_columns: Callable[[str], Collection[str]],
        read_row: ReadRow,
        clock: Clock,
        random: Callable[[], float],
        queue_limit: int = 50_000,
        queue_limit_bytes: int = QUEUE_LIMIT_BYTES,
        silence_s: float = 2.5 * HEARTBEAT_S,
    ) -> None:
        self._url = f"{url.rstrip('/')}/realtime/v1"
        self._token = token
        self._api_key = api_key
        self._tables = tuple(tables)
        self._primary_key = primary_key
        self._read_columns = read_columns
        self._read_row = read_row
        self._clock = clock
        self._queue = EventQueue[RawChange | Change](queue_limit, queue_limit_bytes)
        self._supervision = Supervision(silence_s=silence_s, now_s=clock.monotonic_s(), random=random)
        self._trouble = Trouble(clock)
        self._read_backoff = Backoff(base_s=0.1, cap_s=2.0, random=random)
        self._look_every_s = min(1.0, silence_s / 4)
        self._moved = asyncio.Event()  # the phase may have changed
        self._details: list[str] = []  # what was heard of the end of this connection
        self._said: set[str] = set()
        self._stream = secrets.token_hex(4)
        self._taken = 0

    @property
    def state(self) -> UpstreamState:
        """``live`` between the system message and the next loss."""
        return "live" if self._supervision.phase is Phase.LIVE else "down"

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that are captured."""
        return self._tables

    @property
    def waiting(self) -> int:
        """Number of events that have arrived and not been taken."""
        return len(self._queue)

    @property
    def trouble(self) -> str:
        """Why upstream is not live; empty where nothing has failed."""
        return self._trouble.reason

    keeps_past = False
    """What was committed before a Live is told by nobody."""

    @property
    def position(self) -> Position:
        """The changes that have been passed."""
        return Position(self._taken)

    def version(self, _digest: str) -> str:
        """Return a new version: cursors from before mean nothing."""
        return f"{OF_ONE_PROCESS}{secrets.token_hex(4)}"

    async def rewind(self) -> tuple[Position, Position]:
        """Return the position twice: what follows it is kept, and changes what is loaded."""
        return self.position, self.position

    async def past(self) -> list[Change | Gap] | None:
        """Return None: there is no past."""
        return None

    async def rest(self, _txid: str) -> None:
        """Return None: it is not said what is of one transaction."""

    def reload(self) -> None:
        """Tell a further Live in its turn; where one will come anyway, leave it at that."""
        if self.state == "live":
            self._queue.live()

    def set_tables(self, tables: Sequence[str]) -> bool:
        """Subscribe to other tables: a Gap follows, and then Live.  False if they are the same."""
        if set(tables) == set(self._tables):
            return False
        self._tables = tuple(tables)
        self._lose("tables_changed")
        return True

    def take(self) -> Event | None:
        """Return None: a change may have to be read again, so :meth:`next_event` has to be waited for."""
        return None

    def wake(self) -> None:
        """Have :meth:`next_or_woken` return."""
        self._queue.wake()

    async def next_event(self) -> Event:
        """Return the next event, when there is one; nothing is lost if the caller is cancelled."""
        while (event := await self.next_or_woken()) is None:
            pass
        return event

    async def next_or_woken(self) -> Event | None:
        """Return the next event, or None once woken; nothing is lost if the caller is cancelled."""
        while True:
            item = await self._queue.get()
            if not isinstance(item, RawChange):
                return item
            try:
                change = await complete(
                    item,
                    primary_key=self._primary_key(item.table),
                    read_columns=self._read_columns(item.table),
                    read_row=self._read_row,
                    backoff=self._read_backoff,
                )
            except SourceError as error:
                log.error("change_unreadable", table=item.table, reason=str(error))
                # What comes after the lost change must not be seen before its Gap.
                if not self._queue.skip_to_gap():
                    self._lose("row_unreadable")
            except asyncio.CancelledError:
                self._queue.put_back(item)
                raise
            else:
                if change is not None:
                    self._taken += 1
                    return msgspec.structs.replace(
                        change, id=self._taken, position=str(self._taken), stream=self._stream
                    )

    async def run(self) -> None:
        """Subscribe, and subscribe again after each loss, until cancelled."""
        while True:
            try:
                reason = await self._connection()
            except Exception as error:  # noqa: BLE001 - whatever the package does, we never give up
                reason = f"unexpected {type(error).__name__}"
            retry_in_s = self._supervision.retry_in_s(self._clock.monotonic_s())
            attempt = self._supervision.attempt
            if self._trouble.note(reason, attempt=attempt):
                log.warning("upstream_lost", reason=reason, attempt=attempt, retry_in_s=round(retry_in_s, 2))
            await asyncio.sleep(retry_in_s)

    async def try_join(self) -> str | None:
        """Join once, instead of :meth:`run`, and leave; return why upstream is not live, None if it was."""
        client = self._open(self._token())
        try:
            refusal = await self._join(client)
            return None if refusal is None else ": ".join([refusal, *self._details[:1]])
        finally:
            self._lose("upstream_disconnected")
            await client.end()

    def _open(self, token: str) -> UpstreamClient:
        self._supervision.opened(self._clock.monotonic_s())
        self._moved.clear()
        self._details.clear()
        return UpstreamClient(
            url=self._url,
            token=token,
            api_key=self._api_key,
            on_frame=self._receive,
            on_end=self._end,
            heartbeat_s=HEARTBEAT_S,
        )

    async def _connection(self) -> str:
        """Run one connection to its end; return why it ended."""
        token = self._token()
        client = self._open(token)
        try:
            refusal = await self._join(client)
            metrics.UPSTREAM_CONNECTS.labels("joined" if refusal is None else "failed").inc()
            if refusal is None:
                self._trouble.end()
                log.info("upstream_joined", tables=self._tables)
                await self._keep(client, token)
        finally:
            self._lose("upstream_disconnected")  # where nothing else has told it
            await client.end()
        return ": ".join([refusal or self._supervision.lost or "", *self._details[:1]])

    async def _join(self, client: UpstreamClient) -> str | None:
        """Join and wait until upstream is live; return why it is not."""
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                refusal = await join(client, self._tables)
                if refusal is not None:
                    return refusal
                while self._supervision.phase is Phase.JOINING:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return f"no answer within {JOIN_TIMEOUT_S:g} s"
        except (OSError, websockets.exceptions.WebSocketException) as error:
            return _describe(error)
        return self._supervision.lost  # None: it is live

    async def _keep(self, client: UpstreamClient, token: str) -> None:
        """Look after a live connection until it is lost."""
        watch = Watch(client, token, self._token, self._clock)
        while self._supervision.lost is None:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every_s):
                    await self._moved.wait()
            self._put(self._supervision.receive_time(self._clock.monotonic_s()))
            if not await watch.refresh():
                self._lose("token_refused")

    def _receive(self, text: str | bytes) -> bool:
        """Take one frame; called by the listener.  False when the connection is given up."""
        now_s = self._clock.monotonic_s()
        try:
            frame = decode_frame(text, received_s=now_s)
        except DecodeError as error:
            self._supervision.receive_noise(now_s)
            metrics.FRAMES_SKIPPED.labels("undecodable").inc()
            if str(error) not in self._said:  # once for each cause, of which there are few
                self._said.add(str(error))
                log.warning("frame_skipped", reason=str(error))
            return True
        if isinstance(frame, System) and not frame.ok:
            self._details.append(frame.message[:300])
        if isinstance(frame, RawChange):
            metrics.UPSTREAM_MESSAGES.inc()
        self._put(self._supervision.receive_frame(frame, now_s), size_bytes=len(text))
        return self._supervision.lost is None

    def _end(self, reason: str) -> None:
        if self._supervision.lost is None:
            self._details.append(reason)
        self._lose("upstream_disconnected")

    def _lose(self, reason: GapReason) -> None:
        self._put(self._supervision.lose(reason, self._clock.monotonic_s()))

    def _put(self, item: RawChange | Live | Gap | None, *, size_bytes: int = 0) -> None:
        match item:
            case RawChange():
                if not self._queue.offer(item, size_bytes):
                    self._lose("queue_overflow")
            case Live():
                self._queue.live()
            case Gap(reason=reason):
                self._queue.gap(item, discard=reason == "queue_overflow")
        if not isinstance(item, RawChange):
            self._moved.set()


def _describe(error: Exception) -> str:
    if isinstance(error, websockets.exceptions.InvalidStatus):
        status = error.response.status_code
        advice = (
            "the key does not belong to this project, or has expired: set SUPABASE_SERVICE_ROLE_KEY"
            if status in (401, 403)
            else "is SUPABASE_URL right, and does Realtime run?"
        )
        return f"HTTP {status} at the WebSocket handshake: {advice}"
    return f"{type(error).__name__}: is SUPABASE_URL right, and does Realtime run?"
