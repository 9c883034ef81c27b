"""Who comes back too early waits."""

import asyncio

from bridge.clock import ManualClock
from bridge.events import RowEvent
from bridge.fanout.arrival import Arrival
from bridge.fanout.history import History
from bridge.position import Position
from tests.support.events import message


def starting() -> tuple[History, Arrival]:
    history = History(keep_s=60, clock=ManualClock())
    return history, Arrival(history)


async def test_a_start_is_waited_for_as_long_as_the_client_can():
    """A poll asks again, with the same cursor; a cursor that no start can reach waits for nothing."""
    history, arrival = starting()
    assert await arrival.at("e-1", 0.01) is False
    assert await arrival.at("t1-1", None) is True
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(arrival.at("e-1", None))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        history.begin("e", Position(1))
        history.open()
        arrival.move()
    assert waiting.result() is True


async def test_whose_the_past_is_is_not_asked_before_the_start_is_over():
    """By what was in memory before it, who may see more by now would miss that; whoever asks meanwhile."""
    asked: list[RowEvent] = []
    history = History(keep_s=60, clock=ManualClock(), audience=asked.append)
    history.begin("e", Position(0))
    history.advance(1, "1")
    history.append(message(1))
    assert await Arrival(history).at("t1-1", None) is True
    assert asked == []
    history.open()
    assert await Arrival(history).at("e-1", None) is True
    assert len(asked) == 1


async def test_who_waits_is_let_go_when_the_worker_leaves():
    """Another worker goes on from there; what is here already is still served here."""
    history, arrival = starting()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(arrival.at("e-1", None))
        await asyncio.sleep(0.01)
        arrival.leave()
    assert waiting.result() is False
    history.begin("e", Position(1))
    history.open()
    assert await arrival.at("e-1", None) is True


async def test_a_start_that_begins_anew_meanwhile_is_waited_for_again():
    """Something was lost while the client waited for this worker to catch up with another one."""
    history, arrival = starting()
    history.begin("e", Position(1))
    history.open()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(arrival.at("e-2", None))
        await asyncio.sleep(0.01)
        history.forget()
        arrival.move()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        history.begin("e", Position(1))
        history.advance(2, "2")
        history.append(message(2))
        history.open()
        arrival.move()
    assert waiting.result() is True
