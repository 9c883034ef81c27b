"""The journal's shell: when it reads, what it does when it cannot, and what a caller may rely on."""

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.capture.journal import ARRIVE_S, POLL_EVERY_S, READ_EVERY_S
from bridge.capture.journal_source import JournalSource
from bridge.clock import ManualClock
from bridge.errors import RpcError
from bridge.events import Change, Event, Gap, Live, Paused, Resumed
from bridge.journal import JournalHoles, JournalPage
from bridge.position import Position
from tests.support.journal_model import JournalModel, order_is_kept, streamed
from tests.support.virtual_time import run_at_once

T = TypeVar("T")


class Upstream:
    """A stream that brings what a test puts into it."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._woken = False

    @property
    def waiting(self) -> int:
        return len(self._events)

    def put(self, *events: Event) -> None:
        self._events += events
        self._filled.set()

    def take(self) -> Event | None:
        return self._events.popleft() if self._events else None

    async def next_or_woken(self) -> Event | None:
        while not self._events:
            if self._woken:
                self._woken = False
                return None
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()

    def wake(self) -> None:
        self._woken = True
        self._filled.set()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def reload(self) -> None:
        self.put(Live())


class Database:
    """Reads of the model that take a moment, fail when told to, and are cut after a few rows."""

    def __init__(self, model: JournalModel, *, max_rows: int = 10_000) -> None:
        self.model = model
        self.max_rows = max_rows
        self.failing = False
        self.takes_s = 0.01
        self.reads = 0
        self.before = 0

    def worsen(self, random_: random.Random) -> None:
        """Fail from now on, or be slow; or recover."""
        self.failing = random_.random() < 0.3
        self.takes_s = random_.choice([0.001, 0.01, 0.3, 2.0])

    async def journal_since(self, after: int, holes: Sequence[tuple[int, int]], max_rows: int) -> JournalPage:
        self.reads += 1
        snapshot = self.model.snapshot()
        await asyncio.sleep(self.takes_s)
        if self.failing:
            raise RpcError("unreachable")
        return self.model.page(snapshot, after, holes, min(max_rows, self.max_rows))

    async def journal_holes(self, after: int) -> JournalHoles:
        ids = [id_ for id_ in sorted(self.model.committed) if id_ > after]
        await asyncio.sleep(0.01)
        if self.failing:
            raise RpcError("unreachable")
        pairs = itertools.pairwise([after, *ids])
        return JournalHoles(
            max([after, *ids]), [(low + 1, high - 1) for low, high in pairs if low + 1 < high]
        )

    async def journal_before(self, age_s: float) -> int:  # noqa: ARG002
        await asyncio.sleep(0.01)
        if self.failing:
            raise RpcError("unreachable")
        return max(self.before, self.model.pruned)


class Bench:
    """A source between a stream and a database, on a clock that waits for nobody."""

    def __init__(self, *, max_rows: int = 10_000, lossless: bool = False) -> None:
        self.clock = ManualClock()
        self.lossless = lossless
        self.model = JournalModel()
        self.database = Database(self.model, max_rows=max_rows)
        self.upstream = Upstream()
        self.source = JournalSource(
            stream=self.upstream, reader=self.database, clock=self.clock, past_s=300, lossless=lossless
        )

    def run(self, main: Callable[["Bench"], Coroutine[Any, Any, T]]) -> T:
        """Run ``main`` beside what the source runs."""

        async def beside() -> T:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(self.source.run())
                result = await main(self)
                running.cancel()
            return result

        return run_at_once(beside(), self.clock)

    async def start(self) -> list[Any]:
        """Have the stream live; return what was before."""
        assert await self.source.next_event() == Live()
        before = brief(await past(self.source))
        self.upstream.put(Live())
        assert await self.events(0.1) == []
        return before

    def stream(self, *ids: int) -> None:
        """Have the stream bring committed rows."""
        self.upstream.put(*(streamed(self.model.committed[id_]) for id_ in ids))

    async def events(self, for_s: float) -> list[Any]:
        """Return what comes in a time."""
        come: list[Event] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                while True:
                    come.append(await self.source.next_event())
                    while (event := self.source.take()) is not None:  # as the pipeline does
                        come.append(event)
        return brief(come)


async def past(source: JournalSource) -> list[Change | Gap]:
    """Return what was before, as the pipeline takes it."""
    events: list[Change | Gap] = []
    await source.rewind()
    while (page := await source.past()) is not None:
        events += page
    return events


def brief(events: Sequence[Event]) -> list[Any]:
    """Return changes as their ids, other events as they are."""
    return [event.id if isinstance(event, Change) else event for event in events]


def test_past_and_events_are_one_sequence():
    """What was before the start, what the stream brings, and what it loses; each with its position."""

    async def main(bench: Bench) -> None:
        bench.model.commit(1, 2)
        assert await bench.start() == [1, 2]
        assert (bench.source.version("ab"), bench.source.position.text()) == ("6b86b273ab", "2")
        bench.model.commit(3, 4)
        bench.stream(3)
        change = await bench.source.next_event()
        assert isinstance(change, Change)
        assert (change.table, change.new, change.position) == ("public.t", {"key": 3}, "3")
        assert await bench.events(READ_EVERY_S + ARRIVE_S + 0.1) == [4]

    bench = Bench()
    bench.run(main)


def test_the_rest_of_a_transaction_is_read_where_it_waits_for_that():
    """What is missing before it is another's, which runs on; for what is of another one no read is begun."""

    async def main(bench: Bench) -> None:
        await bench.start()
        running, ended = bench.model.begin(), bench.model.begin()
        for key, transaction in enumerate((ended, running, ended)):
            bench.model.write(transaction, key)
        bench.model.send(ended)
        bench.model.end(ended)
        first, last = map(streamed, bench.model.wal)
        bench.upstream.put(first)
        assert brief([await bench.source.next_event()]) == [1]
        assert await bench.source.rest(str(ended.xid)) is None
        bench.upstream.put(last)
        before = bench.database.reads
        assert await bench.source.rest(str(running.xid)) is None
        assert (bench.database.reads, bench.source.take()) == (before, None)
        rest = await bench.source.rest(str(ended.xid))
        assert rest is not None
        assert (brief([rest]), bench.database.reads) == ([3], before + 1)

    bench = Bench()
    bench.run(main)


@pytest.mark.parametrize("is_cut", [False, True])
def test_the_rest_of_a_transaction_is_waited_for_where_the_stream_tells_its_end(*, is_cut: bool):
    """However slow it is; where it is cut in between, a read has the rest, and nothing more is waited for."""

    async def main(bench: Bench) -> None:
        await bench.start()
        ended = bench.model.begin()
        for key in range(3):
            bench.model.write(ended, key)
        bench.model.send(ended)
        bench.model.end(ended)
        rows = [msgspec.structs.replace(streamed(row), last=row.id == 3) for row in bench.model.wal]
        bench.upstream.put(rows[0])
        assert brief([await bench.source.next_event()]) == [1]

        async def go_on() -> None:
            await asyncio.sleep(0.2)
            bench.upstream.put(*([Gap(reason="upstream_disconnected"), Live()] if is_cut else rows[1:]))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(go_on())
            rest = [await bench.source.rest(str(ended.xid)) for _ in range(3)]
        assert [event and brief([event]) for event in rest] == [[2], [3], None]

    bench = Bench(lossless=True)
    bench.run(main)


def test_a_stream_that_lives_is_checked_every_three_seconds():
    """One that is away is replaced by reading twice a second."""

    async def main(bench: Bench) -> None:
        await bench.start()
        before = bench.database.reads
        await bench.events(30)
        assert 9 <= bench.database.reads - before <= 11
        bench.upstream.put(Gap(reason="upstream_silent"))
        before = bench.database.reads
        await bench.events(30)
        assert 55 <= bench.database.reads - before <= 61
        bench.model.commit(1)
        assert await bench.events(POLL_EVERY_S + 0.1) == [1]

    bench = Bench()
    bench.run(main)


def test_what_the_stream_brings_does_not_wait_for_a_read():
    """However long it takes; what had been lost comes with it, and what came meanwhile not again."""

    async def main(bench: Bench) -> None:
        await bench.start()
        bench.database.takes_s = 5.0
        bench.model.commit(1)
        assert await bench.events(READ_EVERY_S) == []
        reads = bench.database.reads
        for key in range(2, 5):
            bench.model.commit(key)
            bench.stream(key)
            assert await bench.events(0.001) == ([key] if bench.lossless else [])
        bench.database.takes_s = 0.01
        assert await bench.events(4) == []
        assert bench.database.reads == reads
        assert await bench.events(2 + ARRIVE_S) == ([1] if bench.lossless else [1, 2, 3, 4])

    for lossless in (True, False):
        bench = Bench(lossless=lossless)
        bench.run(main)


def test_a_database_that_does_not_answer_is_waited_for():
    """At the start without a word; later between Paused and Resumed, logged once, and nothing is missing."""

    async def main(bench: Bench) -> None:
        bench.database.failing = True
        assert await bench.events(5) == []
        bench.database.failing = False
        await bench.start()
        bench.database.failing = True
        bench.model.commit(1, 2, 3)
        bench.stream(1, 3)
        assert await bench.events(60) == [1, Paused()]
        bench.upstream.put(Gap(reason="upstream_disconnected"))
        assert await bench.events(60) == []
        with pytest.raises(RpcError):
            await past(bench.source)
        bench.database.failing = False
        assert await bench.events(1) == [Resumed(), 2, 3]

    bench = Bench()
    with structlog.testing.capture_logs() as logs:
        bench.run(main)
    assert [line["event"] for line in logs].count("journal_unreadable") == 2


def test_past_reads_to_the_end_however_it_is_cut():
    """With tables that were emptied; what is in a hole comes when it is committed."""

    async def main(bench: Bench) -> None:
        slow = bench.model.begin()
        bench.model.commit(1, 2)
        bench.model.write(slow, 3)
        bench.model.commit(4, action="TRUNCATE")
        bench.model.commit(5)
        assert await bench.start() == [1, 2, Gap(reason="table_truncated", table="public.t", id=4), 5]
        assert bench.source.position.text() == "5.2"
        bench.model.send(slow)
        bench.model.end(slow)
        assert await bench.events(READ_EVERY_S + ARRIVE_S + 0.1) == [3]

    bench = Bench(max_rows=1)
    bench.run(main)


@pytest.mark.parametrize("is_read", [True, False])
def test_after_an_emptied_table_each_row_comes_once(*, is_read: bool):
    """Whether the caller, who reads that table, begins again with the past, or goes on."""

    async def main(bench: Bench) -> None:
        await bench.start()
        bench.model.commit(1)
        bench.model.commit(2, action="TRUNCATE")
        bench.model.commit(3)
        bench.stream(1, 2, 3)
        emptied = Gap(reason="table_truncated", table="public.t", id=2)
        assert [await bench.source.next_event() for _ in range(2)][1:] == [emptied]
        assert (brief(await past(bench.source)) if is_read else await bench.events(10)) == [3]
        assert await bench.events(10) == []

    bench = Bench()
    bench.run(main)


def test_another_epoch_is_begun_from_its_past():
    """Ids that come again are other rows."""

    async def main(bench: Bench) -> None:
        bench.model.commit(1, 2)
        await bench.start()
        bench.model.epoch = "2"
        assert await bench.events(READ_EVERY_S + ARRIVE_S + 0.1) == [Gap(reason="journal_restarted"), Live()]
        assert bench.source.version("ab") == "d4735e3aab"  # before the past is read: cursors are of it
        assert brief(await past(bench.source)) == [1, 2]
        assert await bench.events(10) == []

    bench = Bench()
    bench.run(main)


def test_what_the_stream_tells_of_other_things_is_not_taken_for_rows():
    """Pruning deletes rows; a row that came in part is read again at once."""

    async def main(bench: Bench) -> None:
        await bench.start()
        bench.model.commit(1)
        row = streamed(bench.model.committed[1])
        deleted = Change(
            table=row.table, action="DELETE", new=None, old={"id": 1}, commit_timestamp="", received_s=0.0
        )
        other = Change(
            table="public.t", action="INSERT", new=row.new, old=None, commit_timestamp="", received_s=0.0
        )
        bench.upstream.put(deleted, other)
        assert await bench.events(0.1) == []
        partial = Change(
            table=row.table, action="INSERT", new={"id": 1}, old=None, commit_timestamp="", received_s=0.0
        )
        bench.upstream.put(partial)
        assert await bench.events(0.1) == [1]

    bench = Bench()
    bench.run(main)


def test_a_gap_of_the_past_has_its_own_position():
    """What comes after it in the same page has not been passed yet."""

    async def main(bench: Bench) -> None:
        bench.model.commit(1, 2)
        bench.model.commit(3, action="TRUNCATE")
        bench.model.commit(4, 5)
        assert await bench.source.next_event() == Live()
        await bench.source.rewind()
        page = await bench.source.past()
        assert page is not None
        assert brief(page) == [1, 2, Gap(reason="table_truncated", table="public.t", id=3)]
        assert bench.source.position.text() == "3"
        assert brief(await bench.source.past() or []) == [4, 5]
        assert (await bench.source.past(), bench.source.position.text()) == (None, "5")

    bench = Bench()
    bench.run(main)


def test_what_is_there_when_the_past_begins_is_known():
    """Rows that are read after that show it; what is committed later, in a hole too, has to be taken into them."""

    async def main(bench: Bench) -> None:
        first, second = bench.model.begin(), bench.model.begin()
        bench.model.commit(1)
        bench.model.write(first, 2)
        bench.model.commit(3)
        await bench.start()
        bench.model.write(second, 4)
        bench.model.commit(5)
        assert await bench.events(READ_EVERY_S + ARRIVE_S + 0.1) == [5]
        start, there = await bench.source.rewind()
        assert (start.text(), [id_ in there for id_ in range(1, 7)]) == (
            "5.1.2",
            [True, False, True, False, True, False],
        )

    bench = Bench()
    bench.run(main)


def test_ids_that_never_come_are_known_from_the_start():
    """Rollbacks of the past leave no holes in cursors."""

    async def main(bench: Bench) -> None:
        for n in range(0, 600, 3):
            bench.model.commit(n + 1, n + 2)
            doomed = bench.model.begin()
            bench.model.write(doomed, n + 3)
            bench.model.end(doomed)
        bench.model.commit(999)
        await bench.start()
        assert bench.source.position.text() == "601"

    bench = Bench()
    bench.run(main)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), max_rows=st.sampled_from([2, 10_000]), lossless=st.booleans())
def test_every_committed_row_leaves_once_through_all_faults(
    seed: int,
    max_rows: int,
    lossless: bool,  # noqa: FBT001
):
    """Writers, a stream that fails in all ways, a database that fails or is slow, and a caller that is cancelled."""
    random_ = random.Random(seed)

    async def write(bench: Bench) -> None:
        model, lives = bench.model, True
        for _ in range(150):
            await asyncio.sleep(random_.choice([0, 0.005, 0.3]))
            if len(model.open) < 3:
                model.begin()
            transaction = random_.choice(model.open)
            match random_.randrange(10):
                case 0:
                    model.end(transaction)
                case 1 | 2 | 3:
                    model.send(transaction)
                    if random_.random() < 0.3:
                        await asyncio.sleep(0.005)
                    model.end(transaction)
                case 4:
                    bench.database.worsen(random_)
                case 5 if random_.random() < 0.3:
                    model.wal.clear()
                    lives = not lives
                    for one in [one for one in model.open if one.sent]:
                        model.end(one)
                    bench.upstream.put(Live() if lives else Gap(reason="upstream_disconnected"))
                case _:
                    model.write(transaction, random_.randrange(4))
            if not lives:
                model.wal.clear()
            while model.wal and random_.random() < 0.7:
                if not lossless:
                    random_.shuffle(model.wal)
                row = model.wal.popleft()
                if lossless or random_.random() < 0.8:
                    bench.upstream.put(*[streamed(row)] * random_.choice([1, 1, 2]))
        bench.database.failing, bench.database.takes_s = False, 0.01
        for transaction in list(model.open):
            model.end(transaction)

    async def read(bench: Bench) -> list[Any]:
        left = await bench.start()
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(write(bench))
            while not writer.done():
                left += await bench.events(random_.choice([0, 0.001, 0.01, 0.2, 5]))
        return left + await bench.events(10)  # longer than a read that is under way

    bench = Bench(max_rows=max_rows, lossless=lossless)
    left = bench.run(read)
    ids = [id_ for id_ in left if isinstance(id_, int)]
    assert sorted(ids) == sorted(bench.model.committed)
    assert order_is_kept(bench.model, ids)
    others = [event for event in left if not isinstance(event, int)]
    assert others == [Paused(), Resumed()] * (len(others) // 2)
    assert Position.parse(bench.source.position.text())
    assert (bench.source.waiting, bench.database.reads < 500) == (0, True)
