"""Rows that a transaction changes more than once."""

from typing import Any

import msgspec
import pytest

from bridge.authorization import Deliver, Effect, Resync
from bridge.clock import ManualClock
from bridge.events import Change, Delivery, Live, Principal, RowEvent, View
from bridge.fanout import History
from bridge.position import Position
from bridge.transactions import Begun, committed, net, whole_transaction
from tests.support.events import message

KEYS = {"public.notes": ("id",), "public.seats": ("room", "person")}


def change(old: dict[str, Any] | None, new: dict[str, Any] | None, *, table: str = "public.notes") -> Change:
    """What a trigger records."""
    action: Any = "INSERT" if old is None else "DELETE" if new is None else "UPDATE"
    return Change(table=table, action=action, old=old, new=new, commit_timestamp="t", received_s=0, txid="7")


def note(n: int, body: str) -> dict[str, Any]:
    return {"id": n, "body": body}


def test_rows_of_two_tables_that_had_one_name_are_two():
    """The name went from the one to the other within the transaction."""
    made = [change(None, note(1, "a")), change(note(1, "b"), None)]
    made = [msgspec.structs.replace(one, oid=oid) for oid, one in enumerate(made)]
    assert net(made, KEYS) == made


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ([change(None, note(1, "a")), change(note(1, "a"), note(1, "b"))], (None, note(1, "b"))),
        (
            [change(note(1, "a"), note(1, "b")), change(note(1, "b"), note(1, "c"))],
            (note(1, "a"), note(1, "c")),
        ),
        ([change(note(1, "a"), note(1, "b")), change(note(1, "b"), None)], (note(1, "a"), None)),
        ([change(note(1, "a"), None), change(None, note(1, "b"))], (note(1, "a"), note(1, "b"))),
        ([change(None, note(1, "a")), change(note(1, "a"), note(2, "b"))], (None, note(2, "b"))),
        (
            [change(note(1, "a"), note(2, "b")), change(note(2, "b"), note(1, "c"))],
            (note(1, "a"), note(1, "c")),
        ),
        ([change(note(1, "a"), note(2, "b")), change(note(2, "b"), None)], (note(1, "a"), None)),
    ],
)
def test_a_row_that_changes_twice_changes_once(made: list[Change], kept: tuple[Any, Any]):
    """From what it was before the transaction to what it is after; in place of the first change."""
    merged, nothing = net(made, KEYS)
    assert nothing is None
    assert merged == change(*kept)


def test_a_row_that_comes_and_goes_was_never_there():
    """Neither its INSERT nor its DELETE is left; other rows stay as they are."""
    other = change(None, {"room": 1, "person": "a"}, table="public.seats")
    assert net([change(None, note(1, "a")), other, change(note(1, "a"), None)], KEYS) == [None, other, None]


@pytest.mark.parametrize(
    ("has", "lacks"),
    [("e-0", [4, 2, 3]), ("e-1", [4, 2, 3]), ("e-2", [4, 3]), ("e-4.1-1", [2, 3]), ("e-4", [])],
)
def test_who_got_a_transaction_in_parts_elsewhere_gets_the_rest(has: str, lacks: list[int]):
    """Another worker had its first changes by themselves; who saw only those must not keep them for ever."""
    made = [
        change(None, note(1, "a")),
        change(None, note(2, "x")),
        change(None, note(3, "x")),
        change(note(1, "a"), note(1, "b")),
    ]
    made = [msgspec.structs.replace(one, id=n, position=str(n)) for n, one in enumerate(made, 1)]
    history = History(keep_s=60, clock=ManualClock())
    history.begin("e", Position(0))
    history.open()
    cursors = []
    for whole, one in zip(net(made, KEYS), made, strict=True):
        told = whole or one
        history.advance(told.id, told.position)
        if whole is not None:
            cursors.append(history.append(message(told.id)).cursor)
    assert cursors == ["e-4.1-1", "e-4.1", "e-4"]
    entries = history.since(has, Principal(role="authenticated", user_id="ann"), 0)
    assert entries is not None
    assert [entry.id for entry in entries] == lacks


@pytest.mark.parametrize(
    "made",
    [
        # Two rows exchange their keys, one takes the key that another has left, and one is not the one before.
        [change(note(1, "a"), note(3, "a")), change(note(2, "b"), note(1, "b")), change(note(3, "a"), note(2, "a"))],
        [change(note(1, "a"), note(2, "a")), change(None, note(1, "b"))],
        [change(note(2, "b"), None), change(note(1, "a"), note(2, "a"))],
        [change(note(1, "a"), note(2, "a")), change(note(2, "b"), note(1, "b"))],
        [change(None, note(1, "a"), table="public.others"), change(note(1, "a"), None, table="public.others")],
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_stays_as_it_is(made: list[Change]):
    """Rows of a table without a known key, and those whose keys pass from one to another."""
    assert net(made, KEYS) == made


def test_a_row_that_takes_the_key_of_another_changes_once():
    """What was done to the other one stays before that."""
    gone, moved, after = (
        change(note(2, "b"), None),
        change(note(1, "a"), note(2, "a")),
        change(note(2, "a"), note(2, "c")),
    )
    assert net([gone, moved, after], KEYS) == [gone, change(note(1, "a"), note(2, "c")), None]
    assert net([moved, after, change(None, note(1, "n"))], KEYS) == [
        change(note(1, "a"), note(2, "c")),
        None,
        change(None, note(1, "n")),
    ]


def test_a_row_with_another_key_in_between_changes_once():
    """However its changes are found to be of one row: the first and the last may have no key in common."""
    made = [
        change(note(1, "a"), note(2, "a")),
        change(None, note(7, "x")),
        change(note(2, "a"), note(3, "b")),
        change(note(3, "b"), note(4, "b")),
        change(note(7, "x"), note(7, "y")),
    ]
    assert net(made, KEYS) == [
        change(note(1, "a"), note(4, "b")),
        change(None, note(7, "y")),
        None,
        None,
        None,
    ]


def test_a_row_that_gets_another_key_leaves_the_others_one_change():
    """Else who may see a row between two statements alone would be shown it."""
    between, after = change(None, note(3, "a")), change(note(3, "a"), note(3, "b"))
    moved = change(note(1, "a"), note(2, "a"))
    whole, rest, left = net([between, moved, after], KEYS)
    assert whole is not None
    assert (whole.action, whole.new) == ("INSERT", note(3, "b"))
    assert rest is not None
    assert (rest.old, rest.new) == (note(1, "a"), note(2, "a"))
    assert left is None


ANN = Principal(role="authenticated", user_id="ann", claims_json="{}")
LOOKUPS = {"public.seats"}


def seat(person: str) -> Change:
    return change(None, {"room": 1, "person": person}, table="public.seats")


def told(
    action: Any, old: dict[str, Any] | None, new: dict[str, Any] | None, *, announced: Any = None
) -> Deliver:
    event = RowEvent(
        table="public.notes",
        new=new,
        old=old,
        key={"id": 1},
        dialog_id="a",
        dialog_column="body",
        commit_timestamp="t",
        received_s=0,
        announced=announced,
    )
    return Deliver(event, (Delivery(view=View(action=action, columns=None), principals=[ANN]),))


def ended(*made: tuple[Change, list[Effect]], txid: str = "7") -> list[list[Effect]]:
    """Let the changes of look-up rows count, and tell of all of them."""
    begun, moves = [], 0
    for one, effects in made:
        moves += one.table in LOOKUPS
        begun.append(Begun(msgspec.structs.replace(one, txid=txid), effects, moves))
    return committed(begun, [effects for _, effects in made], KEYS, LOOKUPS)


def test_a_row_that_comes_into_sight_is_shown_as_the_transaction_leaves_it():
    """Who is let in by it never saw what it replaces; what it deletes does not come."""
    shown = told("INSERT", None, note(1, "a"), announced="INSERT")
    update = change(note(1, "a"), note(1, "b"))
    ((came,), _) = ended((seat("ann"), [shown]), (update, []))
    assert isinstance(came, Deliver)
    assert (came.event.new, came.event.dialog_id) == (note(1, "b"), "b")
    assert ended((seat("ann"), [shown]), (change(note(1, "a"), None), [])) == [[], []]
    assert ended((seat("ann"), [shown]), (change(note(1, "a"), note(2, "a")), [])) == [[Resync((ANN,))], []]
    assert ended((seat("ann"), [shown]), (change(note(2, "a"), note(2, "b")), [])) == [[shown], []]
    assert ended((seat("ann"), [shown]), (update, []), txid="") == [[shown], []]


def test_the_row_before_is_shown_to_nobody_whom_the_same_transaction_let_in():
    """They are not told apart from those who had it: an UPDATE does without."""
    seen = told("UPDATE", note(1, "a"), note(1, "b"))
    update = change(note(1, "a"), note(1, "b"))
    (_, (after,)) = ended((seat("ann"), []), (update, [seen]))
    assert isinstance(after, Deliver)
    assert [d.view.hides_old for d in after.deliveries] == [True]
    later = change(note(2, "a"), note(2, "b"))
    assert ended((update, [seen]), (seat("ann"), []), (later, []))[0] == [seen]
    (*_, (last,)) = ended((later, []), (seat("ann"), []), (update, [seen]))
    assert isinstance(last, Deliver)
    assert [d.view.hides_old for d in last.deliveries] == [True]
    assert ended((seat("ann"), []), (update, [seen]), txid="")[1] == [seen]


class Waiting:
    """A source of which the test says what is there."""

    def __init__(self, *events: Any) -> None:
        self.events = list(events)

    def take(self) -> Any:
        return None

    async def rest(self, _txid: str) -> Any:
        return self.events.pop(0) if self.events else None


async def test_a_transaction_ends_where_the_stream_says_so():
    """What follows is left where it is, also if it has not come yet."""
    first, last = (msgspec.structs.replace(change(None, note(n, "a")), last=n == 2) for n in (1, 2))
    source: Any = Waiting(last, Live())
    assert await whole_transaction(first, source) == ([first, last], None)
    assert source.events == [Live()]


async def test_a_transaction_ends_where_nothing_more_comes():
    """Or with whatever is of another one, which is handed on."""
    first, second = (change(None, note(n, "a")) for n in (1, 2))
    other = msgspec.structs.replace(second, txid="8")
    quiet: Any = Waiting(second)
    busy: Any = Waiting(second, other)
    assert await whole_transaction(first, quiet) == ([first, second], None)
    assert await whole_transaction(first, busy) == ([first, second], other)
