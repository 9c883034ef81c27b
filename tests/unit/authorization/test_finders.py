"""How findings are combined: nobody is left out, and of whom it is not sure is named with doubt."""

import pytest

from bridge.authorization.algebra import TRUE, Expr, Fails
from bridge.authorization.env import Env
from bridge.authorization.finders import (
    ALL_OF_THEM,
    EVERYBODY,
    Finder,
    Users,
    intersection,
    members,
    only,
    row_only,
    through,
    union,
)
from bridge.authorization.undecided import UndecidedError
from tests.support.catalogs import ANN, BOB

ANNS, BOBS = only(lambda _env: ANN), only(lambda _env: BOB)
NOBODYS = only(lambda _env: None)


def undecided(_env: Env) -> Users:
    raise UndecidedError("only Postgres knows")


UNDECIDED = Finder(undecided, exact=True)


def found(finder: Finder) -> tuple[set[str | None] | None, bool]:
    """Return who is found, and whether with doubt."""
    env = Env(1, lambda: 0)
    users = finder.find(env)
    return None if users is None else set(users), env.doubt


@pytest.mark.parametrize(
    ("finders", "second", "users", "doubt"),
    [
        ([ANNS, EVERYBODY], TRUE, {ANN}, False),
        ([ANNS, BOBS], TRUE, set(), False),
        ([ANNS, UNDECIDED], TRUE, {ANN}, True),
        ([NOBODYS, UNDECIDED], TRUE, set(), False),
        ([NOBODYS, UNDECIDED], Fails("division by zero"), set(), True),
        ([EVERYBODY, EVERYBODY], TRUE, None, False),
    ],
)
def test_all_of_several(finders: list[Finder], second: Expr, users: set[str] | None, doubt: bool) -> None:  # noqa: FBT001
    """What is not known narrows nothing; an error behind what names nobody counts, as Postgres may come to it."""
    assert found(intersection(finders, [TRUE, second])) == (users, doubt)


def test_any_of_several() -> None:
    """One that names everybody names them all; what is not known is not passed over."""
    assert found(union([ANNS, NOBODYS, BOBS])) == ({ANN, BOB}, False)
    assert found(union([ANNS, EVERYBODY])) == (None, False)
    with pytest.raises(UndecidedError):
        found(union([ANNS, UNDECIDED]))


def test_everybody_has_to_be_asked_unless_something_narrows_it() -> None:
    """The row alone narrows nothing: it names everybody, or nobody."""
    of_row = row_only(lambda _env: True)
    assert intersection([EVERYBODY, of_row], [TRUE, TRUE]).walks
    assert not intersection([EVERYBODY, ANNS], [TRUE, TRUE]).walks
    assert not intersection([ALL_OF_THEM, of_row], [TRUE, TRUE]).walks
    assert union([EVERYBODY, ANNS]).walks


def test_members_are_those_whom_all_columns_name() -> None:
    """Each is tried as the asker, who is put back; of whom it is not known whether, it is doubtful."""

    def is_bob(env: Env) -> bool:
        if env.uid == "else":
            raise UndecidedError("only Postgres knows")
        return env.uid == BOB

    env = Env(1, lambda: 0)
    env.uid = ANN
    for user, expected in ((ANN, set()), (BOB, {BOB}), (None, set()), ("else", {"else"})):
        assert members([], [lambda _env, u=user: u], [is_bob], exact=True).find(env) == expected
        assert (env.uid, env.doubt) == (ANN, user == "else")
    assert found(members([], [lambda _env: ANN, lambda _env: BOB], [], exact=True)) == (set(), False)


def test_through_look_up_rows() -> None:
    """As exact as what is found behind them; everybody there is everybody."""
    assert found(through([], ANNS)) == ({ANN}, False)
    assert found(through([], EVERYBODY)) == (None, False)
    assert (through([], ANNS).exact, through([], EVERYBODY).walks) == (True, True)
