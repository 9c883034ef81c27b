"""Events and clients as fan-out gets them, for tests without upstream."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.clock import ManualClock
from bridge.events import Delivery, Principal, RowEvent, View
from bridge.fanout import EventEncoder, Flusher, Frame, History, Hub, Subscriber
from bridge.position import Position

ANN = Principal(role="authenticated", user_id="ann")
BOB = Principal(role="authenticated", user_id="bob")

MOVED = {"old": {"id": 1}, "old_dialog_id": "d0"}
"""Fields of a message that came from another dialog."""


def message(n: int, *, dialog: str | None = "d1", body: str = "hi", **fields: Any) -> RowEvent:
    """Return a message that was inserted."""
    given = {"new": {"id": n, "body": body}, "old": None, "key": {"id": n}, "dialog_id": dialog}
    given |= {"id": f"s-{n}"} | fields
    return RowEvent(
        table="public.messages", commit_timestamp="2026-01-01T00:00:00.000Z", received_s=0.0, **given
    )


def to(*principals: Principal, action: str = "INSERT") -> list[Delivery]:
    """Return one delivery to these."""
    return [Delivery(view=View(action=action), principals=principals)]  # type: ignore[arg-type]


class Inbox:
    """A sink that keeps what it is offered.

    Attributes:
        has_room: What ``room`` answers.
        rooms: How often it was asked.
        was_cut_off: Whether the client was ended.
    """

    packs = False

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.wires = None
        self.has_room = True
        self.rooms = 0
        self.was_cut_off = False
        self.reconnect_ms: int | None = None

    def offer(self, frame: Frame) -> None:
        self.frames.append(frame)

    async def room(self) -> bool:
        self.rooms += 1
        return self.has_room

    def send_reconnect(self, after_ms: int) -> None:
        self.reconnect_ms = after_ms

    def cut_off(self) -> None:
        self.was_cut_off = True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it was offered, decoded."""
        return [json.loads(frame.payload) for frame in self.frames]

    @property
    def types(self) -> list[str]:
        return [m["type"] for m in self.messages]

    @property
    def ids(self) -> list[int]:
        """Keys of the rows, in order."""
        return [(m["new"] or m["old"])["id"] for m in self.messages if "eventType" in m]


class Everybody:
    """A roster that keeps who is here, in order of arrival."""

    def __init__(self) -> None:
        self.here: list[Principal] = []
        self.moments: dict[Principal, int] = {}

    def add(self, principal: Principal, moment: int) -> None:
        self.here.append(principal)
        self.moments[principal] = moment

    def since(self, principal: Principal) -> int:
        return self.moments[principal]

    def remove(self, principal: Principal) -> None:
        self.here.remove(principal)


async def all_visible(_principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
    """Decide that everybody sees everything, as it was committed."""
    return [View(action="INSERT" if event.new is not None else "DELETE") for event in events]


class CountingHub(Hub):
    """A hub with a change for each event, as without a journal."""

    changes = 0

    def publish(self, event: RowEvent, deliveries: Iterable[Delivery], *, is_last: bool = True) -> int:
        self.changes += 1
        self.advance(self.changes, str(self.changes))
        return super().publish(event, deliveries, is_last=is_last)


def make_hub(
    kind: type[Hub] = CountingHub,
    *,
    decide: Any = all_visible,
    clock: Any = None,
    roster: Any = None,
    flusher: Any = None,
) -> Hub:
    """Return a hub that is live."""
    hub = kind(
        history=History(keep_s=300, clock=clock or ManualClock()),
        encoder=EventEncoder(dialog_table="public.dialogs", message_table="public.messages"),
        decide=decide,
        roster=roster or Everybody(),
        flusher=flusher or Flusher(None, ManualClock()),  # type: ignore[arg-type]  # no sink here is written to
    )
    hub.begin("e", Position(0))
    hub.open()
    hub.upstream = "live"
    return hub


async def joined(
    hub: Hub, principal: Principal = ANN, *, dialogs: Sequence[str] | None = None, since: str | None = None
) -> tuple[Subscriber, Inbox]:
    """Return a client that has subscribed, and what it gets."""
    inbox = Inbox()
    subscriber = hub.connect(principal, inbox)
    wanted = None if dialogs is None else frozenset(dialogs)
    await hub.subscribe(subscriber, dialogs=wanted, since=since)
    return subscriber, inbox


def publish(hub: Hub, *numbers: int, dialog: str | None = "d1") -> None:
    """Publish messages that Ann sees."""
    for n in numbers:
        hub.publish(message(n, dialog=dialog), to(ANN))
