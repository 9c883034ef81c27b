"""Numbers that arrive as JSON text and must not lose digits on the way."""

from decimal import Decimal

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that a JavaScript number holds exactly, with all below it."""


def exact_number(text: str) -> float | Decimal:
    """Return the number that ``text`` writes: a float where that is exact, else a Decimal."""
    number = float(text)
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact
