"""Who of an audience is here."""

import asyncio

from bridge import metrics
from bridge.clock import ManualClock
from bridge.events import Principal
from bridge.fanout import Flusher, Frame, Subscriber, seating
from bridge.fanout.frames import text_frame
from bridge.fanout.seating import Seating
from tests.support.events import ANN, BOB, Inbox


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
