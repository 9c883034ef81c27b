"""Outboxes are written once per loop iteration."""

import asyncio

import pytest

from bridge import metrics
from bridge.clock import ManualClock, SystemClock
from bridge.fanout import Flusher
from bridge.fanout import flusher as module
from bridge.fanout.flusher import CALM, ENOUGH, LONGEST_S, MANY


class Outbox:
    def __init__(self, flusher: Flusher | None = None) -> None:
        self.flushed = 0
        self._flusher = flusher

    def flush(self) -> None:
        self.flushed += 1
        if self._flusher is not None:
            flusher, self._flusher = self._flusher, None
            flusher.mark(self)


async def test_what_is_marked_is_written_in_the_next_iteration():
    """All of it, once, and not before."""
    flusher = Flusher(asyncio.get_running_loop(), SystemClock())
    outboxes = [Outbox(), Outbox()]
    for outbox in outboxes:
        flusher.mark(outbox)
    assert [o.flushed for o in outboxes] == [0, 0]
    await asyncio.sleep(0)
    assert [o.flushed for o in outboxes] == [1, 1]
    await asyncio.sleep(0)
    assert [o.flushed for o in outboxes] == [1, 1]


async def test_an_outbox_that_marks_itself_while_it_is_written_is_written_again():
    """In the iteration after: nothing is lost, nothing loops."""
    flusher = Flusher(asyncio.get_running_loop(), SystemClock())
    outbox = Outbox(flusher)
    flusher.mark(outbox)
    flusher.flush()
    assert outbox.flushed == 1
    await asyncio.sleep(0)
    assert outbox.flushed == 2


async def test_the_time_to_the_write_is_measured_when_it_has_been_written():
    """Not when the frame was put into the outbox; also where nothing is marked (long polls)."""
    clock = ManualClock()
    flusher = Flusher(asyncio.get_running_loop(), clock)

    class Slow(Outbox):
        def flush(self) -> None:
            clock.advance(0.2)

    def measured() -> tuple[float, float]:
        text = metrics.exposition().decode()
        return tuple(  # type: ignore[return-value]
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(
                ("bridge_receive_to_write_seconds_count", "bridge_receive_to_write_seconds_sum")
            )
        )

    count, total_s = measured()
    arrived_s = clock.monotonic_s()
    clock.advance(0.1)
    flusher.mark(Slow())
    flusher.note(arrived_s)
    assert measured() == (count, total_s)
    await asyncio.sleep(0)
    assert measured() == (count + 1, pytest.approx(total_s + 0.3))
    flusher.note(clock.monotonic_s())
    await asyncio.sleep(0)
    assert measured()[0] == count + 2


async def test_a_busy_worker_gathers_frames_until_there_are_several_for_each_connection():
    """While each iteration brings many new ones; not where few are written to."""
    flusher = Flusher(asyncio.get_running_loop(), ManualClock())
    outboxes = [Outbox() for _ in range(MANY)]
    for outbox in outboxes:
        flusher.mark(outbox)
    for _ in range(ENOUGH - 1):
        flusher.note(1.0, len(outboxes))
        await asyncio.sleep(0)
        assert outboxes[0].flushed == 0
    flusher.note(1.0, len(outboxes))
    await asyncio.sleep(0)
    assert {outbox.flushed for outbox in outboxes} == {1}

    few = Outbox()
    flusher.mark(few)
    flusher.note(1.0)
    await asyncio.sleep(0)
    assert few.flushed == 1


async def test_one_small_iteration_does_not_end_the_gathering():
    """What a busy worker reads comes in pieces, of which one may be small."""
    flusher = Flusher(asyncio.get_running_loop(), ManualClock())
    outboxes = [Outbox() for _ in range(MANY)]
    for outbox in outboxes:
        flusher.mark(outbox)
    for frames, flushed in ((MANY, 0), (1, 0), (MANY, 0), (1, 0), (1, 1)):
        flusher.note(1.0, frames)
        await asyncio.sleep(0)
        assert outboxes[0].flushed == flushed


async def test_nothing_is_kept_back_once_nothing_new_comes_or_for_too_long():
    """The worker is not busy, or would be late."""
    clock = ManualClock()
    flusher = Flusher(asyncio.get_running_loop(), clock)
    outboxes = [Outbox() for _ in range(MANY)]
    for times, waits_s in ((1, 0.0), (2, 2 * LONGEST_S)):
        for outbox in outboxes:
            flusher.mark(outbox)
        flusher.note(1.0, MANY)
        clock.advance(waits_s)
        for _ in range(1 if waits_s else 1 + CALM):
            await asyncio.sleep(0)
        assert {outbox.flushed for outbox in outboxes} == {times}


class Wires(Outbox):
    """An outbox that a flusher puts frames into by itself."""

    def __init__(self, flusher: Flusher) -> None:
        super().__init__()
        self.wires: list[bytes] = []
        self.written: list[bytes] = []
        self._own = flusher

    def offer(self, wire: bytes) -> None:
        if not self.wires:
            self._own.mark(self)
        self.wires.append(wire)

    def flush(self) -> None:
        self.flushed += 1
        self.written += self.wires
        self.wires.clear()


async def test_what_is_put_and_what_is_offered_is_written_in_one_order():
    """Whichever comes first; an outbox that was written out by itself in between is written again."""
    flusher = Flusher(asyncio.get_running_loop(), SystemClock())
    one, other = Wires(flusher), Wires(flusher)
    flusher.put(b"1", [one, other])
    one.offer(b"2")
    one.flush()
    flusher.put(b"3", [one])
    other.offer(b"4")
    assert (other.flushed, one.written, other.written) == (0, [b"1", b"2"], [])
    await asyncio.sleep(0)
    assert (other.flushed, one.written, other.written) == (1, [b"1", b"2", b"3"], [b"1", b"4"])


async def test_no_more_than_so_many_bytes_are_gathered(monkeypatch: pytest.MonkeyPatch):
    """However long the loop is busy; what comes behind is written as usual."""
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    flusher = Flusher(asyncio.get_running_loop(), SystemClock())
    outboxes = [Wires(flusher), Wires(flusher)]
    gathered = 0
    for n in range(30):
        flusher.put(bytes([n]) * 30, outboxes)
        gathered = max(gathered, sum(map(len, outboxes[0].wires)))
    assert gathered <= 100
    assert outboxes[0].flushed >= 7
    await asyncio.sleep(0)
    assert [o.written for o in outboxes] == [[bytes([n]) * 30 for n in range(30)]] * 2
