"""Effects of one change after the other: what is remembered between them, and what is forgotten."""

import pytest

from bridge import metrics
from bridge.authorization import settling as module
from bridge.authorization.asking import Answer, Questions
from bridge.authorization.experience import NOBODY, Effect, Resync, Sees, Share, Shares
from bridge.authorization.grounds import Grounds
from bridge.authorization.roster import Roster
from bridge.authorization.settling import Pending, Settler
from bridge.authorization.shaping import Shaper
from bridge.authorization.sightings import Sighting
from bridge.clock import ManualClock
from bridge.events import Action, Change, Principal, Row
from tests.support.catalogs import ANN, BOB, user

ann, bob = user(ANN), user(BOB)
TABLE = "public.notes"
KEYS = {TABLE: ("id",)}
OTHER_TABLES = Grounds(row_only=False, hidden_by=frozenset({"DELETE"}))


def settler() -> Settler:
    shaper = Shaper(keys=KEYS, dialog_columns={})
    return Settler(shaper, Roster(linger_s=60, clock=ManualClock()), dialog_table="", keys=KEYS)


def pending(
    action: Action,
    number: int,
    *,
    old: Row | None = None,
    sees: Sees | None = None,
    unsure: tuple[Principal, ...] = (),
) -> Pending:
    """A change of a note; Postgres has been asked."""
    new = None if action == "DELETE" else {"id": number}
    share = Share(columns=None, old_unknown=False, sees=sees or NOBODY, unsure=unsure)
    if old is not None:
        share.saw = Sees(sighting=Sighting([ann]))
    return Pending(
        change=Change(table=TABLE, action=action, new=new, old=old, commit_timestamp="t", received_s=0.0),
        shares=Shares(key=old or {"id": number}, old=old, of_roles=[share]),
        shifts=(),
        others=(),
        moved=(),
        questions=Questions(),
    )


def asked(*seeing: Principal, current: bool) -> Sees:
    answer = Answer(seeing, (ann, bob), is_current=current)
    return Sees(sighting=Sighting((), (ann, bob)), answer=answer, grounds=OTHER_TABLES)


def heard(effects: list[Effect]) -> list[tuple[str, list[Principal]]]:
    (deliver,) = (effect for effect in effects if not isinstance(effect, Resync))
    return [(d.view.action, list(d.principals)) for d in deliver.deliveries]


def test_a_row_that_was_passed_over_is_new_when_it_is_told() -> None:
    """Under its key of then: an UPDATE may change that."""
    made = settler()
    assert heard(made.settle(pending("INSERT", 1, sees=asked(ann, current=False)))) == []
    moved = made.settle(pending("UPDATE", 2, old={"id": 1}, sees=asked(ann, current=False)))
    assert heard(moved) == []
    shown = made.settle(pending("UPDATE", 2, old={"id": 2}, sees=asked(ann, current=True)))
    assert heard(shown) == [("INSERT", [ann])]
    again = made.settle(pending("UPDATE", 2, old={"id": 2}, sees=asked(ann, current=True)))
    assert heard(again) == [("UPDATE", [ann])]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first: its next version is an UPDATE then, which does no harm."""
    monkeypatch.setattr(module, "UNTOLD_ROWS", 2)
    made = settler()
    for number in (1, 2, 3):
        made.settle(pending("INSERT", number, sees=asked(ann, current=False)))
    made.settle(pending("DELETE", 3, old={"id": 3}))
    told = [
        heard(made.settle(pending("UPDATE", n, old={"id": n}, sees=asked(ann, current=True)))) for n in (1, 2)
    ]
    assert told == [[("UPDATE", [ann])], [("INSERT", [ann])]]
    assert not made._untold


def test_what_may_have_been_missed_is_counted_and_said() -> None:
    """Once for each change, to those whom it may concern."""
    counter = metrics.UNDELIVERABLE.labels(TABLE, "old_viewers_unknown")
    before = counter._value.get()
    effects = settler().settle(pending("DELETE", 1, old={"id": 1}, unsure=(bob,)))
    assert heard(effects) == [("DELETE", [ann])]
    assert effects[1:] == [Resync((bob,), may_wait=True)]
    assert counter._value.get() == before + 1


def test_who_was_not_told_of_in_time_gets_nothing() -> None:
    """Of the change that was asked about; the others do."""
    one = pending("UPDATE", 1, old={"id": 1}, sees=Sees(sighting=Sighting([bob])))
    answer = one.questions.add(TABLE, {"id": 1}, [ann])
    answer.is_late = True
    assert one.late == {ann}
    assert heard(settler().settle(one)) == [("INSERT", [bob])]
