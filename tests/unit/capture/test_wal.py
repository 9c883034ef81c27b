"""The source over a slot that is played by the test; the real one is in tests/integration/test_wal.py."""

import asyncio
import contextlib
import datetime as dt
import os
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.capture import WalSource
from bridge.capture import wal as wal_module
from bridge.capture.refusal import ReplicationError, explain
from bridge.clock import SystemClock
from bridge.events import Gap, Live
from tests.support.fake_realtime import eventually
from tests.support.pgoutput import begin, commit, insert, relation

COLUMNS = ("id", "relation", "action", "record", "old_record")


class FakeSlot:
    """As :class:`~bridge.capture.slot.Slot`: what ``network`` holds comes in whole at a ``receive``."""

    def __init__(self) -> None:
        self.wal_sender_timeout_s = 60.0
        self.network: deque[bytes] = deque()
        self.held: deque[bytes] = deque()
        self.most_held = 0
        self.sent: list[bytes] = []
        self.error: Exception | None = None
        self.fileno, self._writable = os.pipe()

    def arrive(self, *messages: bytes) -> None:
        """Let messages of the plugin arrive, and make the socket readable for good."""
        self.network.extend(b"w" + bytes(24) + message for message in messages)
        os.write(self._writable, b"x")

    def receive(self) -> None:
        if self.error is not None:
            raise self.error
        for _ in range(min(10, len(self.network))):
            self.held.append(self.network.popleft())
        self.most_held = max(self.most_held, len(self.held))

    def message(self) -> memoryview | None:
        return memoryview(self.held.popleft()) if self.held else None

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def close(self) -> None:
        os.close(self.fileno)
        os.close(self._writable)


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the attempts to connect give, in turn: slots, or errors that are raised."""
    planned: list[Any] = []
    used: list[FakeSlot] = []

    @contextlib.asynccontextmanager
    async def open_slot(_url: str, _publication: str) -> AsyncIterator[FakeSlot]:
        if not planned:
            await asyncio.Event().wait()
        slot = planned.pop(0)
        if isinstance(slot, Exception):
            raise slot
        used.append(slot)
        yield slot

    monkeypatch.setattr(wal_module, "open_slot", open_slot)
    yield planned
    for slot in used:
        slot.close()


@contextlib.asynccontextmanager
async def running(random: Callable[[], float] = lambda: 0.01, **settings: Any) -> AsyncIterator[WalSource]:
    """Run a source while the block lasts."""
    url = "postgresql://u:s3cret@h/d"
    source = WalSource(database_url=url, clock=SystemClock(), random=random, **settings)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(source.run())
        try:
            yield source
        finally:
            task.cancel()


def rows(first: int, last: int) -> list[bytes]:
    """Journal rows with these ids, of one transaction."""
    return [*(insert(str(n), "public.t", "INSERT", "{}", None) for n in range(first, last + 1)), commit()]


def opening() -> FakeSlot:
    """A slot that has described the journal."""
    slot = FakeSlot()
    slot.arrive(begin(dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), relation("bridge", "journal", COLUMNS))
    return slot


async def test_no_more_is_received_than_there_is_room_for(slots: list[Any]):
    """Libpq is asked for more only when all that it holds has been taken; else it would hold everything."""
    slot = opening()
    slots.append(slot)
    slot.arrive(*rows(1, 500))
    async with running(queue_limit=4) as source:
        assert await source.next_or_woken() == Live()
        ids = []
        for _ in range(500):
            change: Any = await source.next_or_woken()
            ids.append(change.id)
            assert source.waiting <= 4
            await asyncio.sleep(0)

    assert ids == list(range(1, 501))
    assert slot.most_held <= 10


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (
            explain("server closed the connection unexpectedly"),
            "upstream_disconnected",
            "closed the connection",
        ),
        (explain("shutting down", sqlstate="57P01"), "upstream_restarted", "shutting down"),
        (KeyError("a row"), "upstream_disconnected", "unexpected KeyError"),
    ],
)
async def test_whatever_ends_the_stream_is_one_gap(
    slots: list[Any], error: Exception, reason: Any, said: str
):
    """After the changes that came before it; the log never quotes what may be a row."""
    first, second = opening(), opening()
    slots += [first, second]
    first.arrive(*rows(1, 2))
    with capture_logs() as logs:
        async with running() as source:
            taken: list[Any] = [await source.next_or_woken() for _ in range(3)]
            first.error = error
            taken += [await source.next_or_woken() for _ in range(2)]
            second.arrive(*rows(3, 3))
            taken.append(await source.next_or_woken())
    shown = [event.id if hasattr(event, "relation") else event for event in taken]
    assert shown == [Live(), 1, 2, Gap(reason=reason), Live(), 3]
    lost = next(entry for entry in logs if entry["event"] == "upstream_lost")
    assert said in lost["reason"]
    assert "a row" not in str(logs)


async def test_garbage_in_the_stream_is_a_loss(slots: list[Any]):
    """A row of a table that was never described, say."""
    first = FakeSlot()
    slots += [first, opening()]
    first.arrive(*rows(1, 1))
    async with running() as source:
        assert [await source.next_or_woken() for _ in range(3)] == [
            Live(),
            Gap(reason="upstream_disconnected"),
            Live(),
        ]


async def test_refusals_are_tried_again_and_are_no_gaps(slots: list[Any]):
    """Nothing was live, so nothing is lost; the password is not told even if an error quotes it."""
    slots += [ReplicationError("no s3cret", "do"), OSError("s3cret"), explain("refused")]
    slots += [explain("refused"), opening()]  # which is no news
    with capture_logs() as logs:
        async with running() as source:
            assert source.state == "down"
            assert await source.next_or_woken() == Live()
            assert source.state == "live"
    lost = [entry for entry in logs if entry["event"] == "upstream_lost"]
    assert [entry["attempt"] for entry in lost] == [1, 2, 3]
    assert [entry["reason"] for entry in lost] == [
        "no [redacted]",
        "unexpected OSError in the stream",
        "refused",
    ]


async def test_a_keepalive_that_wants_a_reply_gets_it_at_once(slots: list[Any]):
    """Not only with the next status, which is seconds away."""
    slot = opening()
    slots.append(slot)
    async with running() as source:
        await source.next_or_woken()
        await eventually(lambda: len(slot.sent) == 1)
        slot.network.append(b"k" + struct.pack(">qqB", 99, 0, 1))
        await eventually(lambda: len(slot.sent) == 2)

    assert slot.sent[0][-1] == 1  # asks for an answer
    assert (struct.unpack_from(">q", slot.sent[1], 1), slot.sent[1][-1]) == ((99,), 0)
