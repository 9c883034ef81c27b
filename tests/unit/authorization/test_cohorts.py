"""Cohorts: who has which value, kept current as people come and go and look-up rows change."""

from collections.abc import Collection, Hashable

import pytest

from bridge.authorization.cohorts import Cohort, Cohorts
from bridge.authorization.lookup import LookupTable
from bridge.authorization.reach import Reach
from bridge.authorization.roster import Roster
from bridge.authorization.undecided import UndecidedError
from bridge.clock import ManualClock
from bridge.events import Principal
from tests.support.catalogs import ANN, BOB, CAT

OF_USER = Reach(lookup="profiles", link=(), user_column="id")
OF_ALL = Reach(lookup="settings", link=(), user_column=None)
PROFILES = LookupTable("profiles", primary_key=["id"], columns=["org"])
SETTINGS = LookupTable("settings", primary_key=["id"], columns=[])


def who(user: str | None, claims: str = "{}") -> Principal:
    return Principal(role="authenticated", user_id=user, claims_json=claims)


class Values:
    """What each principal has, and how often it was computed."""

    def __init__(self) -> None:
        self.values: dict[str | None, Collection[Hashable]] = {}
        self.computed: list[Principal] = []

    def __call__(self, principal: Principal) -> Collection[Hashable]:
        self.computed.append(principal)
        found = self.values.get(principal.claims_json, self.values.get(principal.user_id, ()))
        if "open" in found:
            raise UndecidedError("test")
        return found


@pytest.fixture
def roster() -> Roster:
    return Roster(linger_s=10.0, clock=ManualClock())


@pytest.fixture
def values() -> Values:
    return Values()


@pytest.fixture
def cohorts(roster: Roster) -> Cohorts:
    made = Cohorts("authenticated")
    made.meet(roster)
    roster.on_change = made.notice
    return made


@pytest.fixture
def cohort(cohorts: Cohorts, values: Values) -> Cohort:
    return cohorts.add(Cohort(values, (OF_USER, OF_ALL)))


def test_users_are_found_by_their_value(
    cohort: Cohort, cohorts: Cohorts, roster: Roster, values: Values
) -> None:
    """Each computed once, NULL found by nothing, whoever comes later included."""
    values.values = {ANN: [1], BOB: [1, 2], CAT: [None]}
    for user in (ANN, CAT, None):
        roster.add(who(user))
    cohorts.refresh()
    roster.add(who(BOB))
    cohorts.refresh()
    cohorts.refresh()

    assert [set(cohort.users(value)) for value in (1, 2, None, 3)] == [{ANN, BOB}, {BOB}, set(), set()]
    assert sorted(str(p.user_id) for p in values.computed) == sorted(map(str, (ANN, CAT, None, BOB)))


def test_those_who_were_here_first_count(roster: Roster, values: Values) -> None:
    """A cohort of a new catalog meets everybody; those of another role do not count."""
    roster.add(who(ANN))
    roster.add(Principal(role="anon", user_id=None))
    values.values = {ANN: [1], None: [1]}
    cohorts = Cohorts("authenticated")
    cohort = cohorts.add(Cohort(values, ()))
    cohorts.meet(roster)
    cohorts.refresh()

    assert cohort.users(1) == {ANN}


def test_who_has_gone_is_forgotten(cohort: Cohort, cohorts: Cohorts, values: Values) -> None:
    """Once their cursor is too old to resume."""
    clock = ManualClock()
    roster = Roster(linger_s=10.0, clock=clock)
    roster.on_change = cohorts.notice
    cohorts.meet(roster)
    values.values = {ANN: [1]}
    roster.add(who(ANN))
    roster.remove(who(ANN))
    cohorts.refresh()
    assert cohort.users(1) == {ANN}

    clock.advance(11.0)
    roster.expire()
    cohorts.refresh()
    assert cohort.users(1) == set()
    assert (cohort._users, cohort._known) == ({}, {})


def test_a_row_of_a_user_changes_that_user_only(
    cohort: Cohort, cohorts: Cohorts, roster: Roster, values: Values
) -> None:
    """Of the row before and of the row after; a row of somebody who is not here changes nothing."""
    values.values = {ANN: [1], BOB: [1], CAT: [1]}
    for user in (ANN, BOB, CAT):
        roster.add(who(user))
    cohorts.refresh()
    values.computed.clear()
    values.values = {ANN: [2], BOB: [2], CAT: [2]}
    cohorts.row_changed(PROFILES, (ANN, "x"), (BOB, "x"))
    cohorts.row_changed(PROFILES, None, ("somebody else", "x"))
    cohorts.row_changed(LookupTable("other", primary_key=["id"], columns=[]), None, (CAT,))
    assert cohort._stale == {ANN, BOB}
    cohorts.refresh()

    assert {p.user_id for p in values.computed} == {ANN, BOB}
    assert [set(cohort.users(value)) for value in (1, 2)] == [{CAT}, {ANN, BOB}]


def test_a_row_that_concerns_everybody_changes_everybody(
    cohort: Cohort, cohorts: Cohorts, roster: Roster, values: Values
) -> None:
    """Also where nothing tells whose it is."""
    values.values = {ANN: [1], BOB: [2]}
    for user in (ANN, BOB):
        roster.add(who(user))
    cohorts.refresh()
    values.values = {ANN: [2], BOB: []}
    cohorts.row_changed(SETTINGS, (1,), None)
    cohorts.refresh()

    assert [set(cohort.users(value)) for value in (1, 2)] == [set(), {ANN}]


def test_a_value_that_only_postgres_knows(
    cohort: Cohort, cohorts: Cohorts, roster: Roster, values: Values
) -> None:
    """Its user is named apart, until the value is known."""
    values.values = {ANN: ["open"], BOB: [1]}
    for user in (ANN, BOB):
        roster.add(who(user))
    cohorts.refresh()
    assert (set(cohort.undecided), set(cohort.users(1))) == ({ANN}, {BOB})

    values.values = {ANN: [1], BOB: [1]}
    cohorts.row_changed(PROFILES, None, (ANN, "x"))
    cohorts.refresh()
    assert (set(cohort.undecided), set(cohort.users(1))) == (set(), {ANN, BOB})


def test_a_user_with_two_values(cohort: Cohort, cohorts: Cohorts, roster: Roster, values: Values) -> None:
    """Two tokens with other claims: the user is found by both values, and each has to be asked."""
    values.values = {ANN: [1], '{"a":2}': [2], BOB: [1]}
    for principal in (who(ANN), who(ANN, '{"a":2}'), who(BOB), who(BOB, '{"b":0}')):
        roster.add(principal)
    cohorts.refresh()

    assert [set(cohort.users(value)) for value in (1, 2)] == [{ANN, BOB}, {ANN}]
    assert [cohort.is_mixed([user]) for user in (ANN, BOB)] == [True, False]
