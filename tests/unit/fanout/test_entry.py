"""Who has to read again."""

from bridge.fanout.entry import Reread
from tests.support.events import ANN, BOB


def test_a_mark_concerns_its_users_but_for_those_who_were_told():
    """And everybody of the role where it names nobody."""
    mark = Reread(ANN.role, frozenset({ANN.user_id}), told=3)
    assert [mark.concerns(ANN, since) for since in (3, 4)] == [False, True]
    assert not mark.concerns(BOB, 4)
    assert Reread(ANN.role, None, told=None).concerns(BOB, 0)
    assert not Reread("anon", None, told=None).concerns(BOB, 0)
