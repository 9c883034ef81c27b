"""The roster: who is here, and who may come back."""

from bridge.authorization.roster import Roster
from bridge.clock import ManualClock
from bridge.events import Principal

ann = Principal(role="authenticated", user_id="ann")
ann_elsewhere = Principal(role="authenticated", user_id="ann", claims_json='{"org":1}')
bob = Principal(role="authenticated", user_id="bob")
anon = Principal(role="anon", user_id=None)


def roster(*present: Principal) -> tuple[Roster, ManualClock]:
    clock = ManualClock()
    made = Roster(linger_s=10.0, clock=clock)
    for principal in present:
        made.add(principal)
    return made, clock


def test_principals_are_found_by_role_and_by_user() -> None:
    """Two principals of one user are two."""
    made, _ = roster(ann, ann_elsewhere, bob, anon)

    assert len(made) == 4
    assert set(made.roles()) == {"authenticated", "anon"}
    assert set(made.of_role("authenticated")) == {ann, ann_elsewhere, bob}
    assert set(made.of_users("authenticated", {"ann"})) == {ann, ann_elsewhere}
    assert made.of_users("anon", {"ann"}) == []
    assert set(made.of_users("authenticated", {"ann", "x", "y", "z"})) == {ann, ann_elsewhere}
    assert made.of_role("else") == frozenset()
    assert made.of_users("else", {"ann"}) == []


def test_adding_twice_counts_once() -> None:
    """Equal principals are one."""
    assert len(roster(ann, ann)[0]) == 1


def test_who_left_lingers_until_its_cursor_is_too_old() -> None:
    """Then it is forgotten, with its role if nobody else has it."""
    made, clock = roster(ann, ann_elsewhere, anon)
    made.remove(ann)
    made.remove(anon)
    clock.advance(9.9)
    made.expire()
    assert len(made) == 3

    clock.advance(0.2)
    made.expire()
    assert made.of_users("authenticated", {"ann"}) == [ann_elsewhere]
    assert list(made.roles()) == ["authenticated"]
    assert made.of_users("anon", {"x"}) == []


def test_who_comes_back_stays() -> None:
    """Its time of leaving is forgotten."""
    made, clock = roster(ann)
    made.remove(ann)
    made.add(ann)
    clock.advance(60)
    made.expire()

    assert made.of_role("authenticated") == {ann}


def test_leaving_expires_others() -> None:
    """Nobody has to sweep: the ones before go with each that leaves."""
    made, clock = roster(ann, bob)
    made.remove(ann)
    clock.advance(11)
    made.remove(bob)

    assert made.of_role("authenticated") == {bob}
