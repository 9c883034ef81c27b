"""Numbers from JSON text."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.numbers import MAX_SAFE_INTEGER, exact_number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_no_digit_is_lost(number: Decimal):
    """Whatever type is chosen, its shortest text is the number that was written."""
    exact = exact_number(str(number))
    assert Decimal(repr(exact) if isinstance(exact, float) else exact) == number


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("1.5", float),
        ("0.1", float),
        ("1.10", Decimal),
        ("1e3", Decimal),
        ("0.1234567890123456789012", Decimal),
        ("9007199254740993.5", Decimal),
        ("1e400", Decimal),
        ("1e-400", Decimal),
    ],
)
def test_a_decimal_is_made_where_a_float_would_print_another_text(text: str, type_: type):
    """A float where it says the same: the scale of a numeric is kept, policies may compare it as text."""
    assert type(exact_number(text)) is type_


def test_the_largest_safe_integer_is_that_of_javascript():
    """Above it a float, which is what JSON.parse makes of it, skips integers."""
    assert float(MAX_SAFE_INTEGER) + 1 == float(MAX_SAFE_INTEGER + 2)
    assert float(MAX_SAFE_INTEGER - 1) + 1 == MAX_SAFE_INTEGER
