"""Whether policies are known to hold."""

import asyncio

from bridge.certainty import CERTAIN_S, Certainty
from bridge.clock import ManualClock


async def test_it_is_lost_after_a_while_without_a_check_and_comes_back_with_one():
    """Each is told once; who waits goes on."""
    clock = ManualClock()
    certainty = Certainty(clock)
    clock.advance(CERTAIN_S - 1)
    assert (certainty.note_unchecked(), certainty.is_lost) == (False, False)
    clock.advance(1)
    assert (certainty.note_unchecked(), certainty.note_unchecked()) == (True, False)
    assert (certainty.is_lost, certainty.unchecked_s) == (True, CERTAIN_S)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(certainty.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert (certainty.note_checked(), certainty.note_checked()) == (True, False)
    assert not certainty.is_lost


async def test_what_waited_is_not_decided_by_policies_that_changed_unseen():
    """Nor what comes after it, until the others are loaded; a change that is seen at once has its turn."""
    clock = ManualClock()
    certainty = Certainty(clock)
    certainty.note_changed()
    assert await certainty.wait()
    clock.advance(CERTAIN_S)
    certainty.note_unchecked()
    certainty.note_changed()
    certainty.note_changed()
    assert (certainty.is_lost, await certainty.wait()) == (False, False)
    certainty.note_loaded()
    assert await certainty.wait()
