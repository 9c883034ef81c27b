"""What users experience, once it is known who saw a row before and who sees it after."""

import msgspec
import pytest

from bridge.authorization.asking import Answer
from bridge.authorization.effects import Probe, Sighting
from bridge.authorization.experience import Decision, Share, Shares, Shift
from bridge.authorization.shaping import Shaper
from bridge.events import Action, Change, Principal, Row, RowEvent, View
from tests.support.catalogs import ANN, BOB, CAT, planset, table, user

ann, bob, cat = user(ANN), user(BOB), user(CAT)
COLUMNS = frozenset({"id"})
EVENT = RowEvent(
    table="public.rooms",
    new={"id": 1},
    old={"id": 1},
    key={"id": 1},
    dialog_id="1",
    old_dialog_id=None,
    commit_timestamp="2026-01-01T10:00:00.000Z",
    received_s=0.0,
)


def told(share: Share) -> dict[Action, set[Principal]]:
    return {d.view.action: set(d.principals) for d in share.deliveries()}


def test_those_who_saw_and_those_who_see() -> None:
    """INSERT for who sees it now only, DELETE for who saw it before only; Postgres's answers count as well."""
    share = Share(
        columns=COLUMNS,
        saw=Sighting([ann], [bob]),
        sees=Sighting([cat], [bob]),
        saw_answer=Answer([bob]),
        sees_answer=Answer([bob]),
        old_unknown=False,
    )

    assert told(share) == {"UPDATE": {bob}, "INSERT": {cat}, "DELETE": {ann}}
    assert all(delivery.view.columns == COLUMNS for delivery in share.deliveries())


def test_who_only_seems_to_see_the_row_is_told_that_it_went() -> None:
    """But never shown it: the table has another row by now, whose change tells them."""
    share = Share(
        columns=None,
        saw=Sighting([ann], [bob, cat]),
        sees=Sighting([], [ann, bob, cat]),
        saw_answer=Answer([], [bob, cat]),
        sees_answer=Answer([], [ann, bob]),
        old_unknown=False,
    )
    assert told(share) == {"DELETE": {cat}}

    seems = Answer([], [ann])
    gone = msgspec.structs.replace(EVENT, new=None)
    assert Decision(event=EVENT, columns=None, sees_new=seems, saw_old=Answer([ann])).view() is None
    assert Decision(event=gone, columns=None, saw_old=seems).view() == View(action="DELETE", columns=None)


def test_an_unknown_row_before_is_an_update() -> None:
    """For those who see it now: they cannot be harmed by it."""
    share = Share(columns=None, saw=Sighting([]), sees=Sighting([ann]), old_unknown=True)

    assert told(share) == {"UPDATE": {ann}}


def test_nobody_is_told_nothing() -> None:
    """The event is there nonetheless: history keeps it."""
    share = Share(columns=None, saw=Sighting([]), old_unknown=False)
    change = Change(
        table="public.rooms",
        action="INSERT",
        new={"id": 1},
        old=None,
        commit_timestamp="2026-01-01T10:00:00.000Z",
        received_s=0.0,
    )
    shaper = Shaper(keys={"public.rooms": ("id",)}, dialog_columns={"public.rooms": "id"})
    found = Shares(key={"id": 1}, old=None, of_roles=[share]).deliver(shaper, change)

    assert (found.deliveries, found.event.dialog_id) == ((), "1")


def shift(saw: Sighting, sees: Sighting, answer: Answer, shown: list[Principal] | None = None) -> Shift:
    plan = planset(table("rooms"), watched=["rooms"]).plans["public.rooms", "authenticated"]
    probe = Probe(plan=plan, row={"id": 1}, is_key=True, users=None)
    return Shift(
        probe=probe,
        row={"id": 1},
        saw=saw,
        shown=saw.sees if shown is None else shown,
        sees=sees,
        answer=answer,
    )


def test_who_gained_sight_and_who_lost_it() -> None:
    """By memory, or as Postgres says of the row as it is now."""
    assert shift(Sighting([ann]), Sighting([bob], [cat]), Answer([cat])).settle() == ([bob, cat], [ann])
    assert shift(Sighting([ann]), Sighting([ann], [bob]), Answer([])).settle() == ([], [])


def test_who_may_have_seen_it_is_told_nothing_of_the_row() -> None:
    """It is not known what changed for them: they read again, unless it is not known now either."""
    found = shift(Sighting([], [ann, bob]), Sighting([ann], [bob]), Answer([bob]))

    assert found.settle() == ([], [])
    assert found.doubtful == [ann]


def test_who_only_seems_to_see_a_row_that_a_membership_shows_reads_again() -> None:
    """It may have come into sight, or left it."""
    found = shift(Sighting([ann]), Sighting([], [ann, bob]), Answer([], [ann, bob]))

    assert (found.settle(), found.doubtful) == (([], []), [ann, bob])


def test_a_row_that_was_never_known_is_withdrawn_from_all_who_may_have_been_shown_it() -> None:
    """Too much does no harm; who sees it still keeps it."""
    assert shift(Sighting([]), Sighting([bob]), Answer(), shown=[ann, bob]).settle() == ([bob], [ann])


@pytest.mark.parametrize(
    ("new", "old", "sees", "saw", "action"),
    [
        ({"id": 1}, None, True, False, "INSERT"),
        ({"id": 1}, None, False, False, None),
        ({"id": 1}, {"id": 1}, True, True, "UPDATE"),
        ({"id": 1}, {"id": 1}, True, False, "INSERT"),
        ({"id": 1}, {"id": 1}, False, True, "DELETE"),
        ({"id": 1}, {"id": 1}, False, False, None),
        (None, {"id": 1}, False, True, "DELETE"),
    ],
)
def test_an_event_that_is_replayed(
    new: Row | None,
    old: Row | None,
    sees: bool,  # noqa: FBT001
    saw: bool,  # noqa: FBT001
    action: Action | None,
) -> None:
    """Decided again as of now, for one principal."""
    event = RowEvent(
        **{name: getattr(EVENT, name) for name in EVENT.__struct_fields__} | {"new": new, "old": old}
    )
    decision = Decision(
        event=event,
        columns=COLUMNS,
        sees_new=Answer([ann] if sees else []),
        saw_old=Answer([ann] if saw else []),
    )
    view = decision.view()

    assert (None if view is None else view.action) == action
