"""Outboxes are written once per loop iteration."""

import asyncio

from bridge.fanout import Flusher


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
    flusher = Flusher(asyncio.get_running_loop())
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
    flusher = Flusher(asyncio.get_running_loop())
    outbox = Outbox(flusher)
    flusher.mark(outbox)
    flusher.flush()
    assert outbox.flushed == 1
    await asyncio.sleep(0)
    assert outbox.flushed == 2
