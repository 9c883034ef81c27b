"""What memory cannot tell."""

from bridge.authorization.undecided import UndecidedError


def test_an_answer_that_may_be_an_error_is_the_rule() -> None:
    """Then later branches of an OR do not count; where it is none, that has to be said."""
    assert [UndecidedError("x").raises, UndecidedError("x", raises=False).raises] == [True, False]
    assert UndecidedError.code == "undecided"


def test_what_is_known_of_an_and() -> None:
    """It may fail where a part may, and is not true where a part is not."""
    sure, open_ = UndecidedError("x", raises=False), UndecidedError("y")

    found = UndecidedError.of_all([sure, open_])
    assert (found.raises, found.untrue) == (True, False)
    assert UndecidedError.of_all([sure], untrue=True).untrue
    assert UndecidedError.of_all([sure, UndecidedError("z", untrue=True)]).untrue


def test_what_is_known_of_an_or() -> None:
    """It is not true where no part is."""
    untrue = UndecidedError("x", untrue=True)

    assert UndecidedError.of_any([untrue, untrue]).untrue
    assert not UndecidedError.of_any([untrue, UndecidedError("y")]).untrue


def test_false_and_an_error_are_two_values() -> None:
    """Where NOT or CASE makes something of it."""
    assert not UndecidedError("x", untrue=True).as_value().untrue
