"""The latest events: bounded three ways, found by cursor."""

import pytest

from bridge.clock import ManualClock
from bridge.events import Principal
from bridge.fanout import history as module
from bridge.fanout.history import History
from tests.support.events import ANN, BOB, message


def filled(count: int = 3) -> tuple[History, ManualClock]:
    clock = ManualClock()
    history = History(keep_s=60, epoch="e", clock=clock)
    for n in range(1, count + 1):
        history.append(message(n))
    return history, clock


def keys(history: History, cursor: str, principal: Principal = ANN) -> list[int] | None:
    entries = history.since(cursor, principal)
    return None if entries is None else [e.event.key["id"] for e in entries if e.event is not None]


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
    history.append(message(3))
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
    history.append(message(3, body="x" * 10_000))
    assert keys(history, "e-2") is None


def test_a_json_column_counts_with_all_that_it_holds(monkeypatch: pytest.MonkeyPatch):
    """Text, names, lists and numbers, however deep; so rows of json cannot exceed the bound unseen."""
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    for json_value in (["x" * 10_000], {"a": {"b": "x" * 10_000}}, {"x" * 10_000: None}, [1] * 400):
        history, _ = filled(2)
        history.append(message(3, new={"id": 3, "body": json_value}))
        assert keys(history, "e-2") is None, type(json_value)


def test_forgetting_leaves_no_cursor_that_works():
    """Not even the newest one: something may be missing after it."""
    history, _ = filled()
    newest = history.cursor
    history.forget()
    assert (keys(history, newest), len(history)) == (None, 0)
    assert keys(history, history.cursor) == []


def test_who_had_to_read_again_meanwhile_cannot_resume_from_before():
    """With whatever claims it comes back; others can, and so can it from later."""
    history, _ = filled()
    history.mark_resync([ANN])
    history.append(message(4))
    elsewhere = Principal(role=ANN.role, user_id=ANN.user_id, claims_json='{"org":1}')
    assert keys(history, "e-3") is None
    assert keys(history, "e-3", elsewhere) is None
    assert keys(history, "e-3", BOB) == [4]
    assert keys(history, "e-4") == [4]


def test_marks_older_than_the_history_are_dropped():
    """No cursor reaches back to them, so they need not be kept."""
    history, clock = filled()
    history.mark_resync([ANN])
    clock.advance(61)
    history.append(message(5))
    history.mark_resync([BOB])
    assert len(history._resynced) == 1
