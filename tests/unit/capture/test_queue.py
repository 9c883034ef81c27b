"""The queue between the socket and the pipeline, as the WAL transport uses it."""

from bridge.capture.queue import EventQueue
from bridge.events import Change, Gap, Live

CHANGE = Change(table="t", action="INSERT", new={}, old=None, commit_timestamp="", received_s=0.0)


async def test_a_queue_is_full_by_number_or_by_size():
    """Its reader then stops reading; what it holds already is added all the same."""
    by_number, by_size = EventQueue(2, 1000), EventQueue(100, 1000)
    by_number.extend([(CHANGE, 1)])
    by_size.extend([(CHANGE, 999)])
    assert (by_number.full, by_size.full) == (False, False)

    by_number.extend([(CHANGE, 1)])
    by_size.extend([(CHANGE, 5000)])
    assert (by_number.full, by_size.full) == (True, True)
    assert (by_number.half_empty, by_size.half_empty) == (False, False)


async def test_reading_goes_on_once_half_has_been_taken():
    """Not after each change, which would wake the reader for every one."""
    queue = EventQueue(4, 1000)
    for _ in range(4):
        queue.extend([(CHANGE, 100)])

    assert await queue.get() == CHANGE
    assert (queue.full, queue.half_empty) == (False, False)
    await queue.get()
    assert queue.half_empty


async def test_what_waits_when_the_connection_is_lost_comes_before_the_gap():
    """It was committed before; only Live and lost again before anybody looked is told as one Gap."""
    queue = EventQueue(4, 1000)
    queue.live()
    queue.extend([(CHANGE, 1)])
    queue.gap(Gap(reason="upstream_silent"))
    queue.live()
    queue.gap(Gap(reason="upstream_disconnected"))

    assert [await queue.get() for _ in range(len(queue))] == [Live(), CHANGE, Gap(reason="upstream_silent")]
