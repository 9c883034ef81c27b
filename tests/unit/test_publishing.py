"""What the hub gets of a change, and of a past one."""

import asyncio
from typing import Any

from typing_extensions import override

from bridge.authorization import Deliver, Resync, Shifted
from bridge.clock import ManualClock
from bridge.events import Change
from bridge.fanout import Flusher, Hub
from bridge.publishing import HubAudience
from tests.support.events import ANN, BOB, Inbox, make_hub, message, to


class NotingFlusher(Flusher):
    """Keeps of how many frames it was told."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop(), ManualClock())
        self.noted: list[int] = []

    @override
    def note(self, received_s: float, frames: int = 1) -> None:
        self.noted.append(frames)


class Stage:
    """A hub with Ann and Bob, and what they get."""

    def __init__(self) -> None:
        self.flusher = NotingFlusher()
        self.hub = make_hub(Hub, flusher=self.flusher)
        self.audience = HubAudience(self.hub, self.flusher)
        self.ann, self.bob = Inbox(), Inbox()

    async def joined(self) -> "Stage":
        for principal, inbox in ((ANN, self.ann), (BOB, self.bob)):
            await self.hub.subscribe(self.hub.connect(principal, inbox), dialogs=None, since=None)
        return self


def change(n: int) -> Change:
    fields: dict[str, Any] = {"new": {"id": n}, "old": None, "commit_timestamp": "", "received_s": 0.0}
    return Change(id=n, position=str(n), table="public.messages", action="INSERT", **fields)


async def test_who_gets_several_events_of_a_change_has_passed_it_with_the_last():
    """Cut off in between it resumes before the change, and knows by its id what it had."""
    stage = await Stage().joined()
    stage.audience.deliver(change(1), [Deliver(message(1), to(ANN))])
    several = [Deliver(message(n), to(*who)) for n, who in ((2, (ANN, BOB)), (3, (ANN,)), (4, (BOB,)))]
    stage.audience.deliver(change(2), several)
    assert [frame.cursor for frame in stage.ann.frames[1:]] == ["e-1", "e-1", "e-2"]
    assert [frame.cursor for frame in stage.bob.frames[1:]] == ["e-1", "e-2"]
    assert stage.flusher.noted == [1, 4]


async def test_a_request_to_read_again_comes_after_the_event_for_whom_it_is():
    """It is told of the change too, so the cursor of the event is the one before."""
    stage = await Stage().joined()
    stage.audience.deliver(change(1), [Deliver(message(1), to(ANN)), Resync((ANN,))])
    assert stage.ann.types == ["subscribed", "new_message", "resync"]
    assert [frame.cursor for frame in stage.ann.frames[1:2]] == ["e-0"]
    assert stage.bob.types == ["subscribed"]


async def test_the_past_is_kept_and_moves_who_comes_back_to_read_again():
    """A shift that was told counts for those who were away; of the past, nobody was told of any."""
    stage = await Stage().joined()
    shift = Shifted(ANN.role, frozenset({ANN.user_id}))
    for tell, recovered in ((stage.audience.deliver, True), (stage.audience.remember, False)):
        before = stage.hub.cursor
        tell(change(int(before.partition("-")[2]) + 1), [shift])
        await stage.hub.subscribe(stage.hub.connect(ANN, inbox := Inbox()), dialogs=None, since=before)
        assert inbox.messages[0]["recovered"] is recovered
    assert stage.flusher.noted == []
