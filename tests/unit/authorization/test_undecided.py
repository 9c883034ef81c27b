"""What memory cannot tell."""

from bridge.authorization.undecided import UndecidedError


def test_an_answer_that_may_be_an_error_is_the_rule() -> None:
    """Then later branches of an OR do not count; where it is none, that has to be said."""
    assert [UndecidedError("x").raises, UndecidedError("x", raises=False).raises] == [True, False]
    assert UndecidedError.code == "undecided"
