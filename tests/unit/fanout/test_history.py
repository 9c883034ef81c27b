"""The latest events: bounded three ways, found by cursor."""

from typing import Any

import pytest

from bridge.clock import ManualClock
from bridge.events import Principal, RowEvent
from bridge.fanout import history as module
from bridge.fanout.history import History
from bridge.position import Position
from tests.support.events import ANN, BOB, message


def filled(count: int = 3) -> tuple[History, ManualClock]:
    clock = ManualClock()
    history = History(keep_s=60, clock=clock)
    history.begin("e", Position(0))
    history.open()
    for n in range(1, count + 1):
        add(history, n)
    return history, clock


def add(history: History, n: int, position: str = "", **fields: Any) -> None:
    history.advance(n, position or str(n))
    history.append(message(n, **fields))


def keys(
    history: History, cursor: str, principal: Principal = ANN, *, here_since: int = 0
) -> list[int] | None:
    entries = history.since(cursor, principal, here_since)
    return None if entries is None else [e.what.key["id"] for e in entries if isinstance(e.what, RowEvent)]


def test_a_cursor_finds_what_came_after_it():
    """Oldest first; the newest cursor finds nothing, and that is complete."""
    history, _ = filled()
    assert keys(history, "e-0") == [1, 2, 3]
    assert keys(history, "e-2") == [3]
    assert keys(history, history.cursor) == []
    assert len(history) == 3


@pytest.mark.parametrize("cursor", ["", "e-", "e-4", "e--1", "f-1", "1", "e-x", "e-²", "e-" + "9" * 30, "-1"])
def test_a_cursor_that_is_not_known_finds_nothing(cursor: str):
    """Of another process, of the future, or nonsense."""
    assert keys(filled()[0], cursor) is None


def test_events_are_kept_for_their_time():
    """The cursor just before the oldest that is left still works; earlier ones do not."""
    history, clock = filled(2)
    clock.advance(61)
    add(history, 3)
    assert keys(history, "e-1") is None
    assert keys(history, "e-2") == [3]


@pytest.mark.parametrize(("limit", "value"), [("MAX_EVENTS", 2), ("MAX_BYTES", 2500)])
def test_events_are_bounded_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch, limit: str, value: int):
    """The oldest go first."""
    monkeypatch.setattr(module, limit, value)
    history, _ = filled(5)
    assert len(history) == 2
    assert (keys(history, "e-2"), keys(history, "e-3")) == (None, [4, 5])


def test_text_counts_twice_in_the_size(monkeypatch: pytest.MonkeyPatch):
    """A row of 10,000 letters takes the place of many small ones."""
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    history, _ = filled(2)
    add(history, 3, body="x" * 10_000)
    assert keys(history, "e-2") is None


def test_a_json_column_counts_with_all_that_it_holds(monkeypatch: pytest.MonkeyPatch):
    """Text, names, lists and numbers, however deep; so rows of json cannot exceed the bound unseen."""
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    for json_value in (["x" * 10_000], {"a": {"b": "x" * 10_000}}, {"x" * 10_000: None}, [1] * 400):
        history, _ = filled(2)
        add(history, 3, new={"id": 3, "body": json_value})
        assert keys(history, "e-2") is None, type(json_value)


def test_forgetting_leaves_no_cursor_that_works():
    """Not even the newest one: something may be missing after it.  A new beginning starts a new version."""
    history, _ = filled()
    newest = history.cursor
    history.forget()
    assert (keys(history, newest), len(history)) == (None, 0)
    assert keys(history, history.cursor) is None
    history.begin("f", Position(3))
    assert keys(history, history.cursor) is None
    history.open()
    assert (keys(history, newest), keys(history, history.cursor), keys(history, "f-2")) == (None, [], None)


def test_who_had_to_read_again_meanwhile_cannot_resume_from_before():
    """With whatever claims it comes back; others can, and so can it from later."""
    history, _ = filled()
    history.mark(ANN.role, [ANN.user_id], told=False)
    add(history, 4)
    elsewhere = Principal(role=ANN.role, user_id=ANN.user_id, claims_json='{"org":1}')
    assert keys(history, "e-2") is None
    assert keys(history, "e-2", elsewhere, here_since=99) is None
    assert keys(history, "e-2", BOB) == [3, 4]
    assert keys(history, "e-3") == [4]
    history.mark(ANN.role, None, told=False)
    assert (keys(history, "e-3", BOB), keys(history, "e-4", BOB)) == (None, [])


def test_who_was_here_was_told_and_who_comes_later_was_not():
    """A look-up row changes: what that did is announced to those who are here, nobody knows of the others."""
    history, _ = filled()
    early = history.moment
    history.advance(4, "4")
    history.mark(ANN.role, [ANN.user_id], told=True)
    assert keys(history, "e-3", here_since=early) == []
    assert keys(history, "e-3", here_since=history.moment) is None
    assert keys(history, "e-3", BOB, here_since=history.moment) == []


def test_a_hole_in_a_cursor_is_filled_and_nothing_comes_twice():
    """What was late is found although its id is the smallest, and what was seen before it is not sent again."""
    history = filled(0)[0]
    for n, position in ((1, "1"), (4, "4.1-1"), (3, "4.2"), (2, "4"), (5, "5")):
        add(history, n, position)
    assert keys(history, "e-1") == [4, 3, 2, 5]
    assert keys(history, "e-4.1-1") == [3, 2, 5]
    assert keys(history, "e-4.2") == [2, 5]
    assert keys(history, "e-4.1") == [3, 5]  # of another worker, which heard of them the other way round
    assert keys(history, "e-4") == [5]


@pytest.mark.parametrize("open_for", [0, 1000])
def test_a_hole_that_stays_open_costs_no_cursor(open_for: int):
    """A transaction that takes an hour has an id that is older than all that is kept."""
    history, clock = filled(2)
    for n in range(4, 6 + open_for):
        add(history, n, f"{n}.{n - 3}")
    clock.advance(61)
    last = 7 + open_for
    add(history, last, f"{last}.1.{last - 4}")
    assert keys(history, f"e-{last - 2}.{last - 5}") == [last]
    add(history, 3, f"{last}.1")
    assert keys(history, f"e-{last - 2}.{last - 5}") == [last, 3]


def test_a_cursor_that_names_too_few_holes_is_an_earlier_one():
    """Position.text() leaves out the rest when there are many; what was evicted is never taken for less."""
    history, clock = filled(1)
    for n in range(3, 305, 2):
        history.advance(n, position := Position(n, [(k, k) for k in range(2, n, 2)]).text())
        history.append(message(n))
    assert position == "1"
    assert keys(history, "e-1") == list(range(3, 305, 2))
    clock.advance(61)
    add(history, 305, "305.1")
    assert keys(history, "e-1") is None


def test_a_cursor_of_a_faster_worker_may_yet_come():
    """And any but one of a single process may while this one has not begun."""
    history, _ = filled()
    assert (history.may_come("e-4"), history.may_come("e-3"), history.may_come("f-9")) == (True, False, False)
    history.forget()
    assert (history.may_come("e-4"), history.may_come("t1-4")) == (True, False)


def test_what_may_come_twice_has_the_cursor_of_the_change_before():
    """Several events of one change: who is cut off between them gets them again."""
    history, _ = filled(2)
    history.advance(3, "3")
    assert history.append(message(3), is_last=False).cursor == "e-2"
    assert history.append(message(3)).cursor == "e-3"
    assert keys(history, "e-2") == [3, 3]


def test_a_beginning_with_many_holes_claims_nothing_that_is_gone():
    """Its text names an earlier position; what is kept begins where it begins."""
    history = filled(0)[0]
    history.begin("e", Position(500, [(n, n) for n in range(100, 400, 2)]))
    history.open()
    add(history, 501)
    assert keys(history, "e-99") is None
    assert keys(history, "e-450") is None
    assert keys(history, "e-500") == [501]


def test_a_late_mark_reaches_who_has_everything():
    """It is of changes that were sent before: no cursor tells whether its user knows it."""
    history, _ = filled()
    history.mark(ANN.role, [ANN.user_id], told=False, late=True)
    assert (keys(history, "e-3"), keys(history, "e-3", BOB)) == (None, [])
    add(history, 4)
    assert keys(history, "e-4") == []


def test_an_old_hole_is_looked_up_and_not_walked_to():
    """However many entries lie between: a transaction that runs on must not make every resume slow."""
    history = filled(0)[0]
    for n in (1, 2, *range(4, 3000)):
        add(history, n, f"{n}.{n - 3}" if n > 3 else "")
    assert keys(history, "e-2990.2987") == list(range(2991, 3000))
    seen = Position(2990, [(3, 3)])
    looked_at = [*module._after(history._entries, seen), *history._in_holes(seen)]
    assert len(looked_at) <= 11
    add(history, 3, "2999")
    assert keys(history, "e-2990.2987") == [*range(2991, 3000), 3]
    assert keys(history, "e-2999.2996") == [3]
