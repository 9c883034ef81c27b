"""Who of an audience is here."""

import asyncio
import json
import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import metrics
from bridge.clock import ManualClock
from bridge.events import Delivery, Principal, RowEvent, View
from bridge.fanout import Flusher, Frame, Subscriber, seating
from bridge.fanout.frames import text_frame
from bridge.fanout.seating import Seating
from tests.support.events import ANN, BOB, Inbox, make_hub, message


class Socket(Inbox):
    """A sink whose frames are written by a flusher."""

    def __init__(self) -> None:
        super().__init__()
        self.wires = []  # type: ignore[assignment]


def subscriber(principal: Principal = ANN, *, wants: frozenset[str] | None = None) -> Subscriber:
    made = Subscriber(principal, Socket())
    made.subscribed, made.dialogs = True, wants
    return made


def test_those_who_take_everything_are_told_from_those_to_be_looked_at() -> None:
    """Some dialogs only, a sink that is offered each frame, a replay that is not through: each is looked at."""
    everything, some, poll, catching_up = (subscriber() for _ in range(4))
    some.dialogs = frozenset({"d1"})
    poll.sink.wires = None
    catching_up.hold()
    silent = Subscriber(ANN, Socket())
    made = Seating()
    for one in (everything, some, poll, catching_up, silent):
        made.add(one)

    seats = made.of((ANN, BOB))

    assert seats.sinks == [everything.sink]
    assert seats.others == [some, poll, catching_up]
    assert seats.present == 1


async def test_who_takes_frames_compressed_gets_these_bytes() -> None:
    """Compressed once, for all of them, by the flusher's way; what it saves is counted."""
    made, flusher = Seating(), Flusher(asyncio.get_running_loop(), ManualClock())
    plain, packing = subscriber(), [subscriber(), subscriber()]
    for one in packing:
        one.sink.packs = True  # type: ignore[misc]
    for one in (plain, *packing):
        made.add(one)
    frame = Frame(payload := b"a" * 1000, text_frame(payload))
    saved = metrics.COMPRESSION_SAVED.counts[()]

    assert made.of((ANN,)).put(frame, flusher) == 3

    assert plain.sink.wires == [frame.wire]
    assert frame.packed is not None
    assert [one.sink.wires for one in packing] == [[frame.packed.wire]] * 2
    assert metrics.COMPRESSION_SAVED.counts[()] - saved == 2 * frame.packed.saved_bytes > 0


def test_an_audience_is_looked_at_again_after_a_change_only() -> None:
    """The same tuple has the same seats; a list has no name to be known by."""
    made, audience = Seating(), (ANN, BOB)
    made.add(ann := subscriber())
    seats = made.of(audience)

    assert made.of(audience) is seats
    assert made.of([ANN, BOB]) is not seats
    made.add(bob := subscriber(BOB))
    assert made.of(audience).sinks == [ann.sink, bob.sink]
    bob.subscribed = False
    made.changed()
    assert made.of(audience).sinks == [ann.sink]
    made.remove(ann)
    assert (made.of(audience).sinks, made.of(audience).present) == ([], 1)


def test_what_is_kept_is_bounded_by_its_size(monkeypatch) -> None:
    """An audience has another tuple after each change of a membership: a large one must not be kept many times."""
    monkeypatch.setattr(seating, "MAX_KEPT", 1000)
    made = Seating()
    made.add(subscriber())
    crowd = tuple(Principal(role="authenticated", user_id=str(n)) for n in range(400))
    audiences = [(ANN, *crowd), (BOB, *crowd), crowd]
    seats = [made.of(audience) for audience in audiences]

    assert made.of(audiences[2]) is seats[2]
    assert made.of(audiences[0]) is not seats[0]
    assert made.of(audiences[2]) is seats[2]


def test_the_first_and_the_last_of_a_principal_are_known() -> None:
    """The roster wants to know; removing somebody twice does nothing."""
    made = Seating()
    one, other = subscriber(), subscriber()

    assert [made.add(one), made.add(other)] == [True, False]
    assert (ANN in made, len(made), list(made), list(made.all())) == (True, 1, [ANN], [one, other])
    assert [made.remove(one), made.remove(one), made.remove(other)] == [False, False, True]
    assert (ANN in made, list(made.all([ANN, BOB]))) == (False, [])


class Wire(Socket):
    """What is offered and what a flusher puts there travel in one order, as in an outbox."""

    def __init__(self, flusher: Flusher) -> None:
        super().__init__()
        self._flusher = flusher
        self.read: list[int] = []

    def offer(self, frame: Frame) -> None:
        if not self.wires:
            self._flusher.mark(self)
        self.wires.append(frame.wire)

    def flush(self) -> None:
        told = (json.loads(wire[wire.index(b"{") :]) for wire in self.wires)
        self.read += [message["new"]["id"] for message in told if "eventType" in message]
        self.wires.clear()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
async def test_everybody_gets_theirs_once_and_in_order_whatever_they_do_in_between(seed: int) -> None:
    """Come, go, resume, renew, want all, some or nothing, between events of audiences that are kept."""
    chance = random.Random(seed)
    people = [ANN, BOB, Principal(role="authenticated", user_id="cat")]
    audiences = [tuple(people), (ANN, BOB), (BOB,), (ANN,), ()]
    seen_by: list[tuple[Principal, ...]] = []

    async def decide(principal: Principal, events: Sequence[RowEvent]) -> list[View | None]:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        return [View(action="INSERT") if principal in seen_by[int(e.key["id"])] else None for e in events]

    flusher = Flusher(asyncio.get_running_loop(), ManualClock())
    hub = make_hub(decide=decide, flusher=flusher)
    here: list[Subscriber] = []
    expected: dict[Subscriber, list[int]] = {}
    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            one = chance.choice(here) if here else None
            match chance.randrange(9):
                case 0:
                    here.append(hub.connect(chance.choice(people), Wire(flusher)))
                    expected[here[-1]] = []
                case 1 if one is not None and not one.subscribed:
                    wanted = chance.choice([None, frozenset({"d1"})])
                    await hub.subscribe(one, dialogs=wanted, since=None)
                case 2 if one is not None and not one.subscribed and not expected[one]:
                    since = chance.randrange(len(seen_by) + 1)
                    expected[one] = [n for n in range(since, len(seen_by)) if one.principal in seen_by[n]]
                    tasks.create_task(hub.subscribe(one, dialogs=None, since=f"e-{since}"))
                    await asyncio.sleep(0)
                case 3 if one is not None and one.takes_all:
                    hub.unsubscribe(one, dialogs=None)
                case 4 if one is not None and one.takes_all:
                    hub.renew(one, chance.choice(people))
                case 5 if one is not None and chance.random() < 0.3:
                    hub.disconnect(one)
                    here.remove(one)
                    if not one.takes_all and one.dialogs is None:
                        del expected[one]  # a replay that nobody waits for
                case 6:
                    await asyncio.sleep(0)
                case _:
                    audience, dialog = chance.choice(audiences), chance.choice(["d1", "d2"])
                    seen_by.append(audience)
                    n = len(seen_by) - 1
                    for subscriber in here:
                        wants = subscriber.dialogs is None or dialog in subscriber.dialogs
                        if subscriber.subscribed and wants and subscriber.principal in audience:
                            expected[subscriber].append(n)
                    hub.publish(
                        message(n, dialog=dialog), [Delivery(view=View(action="INSERT"), principals=audience)]
                    )
    flusher.flush()

    assert {s: s.sink.read for s in expected} == expected  # type: ignore[attr-defined]
