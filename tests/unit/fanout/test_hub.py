"""Who gets what, in which order: live, replayed, withheld."""

import asyncio

import pytest

from bridge import metrics
from bridge.events import Principal, RowEvent
from bridge.fanout import Hub, arrival
from bridge.position import Position
from tests.support.events import ANN, BOB, MOVED, Everybody, Inbox, joined, make_hub, message, publish, to

ANN_ELSEWHERE = Principal(role=ANN.role, user_id=ANN.user_id, claims_json='{"org":1}')


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
