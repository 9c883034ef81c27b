"""What users experience, once it is known who saw a row before and who sees it after."""

import pytest

from bridge.authorization.asking import Answer
from bridge.authorization.effects import Probe
from bridge.authorization.experience import NOBODY, Sees, Share, Shares, Shift
from bridge.authorization.grounds import Grounds
from bridge.authorization.shaping import Shaper
from bridge.authorization.sightings import Sighting
from bridge.events import Action, Change, Principal, View
from tests.support.catalogs import ANN, BOB, CAT, planset, table, user

ann, bob, cat = user(ANN), user(BOB), user(CAT)
COLUMNS = frozenset({"id"})


def seeming(*principals: Principal) -> Sees:
    """The row's JSON does not tell what decides: these likely see it, of all that were asked about."""
    answer = Answer((), (ann, bob, cat), seems=principals, is_current=False)
    return Sees(Sighting((), (ann, bob, cat)), answer)


def told(share: Share) -> dict[Action, set[Principal]]:
    return {d.view.action: set(d.principals) for d in share.deliveries(set())}


def test_those_who_saw_and_those_who_see() -> None:
    """INSERT for who sees it now only, DELETE for who saw it before only; Postgres's answers count as well."""
    share = Share(
        columns=COLUMNS,
        saw=Sees(sighting=Sighting([ann], [bob]), answer=Answer([bob], [bob])),
        sees=Sees(sighting=Sighting([cat], [bob]), answer=Answer([bob], [bob])),
        old_unknown=False,
    )

    assert told(share) == {"UPDATE": {bob}, "INSERT": {cat}, "DELETE": {ann}}
    assert all(delivery.view.columns == COLUMNS for delivery in share.deliveries(set()))


def test_an_audience_that_stays_the_same_is_handed_on_as_it_is() -> None:
    """An UPDATE of a row that the same people see: fan-out knows their outboxes by this very tuple."""
    audience = (ann, bob)
    share = Share(
        columns=None, saw=Sees(Sighting((ann, bob))), sees=Sees(Sighting(audience)), old_unknown=False
    )

    (delivery,) = share.deliveries(set())

    assert (delivery.view.action, delivery.principals is audience) == ("UPDATE", True)


def test_who_only_seems_to_see_the_row_is_told_that_it_went() -> None:
    """But never shown it: the table has another row by now, whose change tells them."""
    share = Share(
        columns=None,
        saw=Sees(Sighting([ann], [bob, cat]), Answer((), (bob, cat), seems=(bob, cat), is_current=False)),
        sees=seeming(ann, bob),
        old_unknown=False,
    )
    assert told(share) == {"DELETE": {cat}}


def test_who_seemed_to_see_a_row_that_was_not_shown_has_the_next_version_as_a_new_one() -> None:
    """Of the row before it is said again that they likely saw it: nobody has told them, though."""
    untold: set[Principal] = set()
    first = Share(columns=None, sees=seeming(ann, bob), old_unknown=False)
    assert (first.deliveries(untold), untold) == ([], {ann, bob})
    second = Share(columns=None, saw=seeming(ann, bob), sees=Sees(Sighting([ann])), old_unknown=False)
    assert [(d.view.action, d.principals) for d in second.deliveries(untold)] == [
        ("INSERT", [ann]),
        ("DELETE", [bob]),
    ]


def test_an_unknown_row_before_is_an_update() -> None:
    """For those who see it now: they cannot be harmed by it."""
    share = Share(columns=None, sees=Sees(sighting=Sighting([ann])), old_unknown=True)

    assert told(share) == {"UPDATE": {ann}}


@pytest.mark.parametrize("row_only", [True, False])
def test_the_row_before_is_shown_to_those_who_saw_it_for_certain(*, row_only: bool) -> None:
    """Not to those of whom nobody knows, nor by what Postgres says of other tables as they are now."""
    dan = user("dd000000-0000-4000-8000-000000000000")
    certain = {ann, bob} if row_only else {ann}

    def shown(asked: Answer, *sees: Principal) -> dict[View, set[Principal]]:
        share = Share(
            columns=None,
            saw=Sees(Sighting([ann], list(asked.asked)), asked),
            sees=Sees(Sighting(sees)),
            unsure=[dan],
            old_unknown=False,
            row_only=row_only,
        )
        return {d.view: set(d.principals) for d in share.deliveries(set())}

    whole, hidden = View(action="UPDATE"), View(action="UPDATE", hides_old=True)
    assert shown(Answer([bob], [bob]), ann, bob, dan) == {whole: certain, hidden: {ann, bob, dan} - certain}
    assert shown(Answer([], [cat], seems=[cat]), ann, cat) == {whole: {ann}, hidden: {cat}}


def test_nobody_is_told_nothing() -> None:
    """The event is there nonetheless: history keeps it."""
    share = Share(columns=None, old_unknown=False)
    change = Change(
        table="public.rooms",
        action="INSERT",
        new={"id": 1},
        old=None,
        commit_timestamp="2026-01-01T10:00:00.000Z",
        received_s=0.0,
    )
    shaper = Shaper(keys={"public.rooms": ("id",)}, dialog_columns={"public.rooms": "id"})
    found = Shares(key={"id": 1}, old=None, of_roles=[share]).deliver(shaper, change, set())

    assert (found.deliveries, found.event.dialog_id) == ((), "1")


def shift(
    saw: Sighting, sees: Sighting, answer: Answer | None = None, shown: list[Principal] | None = None
) -> Shift:
    plan = planset(table("rooms"), watched=["rooms"]).plans["public.rooms", "authenticated"]
    probe = Probe(plan=plan, row={"id": 1}, is_key=True, users=None)
    return Shift(
        probe=probe,
        row={"id": 1},
        saw=saw,
        shown=saw.sees if shown is None else shown,
        sees=Sees(sees, answer),
    )


def test_who_gained_sight_and_who_lost_it() -> None:
    """By memory, or as Postgres says of the row as it is now."""
    assert shift(Sighting([ann]), Sighting([bob], [cat]), Answer([cat], [cat])).settle() == (
        [bob, cat],
        [ann],
    )
    assert shift(Sighting([ann]), Sighting([ann], [bob]), Answer([], [bob])).settle() == ([], [])


def test_who_may_have_seen_it_is_told_nothing_of_the_row() -> None:
    """It is not known what changed for them: they read again, unless it is not known now either."""
    found = shift(Sighting([], [ann, bob]), Sighting([ann], [bob]))

    assert found.settle() == ([], [])
    assert found.doubtful == [ann]


def test_who_only_seems_to_see_a_row_that_a_membership_shows_reads_again() -> None:
    """It may have come into sight, or left it."""
    found = shift(
        Sighting([ann]), Sighting([], [ann, bob]), Answer([], [ann, bob], seems=[ann, bob], is_current=False)
    )

    assert (found.settle(), found.doubtful) == (([], []), [ann, bob])


def test_a_row_that_was_never_known_is_withdrawn_from_all_who_may_have_been_shown_it() -> None:
    """Too much does no harm; who sees it still keeps it."""
    assert shift(Sighting([]), Sighting([bob]), shown=[ann, bob]).settle() == ([bob], [ann])


OTHER_TABLES = Grounds(row_only=False, hidden_by=frozenset())
OWN_TABLE = Grounds(row_only=False, hidden_by=frozenset({"UPDATE", "DELETE"}))


def asked(grounds: Grounds, *seeing: Principal, current: bool) -> Sees:
    """Everybody was asked about; the answer names ``seeing``."""
    answer = Answer(seeing, (ann, bob, cat), is_current=current)
    return Sees(sighting=Sighting((), (ann, bob, cat)), answer=answer, grounds=grounds)


def test_a_version_that_is_gone_is_shown_to_nobody() -> None:
    """Those who may see the row as it is now are told of it with its next version, as of a new one."""
    untold: set[Principal] = set()
    first = Share(columns=None, old_unknown=False, sees=asked(OTHER_TABLES, ann, bob, current=False))
    assert (first.deliveries(untold), untold) == ([], {ann, bob})

    before = Sees(sighting=Sighting([ann, bob]))
    second = Share(columns=None, old_unknown=False, saw=before, sees=asked(OTHER_TABLES, ann, current=True))
    assert {d.view.action: list(d.principals) for d in second.deliveries(untold)} == {
        "INSERT": [ann],
        "DELETE": [bob],
    }
    assert untold == {bob}


def test_of_a_version_that_is_gone_only_the_loss_is_told() -> None:
    """Who still sees the row keeps what it has until the next version comes."""
    share = Share(
        columns=None,
        old_unknown=False,
        saw=Sees(sighting=Sighting([ann, bob])),
        sees=asked(OTHER_TABLES, ann, current=False),
    )
    assert told(share) == {"DELETE": {bob}}


def test_who_cannot_be_asked_about_may_have_missed_something() -> None:
    """Unless it sees the row, or may see a version that is to come."""
    share = Share(
        columns=None,
        old_unknown=False,
        unsure=(ann, bob, cat),
        sees=asked(OWN_TABLE, ann, current=True),
    )
    assert (told(share), share.missed) == ({"UPDATE": {ann}}, [bob, cat])
    share.sees = asked(OWN_TABLE, ann, current=False)
    assert (told(share), share.missed) == ({}, [])
    share.sees = NOBODY
    assert (told(share), share.missed) == ({}, [ann, bob, cat])


@pytest.mark.parametrize("current", [True, False])
def test_a_row_that_has_changed_again_is_not_announced(current: bool) -> None:  # noqa: FBT001
    """A membership does not show what is gone, and does not withdraw what may still be seen."""
    found = shift(Sighting([bob]), Sighting([], [ann, bob]))
    answer = Answer([ann, bob], [ann, bob], is_current=current)
    found.sees = Sees(found.sees.sighting, answer, OTHER_TABLES)

    assert found.settle() == (([ann], []) if current else ([], []))
    assert found.untold == (set() if current else {ann})
