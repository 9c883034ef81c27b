"""Who gets what, in which order: live, replayed, withheld."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from bridge import metrics
from bridge.errors import AskedTimeoutError
from bridge.events import Principal, RowEvent, View
from bridge.fanout import Hub, Subscriber, arrival
from bridge.fanout import hub as module
from bridge.position import Position
from tests.support.events import ANN, BOB, Everybody, Inbox, all_visible, make_hub, message, to

ANN_ELSEWHERE = Principal(role=ANN.role, user_id=ANN.user_id, claims_json='{"org":1}')
MOVED = {"old": {"id": 1}, "old_dialog_id": "d0"}


async def joined(
    hub: Hub, principal: Principal = ANN, *, dialogs: Sequence[str] | None = None, since: str | None = None
) -> tuple[Subscriber, Inbox]:
    inbox = Inbox()
    subscriber = hub.connect(principal, inbox)
    wanted = None if dialogs is None else frozenset(dialogs)
    await hub.subscribe(subscriber, dialogs=wanted, since=since)
    return subscriber, inbox


def publish(hub: Hub, *numbers: int, dialog: str = "d1") -> None:
    for n in numbers:
        hub.publish(message(n, dialog=dialog), to(ANN))


async def test_an_event_goes_to_its_audience_only_and_is_encoded_once():
    """Every recipient gets the same bytes; a stranger and a client that did not subscribe get nothing."""
    hub = make_hub()
    (_, first), (_, second), (_, stranger) = await joined(hub), await joined(hub), await joined(hub, BOB)
    hub.connect(ANN, silent := Inbox())
    publish(hub, 1)
    assert first.ids == second.ids == [1]
    assert first.frames[-1] is second.frames[-1]
    assert stranger.ids == []
    assert silent.frames == []


async def test_only_the_chosen_dialogs_come_and_rows_of_none():
    """Rows that belong to no dialog come to every subscriber."""
    hub = make_hub()
    _, inbox = await joined(hub, dialogs=["d1"])
    publish(hub, 1)
    publish(hub, 2, dialog="d2")
    hub.publish(message(3, dialog=None), to(ANN))
    assert inbox.ids == [1, 3]


@pytest.mark.parametrize(
    ("wanted", "action", "experienced"),
    [
        (["d0", "d1"], "UPDATE", "UPDATE"),
        (["d1"], "UPDATE", "INSERT"),
        (["d0"], "UPDATE", "DELETE"),
        (["d9"], "UPDATE", None),
        (["d0"], "DELETE", "DELETE"),
        (["d1"], "DELETE", None),
        (["d1"], "INSERT", "INSERT"),
        (["d0"], "INSERT", None),
        (None, "UPDATE", "UPDATE"),
    ],
)
async def test_a_row_that_moves_between_dialogs(
    wanted: list[str] | None, action: str, experienced: str | None
):
    """It comes or goes for who follows one of them."""
    hub = make_hub()
    _, inbox = await joined(hub, dialogs=wanted)
    hub.publish(message(1, **MOVED), to(ANN, action=action))
    assert [m["eventType"] for m in inbox.messages[1:]] == ([] if experienced is None else [experienced])


async def test_subscriptions_add_up_and_are_taken_away():
    """`subscribed` and `unsubscribed` say what is in force."""
    hub = make_hub()
    subscriber, inbox = await joined(hub, dialogs=["b"])
    await hub.subscribe(subscriber, dialogs=frozenset({"a"}), since=None)
    assert inbox.messages[-1]["dialogs"] == ["a", "b"]
    hub.unsubscribe(subscriber, dialogs=frozenset({"b", "unknown"}))
    assert inbox.messages[-1] == {"type": "unsubscribed", "dialogs": ["a"]}
    assert subscriber.subscribed
    hub.unsubscribe(subscriber, dialogs=frozenset({"a"}))
    publish(hub, 1, dialog="a")
    assert inbox.types[-1] == "unsubscribed"
    await hub.subscribe(subscriber, dialogs=None, since=None)
    assert inbox.messages[-1]["dialogs"] is None
    hub.unsubscribe(subscriber, dialogs=frozenset({"a"}))
    assert (inbox.messages[-1]["type"], inbox.messages[-1]["code"]) == ("error", "not_possible")
    hub.unsubscribe(subscriber, dialogs=None)
    assert (inbox.types[-1], subscriber.subscribed) == ("unsubscribed", False)


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
    hub = make_hub()
    counts = [metrics.RESUMES.counts[recovered,] for recovered in ("true", "false")]

    async def undecided(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        publish(hub, 2)
        raise AskedTimeoutError("slow: wait")

    hub._decide = undecided
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


async def test_an_unknown_cursor_is_not_recovered(monkeypatch: pytest.MonkeyPatch):
    """The client reads its rows again, then follows live."""
    monkeypatch.setattr(arrival, "WAIT_S", 0.0)
    hub = make_hub()
    publish(hub, 1)
    for since in ("other-1", "e-9", "nonsense"):
        _, inbox = await joined(hub, since=since)
        assert (inbox.messages[0]["recovered"], inbox.messages[0]["cursor"]) == (False, "e-1")
        assert inbox.ids == []


async def test_a_client_that_comes_back_too_early_waits(monkeypatch: pytest.MonkeyPatch):
    """Until this worker has read what it missed, or has come as far as a faster one, and for no longer."""
    monkeypatch.setattr(arrival, "WAIT_S", 2.0)
    hub = make_hub()
    hub.begin("e", Position(0))  # not open yet: what is published is of the past
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(joined(hub, since="e-1"))
        faster = tasks.create_task(joined(hub, since="e-3"))
        publish(hub, 1, 2)
        await asyncio.sleep(0.1)
        assert not early.done()
        hub.open()
        assert (await early)[1].ids == [2]
        assert not faster.done()
        publish(hub, 3)
    assert (faster.result()[1].messages[0]["recovered"], faster.result()[1].ids) == (True, [])
    monkeypatch.setattr(arrival, "WAIT_S", 0.1)
    assert (await joined(hub, since="e-9"))[1].messages[0]["recovered"] is False


async def test_who_was_away_while_a_membership_changed_reads_again():
    """Who was here was told of the dialog itself; of who was not, nobody knew whether it saw it."""
    hub = make_hub()
    await joined(hub)
    publish(hub, 1)
    hub.advance(2, "2")
    hub.mark(ANN.role, [ANN.user_id, BOB.user_id], told=True)
    assert (await joined(hub, since="e-1"))[1].messages[0]["recovered"] is True
    assert (await joined(hub, BOB, since="e-1"))[1].messages[0]["recovered"] is False


async def test_everybody_is_asked_to_connect_again_one_after_the_other():
    """So many within a second, and none is cut off as a slow reader."""
    hub = make_hub()
    inboxes = [(await joined(hub, principal))[1] for principal in (ANN, ANN, BOB)]
    hub.send_reconnect()
    assert [inbox.reconnect_ms for inbox in inboxes] == [0, 5, 10]
    assert not any(inbox.was_cut_off for inbox in inboxes)


async def test_a_resync_for_all_goes_to_subscribers():
    """Others learn it when they resume: where it concerns them, the history has been begun anew."""
    hub = make_hub()
    _, inbox = await joined(hub)
    hub.connect(ANN, silent := Inbox())
    before = hub.cursor
    hub.resync(None, "gap")
    assert inbox.messages[-1] == {"type": "resync", "reason": "gap", "cursor": hub.cursor}
    assert silent.frames == []
    hub.begin("f", Position(0))
    hub.open()
    assert (await joined(hub, since=before))[1].messages[0]["recovered"] is False


async def test_a_resync_for_some_does_not_concern_the_others():
    """Neither those who are here, nor those who are away."""
    hub = make_hub()
    _, ann = await joined(hub)
    _, bob = await joined(hub, BOB)
    before = hub.cursor
    hub.advance(1, "1")
    hub.resync([ANN], "other rows")
    assert (ann.types[-1], bob.types[-1]) == ("resync", "subscribed")
    assert (await joined(hub, since=before))[1].messages[0]["recovered"] is False
    assert (await joined(hub, BOB, since=before))[1].messages[0]["recovered"] is True


async def test_status_goes_to_everybody_and_to_those_who_come_later():
    """Subscribed or not."""
    hub = make_hub()
    hub.connect(ANN, inbox := Inbox())
    hub.announce_status("down")
    assert inbox.messages == [{"type": "status", "upstream": "down"}]
    assert hub.status().payload == b'{"type":"status","upstream":"down"}'


async def test_the_roster_knows_who_is_here():
    """Once for each principal, however many clients it has; leaving twice does nothing."""
    hub = make_hub(roster=(roster := Everybody()))
    (first, _), (second, _) = await joined(hub), await joined(hub)
    assert roster.here == [ANN]
    hub.disconnect(first)
    hub.disconnect(first)
    assert roster.here == [ANN]
    hub.disconnect(second)
    hub.disconnect(second)
    assert roster.here == []


async def test_a_renewed_token_with_other_claims_moves_the_client():
    """It hears what its new claims see and has to read again; with the same claims nothing happens."""
    hub = make_hub(roster=(roster := Everybody()))
    subscriber, inbox = await joined(hub)
    hub.renew(subscriber, ANN)
    assert inbox.types == ["subscribed"]
    hub.renew(subscriber, ANN_ELSEWHERE)
    assert roster.here == [ANN_ELSEWHERE]
    assert (inbox.messages[-1]["type"], inbox.messages[-1]["reason"]) == ("resync", "claims_changed")
    publish(hub, 1)
    hub.publish(message(2), to(ANN_ELSEWHERE))
    assert inbox.ids == [2]
    hub.disconnect(subscriber)
    assert roster.here == []


async def test_renewing_before_a_subscription_says_nothing():
    """Nothing was read yet."""
    hub = make_hub()
    subscriber = hub.connect(ANN, inbox := Inbox())
    hub.renew(subscriber, ANN_ELSEWHERE)
    assert inbox.frames == []


@pytest.mark.parametrize(
    "event",
    [
        message(1),
        message(1, old={"id": 1}),
        message(1, new=None, old={"id": 1}),
        message(1, announced="DELETE", only=frozenset({"ann"})),
    ],
)
async def test_every_kind_of_event_is_counted(event: RowEvent):
    """Committed or announced, there is a type for the metric."""
    hub = make_hub()
    _, inbox = await joined(hub)
    hub.publish(event, to(ANN, action="UPDATE"))
    assert len(inbox.ids) == 1


async def test_who_is_here_and_may_not_see_an_event_is_counted():
    """Once for each user, however many clients; not for events of the past, nor for what was meant for others alone."""
    hub = make_hub()
    await joined(hub), await joined(hub), await joined(hub, BOB), await joined(hub, BOB)
    kind = ("new_message",)
    before = metrics.DENIED.counts[kind]
    assert hub.publish(message(1), to(ANN)) == 2
    assert metrics.DENIED.counts[kind] == before + 1
    hub.publish(message(2, only=frozenset({ANN.user_id})), to(ANN))
    hub.forget_history()
    hub.publish(message(3), ())
    assert metrics.DENIED.counts[kind] == before + 1


async def test_what_a_client_had_from_another_worker_does_not_come_again_live():
    """That one had two changes the other way round: the later is here, the earlier is still to come."""
    hub = make_hub()

    def come(n: int, position: str) -> None:
        hub.advance(n, position)
        Hub.publish(hub, message(n), to(ANN))

    version = hub.cursor.partition("-")[0]
    come(1, "1")
    come(3, "3.1")
    (_, both), (_, one) = await joined(hub, since=f"{version}-3"), await joined(hub, since=f"{version}-3.1")
    come(2, "3")
    come(4, "4")
    assert (both.ids, one.ids) == ([4], [2, 4])
