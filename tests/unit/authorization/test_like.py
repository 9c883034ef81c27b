"""LIKE: patterns, and the time that they take."""

import pytest

from bridge.authorization.like import ilike, like
from bridge.authorization.undecided import UndecidedError


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("", "", True),
        ("", "%", True),
        ("", "_", False),
        ("a", "", False),
        ("a", "a", True),
        ("ab", "a", False),
        ("ab", "a_", True),
        ("a\nb", "a%b", True),
        ("aa", "a%a", True),
        ("a", "a%a", False),
        ("abcabc", "%bc", True),
        ("abcab", "%bc", False),
        ("xaybz", "%a%b%", True),
        ("xbya", "%a%b%", False),
        ("aba", "ab%ba", False),
        ("abxba", "ab%ba", True),
        ("a%", "a\\%", True),
        ("ab", "a\\%", False),
        ("a\\", "a\\\\", True),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("é😀", "__", True),
        ("aab", "%_b", True),
    ],
)
def test_like(text: str, pattern: str, matches: bool) -> None:  # noqa: FBT001
    """``%`` is any text, ``_`` one character, and a backslash takes what follows literally."""
    assert like(text, pattern) is matches


def test_ilike_knows_ascii_only() -> None:
    """Upper and lower case of other letters depend on the locale."""
    assert ilike("ABC", "a%C")
    for text, pattern in (("É", "%"), ("a", "é")):
        with pytest.raises(UndecidedError):
            ilike(text, pattern)


def test_a_pattern_that_ends_with_its_escape_is_left_to_postgres() -> None:
    """Which may answer with an error."""
    with pytest.raises(UndecidedError):
        like("a", "a\\")


@pytest.mark.timeout(10)
def test_a_long_text_takes_no_longer_with_more_wildcards() -> None:
    """A user's text of a quarter of a megabyte against eight wildcards: trying all places would take days."""
    assert not like("a" * 250_000, "%a%a%a%a%a%a%a%b")
    assert not like("ab" * 125_000, "%a%b%a%b%a_b%c%")
