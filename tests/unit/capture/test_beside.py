"""What goes on while the stream does."""

import asyncio
import math

from bridge.capture.beside import Alarm, ReadBeside
from bridge.capture.journal import Asked
from bridge.clock import ManualClock
from bridge.errors import RpcError
from tests.support.virtual_time import run_at_once

ASKED = Asked(7, frozenset(), 1)


def test_an_answer_comes_back_with_what_was_asked():
    """Once, also where it is that the database did not answer; until then one is being read."""
    error = RpcError("unreachable")

    async def main() -> None:
        done = asyncio.Event()

        async def read() -> RpcError:
            await asyncio.sleep(5)
            return error

        beside = ReadBeside(read, done.set)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(beside.run())
            assert (beside.is_reading, beside.take()) == (False, None)
            for _ in range(2):
                beside.begin(ASKED)
                assert (beside.is_reading, beside.take()) == (True, None)
                await done.wait()
                done.clear()
                assert beside.take() == (error, ASKED)
                assert (beside.is_reading, beside.take()) == (False, None)
            running.cancel()

    run_at_once(main(), ManualClock())


def test_an_alarm_rings_at_the_time_that_was_set_last():
    """Once; never where that is no time."""
    clock = ManualClock()

    async def main() -> None:
        rung: list[float] = []
        started_s = clock.monotonic_s()
        alarm = Alarm(clock, lambda: rung.append(round(clock.monotonic_s() - started_s, 3)))
        alarm.set(started_s + 1)
        alarm.set(started_s + 2)
        alarm.set(started_s + 2)
        await asyncio.sleep(10)
        assert rung == [2.0]
        alarm.set(started_s + 12)
        alarm.set(math.inf)
        await asyncio.sleep(10)
        assert rung == [2.0]

    run_at_once(main(), clock)
