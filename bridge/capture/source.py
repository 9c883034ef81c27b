"""The supervised source: one Realtime subscription that is made again for ever, and its events in order."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import websockets

from bridge import metrics
from bridge.backoff import Backoff
from bridge.capture.client import UpstreamClient, close, join
from bridge.capture.completion import ReadRow, complete
from bridge.capture.decode import Closed, Other, RawChange, System, decode_frame
from bridge.capture.queue import EventQueue
from bridge.capture.watch import Watch
from bridge.clock import Clock
from bridge.errors import DecodeError, SourceError
from bridge.events import Event, Gap, GapReason, UpstreamState

log: structlog.stdlib.BoundLogger = structlog.get_logger()

HEARTBEAT_S = 15
"""The package sends no heartbeat more often than this."""

JOIN_TIMEOUT_S = 20.0
"""Time for a join until the system message: a cold Realtime takes up to 3 s, a refused join 5 s."""

BASE_WAIT_S = 0.2
CAP_WAIT_S = 2.0
"""Longest wait between two attempts: a Realtime that comes back is joined again within seconds."""


class RealtimeSource:
    """Changes of some tables through Supabase Realtime.

    ``run`` has to run for ``next_event`` to have anything to return.

    Args:
        url: Base URL of the project.
        token: Returns the key to join with, asked before each join and before it expires.
        tables: Qualified names of the tables.
        primary_key: Returns the columns of a table's primary key.
        read_row: Reads a row again whose values upstream left out.
        clock: Source of time.
        random: Returns a value in [0, 1), for jitter.
        queue_limit: Changes that may wait; more is a Gap.
        silence_s: Without any frame for so long, heartbeat replies included, the connection is given up.
    """

    def __init__(
        self,
        *,
        url: str,
        token: Callable[[], str],
        tables: Sequence[str],
        primary_key: Callable[[str], Sequence[str]],
        read_row: ReadRow,
        clock: Clock,
        random: Callable[[], float],
        queue_limit: int = 50_000,
        silence_s: float = 2.5 * HEARTBEAT_S,
    ) -> None:
        self.state: UpstreamState = "down"
        self._url = f"{url.rstrip('/')}/realtime/v1"
        self._token = token
        self._tables = tuple(tables)
        self._primary_key = primary_key
        self._read_row = read_row
        self._clock = clock
        self._queue = EventQueue(queue_limit)
        self._backoff = Backoff(base_s=BASE_WAIT_S, cap_s=CAP_WAIT_S, random=random)
        self._read_backoff = Backoff(base_s=0.1, cap_s=2.0, random=random)
        self._silence_s = silence_s
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[GapReason] = loop.create_future()
        self._live: asyncio.Future[None] = loop.create_future()
        self._heard_s = 0.0
        self._refused: set[str] = set()

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that are captured."""
        return self._tables

    @property
    def waiting(self) -> int:
        """Number of events that have arrived and not been taken."""
        return len(self._queue)

    def set_tables(self, tables: Sequence[str]) -> None:
        """Subscribe to other tables: a Gap follows, and then Live."""
        if set(tables) != set(self._tables):
            self._tables = tuple(tables)
            self._lose("tables_changed")

    async def next_event(self) -> Event:
        """Return the next event, when there is one."""
        while True:
            item = await self._queue.get()
            if not isinstance(item, RawChange):
                return item
            try:
                change = await complete(
                    item,
                    primary_key=self._primary_key(item.table),
                    read_row=self._read_row,
                    backoff=self._read_backoff,
                )
            except SourceError as error:
                log.error("change_unreadable", table=item.table, reason=str(error))
                self._lose("row_unreadable")
                continue
            if change is not None:
                return change

    async def run(self) -> None:
        """Subscribe, and subscribe again after each loss, until cancelled."""
        while True:
            try:
                reason, was_live = await self._once()
            except Exception as error:  # noqa: BLE001 - whatever the package does, we never give up
                reason, was_live = f"unexpected {type(error).__name__}", False
            if was_live:
                # A loss at once tries again at once; one after another waits longer and longer.
                self._backoff.reset()
                retry_in_s = 0.0
            else:
                retry_in_s = self._backoff.next_s()
            log.warning(
                "upstream_lost", reason=reason, attempt=self._backoff.attempt, retry_in_s=round(retry_in_s, 2)
            )
            await asyncio.sleep(retry_in_s)

    async def _once(self) -> tuple[str, bool]:
        """Run one connection to its end; return why it ended and whether it was live."""
        loop = asyncio.get_running_loop()
        self._lost, self._live = loop.create_future(), loop.create_future()
        self._heard_s = self._clock.monotonic_s()
        token = self._token()
        client = UpstreamClient(
            url=self._url,
            token=token,
            on_frame=self._receive,
            on_end=lambda _reason: self._lose("upstream_disconnected"),
            heartbeat_s=HEARTBEAT_S,
        )
        failure = None
        try:
            failure = await self._join(client)
            if failure is None:
                metrics.UPSTREAM_CONNECTS.labels("joined").inc()
                log.info("upstream_joined", tables=self._tables)
                watch = Watch(client, token, self._token, self._clock)
                while not self._lost.done():
                    await asyncio.wait([self._lost], timeout=min(1.0, self._silence_s / 4))
                    await self._watch(watch)
        finally:
            was_live = self.state == "live"
            if was_live:
                self.state = "down"
                reason: GapReason = self._lost.result() if self._lost.done() else "upstream_disconnected"
                self._queue.gap(Gap(reason=reason), discard=reason == "queue_overflow")
            await close(client)
        if failure is not None:
            metrics.UPSTREAM_CONNECTS.labels("failed").inc()
            return failure, False
        return self._lost.result(), was_live

    async def _join(self, client: UpstreamClient) -> str | None:
        """Join and wait until upstream is live; return why it is not."""
        live, lost = self._live, self._lost
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                refusal = await join(client, self._tables)
                if refusal is not None:
                    return refusal
                either: list[asyncio.Future[Any]] = [live, lost]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return f"no answer within {JOIN_TIMEOUT_S:g} s"
        except (OSError, websockets.exceptions.WebSocketException) as error:
            return _describe(error)
        return None if live.done() else lost.result()

    async def _watch(self, watch: Watch) -> None:
        if self._clock.monotonic_s() - self._heard_s > self._silence_s:
            self._lose("upstream_silent")
        elif not await watch.refresh():
            self._lose("token_refused")

    def _receive(self, text: str | bytes) -> None:
        """Take one frame; called by the listener, so nothing may escape."""
        self._heard_s = self._clock.monotonic_s()
        try:
            frame = decode_frame(text, received_s=self._heard_s)
        except DecodeError as error:
            metrics.FRAMES_SKIPPED.labels("undecodable").inc()
            if str(error) not in self._refused:  # once for each cause, not for each frame
                self._refused.add(str(error))
                log.warning("frame_skipped", reason=str(error))
            return
        match frame:
            case RawChange():
                if self.state == "live" and not self._queue.offer(frame):
                    self._lose("queue_overflow")
            case System(subscribed=True):
                if not self._live.done() and not self._lost.done():
                    self.state = "live"
                    self._queue.live()
                    self._live.set_result(None)
            case System(ok=False, message=message):
                log.warning("upstream_refused", reason=message[:300])
                self._lose("upstream_restarted" if self._live.done() else "upstream_disconnected")
            case Closed():
                self._lose("upstream_restarted")
            case System() | Other():
                pass

    def _lose(self, reason: GapReason) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)


def _describe(error: Exception) -> str:
    if isinstance(error, websockets.exceptions.InvalidStatus):
        status = error.response.status_code
        advice = "the key does not belong to this project" if status == 401 else "is SUPABASE_URL right?"  # noqa: PLR2004 - HTTP
        return f"HTTP {status} at the WebSocket handshake: {advice}"
    return f"{type(error).__name__}: is SUPABASE_URL right, and does Realtime run?"
