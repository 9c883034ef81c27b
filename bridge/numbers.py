"""Numbers that arrive as JSON text and must not lose digits on the way."""

from decimal import Decimal

MAX_SAFE_INTEGER = 2**53 - 1
"""Largest integer that a JavaScript number holds exactly, with all below it."""


def exact_number(text: str) -> float | Decimal:
    """Return the number that ``text`` writes: a float where that prints the same, else a Decimal.

    ``1.50`` is no float: numeric and jsonb keep the scale, and a policy may compare it as text.
    """
    number = float(text)
    return number if repr(number) == text else Decimal(text)
