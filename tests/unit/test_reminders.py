"""Resyncs that can wait: the first at once, all others together, and none is forgotten."""

import asyncio

from bridge.authorization import Resync
from bridge.reminders import Reminders
from tests.support.catalogs import ANN, BOB, CAT, user

ann, bob, cat = user(ANN), user(BOB), user(CAT)


async def test_a_stream_of_changes_makes_few_resyncs() -> None:
    """Everybody is told after the last change that concerns them, once."""
    sent: list[tuple[object, ...]] = []
    told = asyncio.Event()

    def send(resync: Resync) -> None:
        sent.append(resync.principals)
        told.set()

    reminders = Reminders(send, interval_s=0.05)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(reminders.run())
        reminders.add(Resync((ann, bob), may_wait=True))
        await told.wait()
        assert sent == [(ann, bob)]
        told.clear()
        for _ in range(1000):
            reminders.add(Resync((bob,), may_wait=True))
            reminders.add(Resync((cat, bob), may_wait=True))
            await asyncio.sleep(0)
        await told.wait()
        running.cancel()
    assert sent == [(ann, bob), (bob, cat)]
