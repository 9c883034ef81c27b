"""What clients that come back get of the past: in order, each once, as of now."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from bridge import metrics
from bridge.errors import AskedTimeoutError
from bridge.events import Principal, RowEvent, View
from bridge.fanout import replay as module
from tests.support.events import ANN, BOB, MOVED, Inbox, all_visible, joined, make_hub, message, publish, to


async def test_a_resumed_client_gets_what_it_missed_then_live_events():
    """In order, each once; the cursor of `subscribed` is the client's own until it has them."""
    hub = make_hub()
    publish(hub, 1, 2, 3)
    _, inbox = await joined(hub, since="e-1")
    publish(hub, 4)
    assert inbox.messages[0] == {"type": "subscribed", "dialogs": None, "cursor": "e-1", "recovered": True}
    assert inbox.ids == [2, 3, 4]
    assert [f.cursor for f in inbox.frames[1:]] == ["e-2", "e-3", "e-4"]


async def test_live_events_wait_while_a_replay_is_decided():
    """Nothing overtakes: status, resync and events come after what was missed."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        asked.set()
        await go_on.wait()
        return await all_visible(principal, events)

    hub = make_hub(decide=slowly)
    publish(hub, 1, 2)
    subscriber = hub.connect(ANN, inbox := Inbox())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(hub.subscribe(subscriber, dialogs=None, since="e-0"))
        await asked.wait()
        publish(hub, 3)
        hub.announce_status("catching_up")
        hub.resync([ANN], "because")
        assert inbox.types == ["subscribed"]
        go_on.set()
    assert inbox.ids == [1, 2, 3]
    assert inbox.types[-2:] == ["status", "resync"]


async def test_a_long_replay_waits_for_the_client_to_read(monkeypatch: pytest.MonkeyPatch):
    """However much was missed, no more than a piece of it waits unread."""
    monkeypatch.setattr(module, "REPLAY_BYTES", 1000)
    monkeypatch.setattr(module, "REPLAY_AT_ONCE", 3)
    hub = make_hub()
    publish(hub, *range(1, 21))
    _, inbox = await joined(hub, since="e-0")
    assert inbox.ids == list(range(1, 21))
    assert inbox.rooms >= 3


async def test_a_replay_ends_where_the_client_takes_no_more(monkeypatch: pytest.MonkeyPatch):
    """And no later event is offered: its cursor would hide the hole."""
    monkeypatch.setattr(module, "REPLAY_BYTES", 1)
    hub = make_hub()
    publish(hub, 1, 2)
    subscriber = hub.connect(ANN, inbox := Inbox())
    inbox.has_room = False
    assert await hub.subscribe(subscriber, dialogs=None, since="e-0")
    publish(hub, 3)
    assert inbox.ids == [1]


async def test_a_replay_that_fails_lets_no_later_event_through():
    """The client resumes from where it was."""

    async def broken(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        raise RuntimeError

    hub = make_hub(decide=broken)
    publish(hub, 1)
    subscriber = hub.connect(ANN, inbox := Inbox())
    with pytest.raises(RuntimeError):
        await hub.subscribe(subscriber, dialogs=None, since="e-0")
    publish(hub, 2)
    assert inbox.ids == []


async def test_a_replay_that_cannot_be_decided_makes_the_client_read_again():
    """Postgres takes too long, or cannot know any more: it is told so, counted, and live events go on."""
    counts = [metrics.RESUMES.counts[recovered,] for recovered in ("true", "false")]

    async def undecided(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        publish(hub, 2)
        raise AskedTimeoutError("slow: wait")

    hub = make_hub(decide=undecided)
    publish(hub, 1)
    subscriber = hub.connect(ANN, inbox := Inbox())
    assert await hub.subscribe(subscriber, dialogs=None, since="e-0") is False
    publish(hub, 3)
    assert inbox.types == ["subscribed", "new_message", "resync", "new_message"]
    assert (inbox.ids, inbox.messages[2]) == (
        [2, 3],
        {"type": "resync", "reason": "not_recovered", "cursor": "e-2"},
    )
    after = [metrics.RESUMES.counts[recovered,] for recovered in ("true", "false")]
    assert after == [counts[0], counts[1] + 1]
    assert (await joined(hub, since="e-3"))[1].messages[0]["recovered"] is True


async def test_a_replay_shows_what_may_be_seen_now_and_was_meant_for_the_user():
    """Invisible events, announcements for others, and unwanted dialogs stay out."""

    async def even_only(_principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        return [View(action="INSERT") if e.key["id"] % 2 == 0 else None for e in events]

    hub = make_hub(decide=even_only)
    publish(hub, 1, 2)
    hub.publish(message(4, only=frozenset({"bob"})), [])
    hub.publish(message(6, only=frozenset({"ann"})), [])
    publish(hub, 8, dialog="d2")
    _, inbox = await joined(hub, dialogs=["d1"], since="e-0")
    assert inbox.ids == [2, 6]


async def test_a_further_subscription_does_not_replay_what_is_followed_already():
    """Each event once, even where a dialog is added with a cursor from before."""
    hub = make_hub()
    subscriber, inbox = await joined(hub, dialogs=["d1"])
    publish(hub, 1)
    publish(hub, 2, dialog="d2")
    await hub.subscribe(subscriber, dialogs=frozenset({"d2"}), since="e-0")
    assert inbox.ids == [1, 2]
    await hub.subscribe(subscriber, dialogs=None, since=None)
    await hub.subscribe(subscriber, dialogs=None, since="e-0")
    assert inbox.ids == [1, 2]


async def test_a_further_subscription_does_not_replay_rows_of_no_dialog():
    """They came live, to whatever was subscribed; the first subscription replays them."""
    hub = make_hub()
    publish(hub, 1, dialog=None)
    subscriber, inbox = await joined(hub, dialogs=["d1"], since="e-0")
    publish(hub, 2, dialog=None)
    await hub.subscribe(subscriber, dialogs=frozenset({"d2"}), since="e-0")
    assert inbox.ids == [1, 2]


@pytest.mark.parametrize("further", [["d1"], None])
async def test_a_row_that_moved_to_a_dialog_added_later_comes_back_as_an_insert(further: list[str] | None):
    """The client was told that it left; an UPDATE would be of a row that it no longer has."""

    async def updated(_principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        return [View(action="UPDATE") for _ in events]

    hub = make_hub(decide=updated)
    subscriber, inbox = await joined(hub, dialogs=["d0"])
    hub.publish(message(1, **MOVED), to(ANN, action="UPDATE"))
    await hub.subscribe(subscriber, dialogs=None if further is None else frozenset(further), since="e-0")
    assert [m["eventType"] for m in inbox.messages if "eventType" in m] == ["DELETE", "INSERT"]


async def test_a_row_that_left_and_was_heard_leaving_is_not_withdrawn_twice():
    """Adding the dialog that it moved to, where the user does not see it, says nothing."""

    async def withdrawn(_principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        return [View(action="DELETE") for _ in events]

    hub = make_hub(decide=withdrawn)
    subscriber, inbox = await joined(hub, dialogs=["d0"])
    hub.publish(message(1, **MOVED), to(ANN, action="DELETE"))
    await hub.subscribe(subscriber, dialogs=frozenset({"d1"}), since="e-0")
    await hub.subscribe(subscriber, dialogs=None, since="e-0")
    assert [m["eventType"] for m in inbox.messages if "eventType" in m] == ["DELETE"]


async def test_what_was_in_a_dialog_before_it_came_into_sight_is_not_replayed():
    """Who was added reads what is left of it; the text of a message that was deleted before is nobody's."""
    hub = make_hub()
    await joined(hub), await joined(hub, BOB)
    publish(hub, 1, dialog="d0")
    publish(hub, 2, 3)
    came = {"announced": "INSERT", "only": frozenset({ANN.user_id})}
    hub.publish(msgspec.structs.replace(message(4, **came), table="public.dialogs"), to(ANN))
    hub.publish(message(5, old={"id": 5}, old_dialog_id="d0"), to(ANN, action="UPDATE"))
    publish(hub, 6)
    assert (await joined(hub, since="e-0"))[1].ids == [1, 4, 5, 6]
    assert (await joined(hub, BOB, since="e-0"))[1].ids == [1, 2, 3, 5, 6]
