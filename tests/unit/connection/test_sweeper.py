"""One task visits all connections, each in its turn and when it is due."""

import asyncio
import gc
import weakref

from bridge.clock import ManualClock
from bridge.connection import sweeper as module
from bridge.connection.sweeper import Sweeper


class Connection:
    def __init__(self) -> None:
        self.sweeps = 0
        self.pings = 0
        self.swept = asyncio.Event()

    def sweep(self) -> None:
        self.sweeps += 1
        self.swept.set()

    def ping(self) -> None:
        self.pings += 1


def made(count: int, interval_s: float = 1.0) -> tuple[Sweeper, ManualClock, list[Connection]]:
    clock = ManualClock()
    sweeper = Sweeper(interval_s=interval_s, clock=clock)
    connections = [Connection() for _ in range(count)]
    for connection in connections:
        sweeper.add(connection)
    return sweeper, clock, connections


def test_everybody_is_pinged_once_in_an_interval_and_never_all_at_once():
    """Pings are spread over the ticks."""
    sweeper, _, connections = made(8)
    for tick in range(1, 5):
        sweeper.tick()
        assert sum(c.pings for c in connections) == 2 * tick
    assert {c.pings for c in connections} == {1}
    assert (len(sweeper), set(sweeper)) == (8, set(connections))


def test_who_is_due_is_visited_at_its_time():
    """Not before, and once for each time that was asked for."""
    sweeper, clock, [connection] = made(1, interval_s=25.0)
    sweeper.visit_at(connection, clock.monotonic_s() + 3)
    sweeper.tick()
    assert connection.sweeps == 0
    clock.advance(3)
    sweeper.tick()
    sweeper.tick()
    assert (connection.sweeps, connection.pings) == (1, 0)


def test_who_has_left_is_visited_no_more():
    """Neither in its turn nor when it would have been due; leaving twice does nothing."""
    sweeper, clock, [connection] = made(1)
    sweeper.visit_at(connection, clock.monotonic_s())
    sweeper.remove(connection)
    sweeper.remove(connection)
    for _ in range(4):
        sweeper.tick()
    assert (connection.sweeps, len(sweeper)) == (0, 0)


def test_a_deadline_far_away_keeps_nobody_alive():
    """A token of an hour is not a reason to remember its connection for an hour."""
    sweeper, clock, connections = made(1)
    sweeper.visit_at(connections[0], clock.monotonic_s() + 3600)
    sweeper.remove(connections[0])
    left = weakref.ref(connections.pop())
    gc.collect()
    assert left() is None


async def test_it_ticks_until_it_is_cancelled(monkeypatch):
    """Its task belongs to the server."""
    monkeypatch.setattr(module, "TICK_S", 0.001)
    sweeper, _, [connection] = made(1, interval_s=0.001)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sweeper.run())
        await connection.swept.wait()
        running.cancel()
    assert connection.pings
