"""Past events by who may experience them."""

from collections.abc import Mapping

import pytest

from bridge.clock import ManualClock
from bridge.events import Principal, RowEvent
from bridge.fanout import index as module
from bridge.fanout.history import History
from bridge.fanout.index import Users
from bridge.position import Position
from tests.support.events import ANN, BOB, message

ANON = Principal(role="anon", user_id=None)


class Members:
    """Who sees the rows of a dialog, and how often that was asked."""

    def __init__(self) -> None:
        self.of: dict[str | None, Users] = {"d1": {"ann"}, "d2": {"bob"}, "open": None}
        self.asked = 0

    def __call__(self, event: RowEvent) -> Mapping[str, Users] | None:
        self.asked += 1
        return None if event.dialog_id == "?" else {ANN.role: self.of[event.dialog_id]}


def filled(*dialogs: str) -> tuple[History, Members, ManualClock]:
    clock, members = ManualClock(), Members()
    history = History(keep_s=60, clock=clock, audience=members)
    history.begin("e", Position(0))
    history.open()
    for dialog in dialogs:
        add(history, dialog)
    return history, members, clock


def add(history: History, dialog: str) -> None:
    n = history.moment + 1
    history.advance(n, str(n))
    history.append(message(n, dialog=dialog))


def given(history: History, principal: Principal, cursor: str = "e-0") -> list[int]:
    entries = history.since(cursor, principal, history.moment)
    assert entries is not None
    return [entry.id for entry in entries]


def test_each_is_given_what_may_be_theirs_and_each_event_is_asked_about_once():
    """However many come back: rows that anybody may see, or of whom nothing is known, come to all."""
    history, members, _ = filled("d1", "d2", "open", "?", "d1")
    assert (given(history, ANN), given(history, BOB)) == ([1, 3, 4, 5], [2, 3, 4])
    assert given(history, ANN, "e-3") == [4, 5]
    assert members.asked == 5
    add(history, "d1")
    assert (given(history, ANN, "e-4"), members.asked) == ([5, 6], 6)


def test_who_has_no_id_is_given_everything():
    """The index is by user."""
    assert given(filled("d1", "d2")[0], ANON) == [1, 2]


def test_whose_sight_moved_is_given_everything_until_then():
    """What was found out before may lack what they see now; all of a role: it is found out again."""
    history, members, _ = filled("d1", "d2")
    assert given(history, BOB) == [2]
    members.of["d1"] = {"ann", "bob"}
    history.shift(BOB.role, [BOB.user_id])
    add(history, "d2")
    add(history, "d1")
    assert given(history, BOB) == [1, 2, 3, 4]
    assert given(history, ANN) == [1, 4]
    members.of["d2"] = {"ann"}
    history.shift(ANN.role, None)
    assert (given(history, ANN), given(history, BOB)) == ([1, 2, 3, 4], [1, 4])


def test_what_is_gone_from_the_history_is_gone_from_the_index():
    """And who moved before all that is left."""
    history, _, clock = filled("d1", "open")
    given(history, ANN)
    history.shift(ANN.role, [ANN.user_id])
    clock.advance(61)
    add(history, "d2")
    assert given(history, BOB, "e-2") == [3]
    index = history._index
    assert (len(index._filed), list(index._of), index._moved) == (1, [(BOB.role, "bob")], {})


def test_a_part_is_filed_at_a_time():
    """So that others have their turn, while much of the past is looked at."""
    history, members, _ = filled(*["d1"] * 5)
    assert [history.file(2), members.asked] == [False, 2]
    assert [history.file(2), members.asked] == [False, 4]
    assert [history.file(2), history.file(2), members.asked] == [True, True, 5]


@pytest.mark.parametrize("limit", ["MAX_NAMED", "MAX_BYTES"])
def test_what_is_filed_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str):
    """A dialog of very many users is filed once for all of the role, and nobody lacks any of it."""
    history, members, clock = filled("d1", "d2")
    assert given(history, BOB) == [2]
    monkeypatch.setattr(module, limit, 1)
    members.of["d1"] = {"ann", "cat"}
    add(history, "d1")
    assert (given(history, ANN), given(history, BOB)) == ([1, 3], [2, 3])
    clock.advance(61)
    add(history, "open")
    assert given(history, ANN, "e-3") == [4]
    index = history._index
    assert (len(index._of), index._bytes) == (1, module._USER_BYTES + module._NAME_BYTES)
