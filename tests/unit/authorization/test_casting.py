"""Casts: what is answered here, and what is left to Postgres."""

from collections.abc import Callable
from typing import Any

import pytest

from bridge.authorization import casting
from bridge.authorization.undecided import UndecidedError

UUID = "0000000A-0000-0000-0000-00000000000b"
LABELS = ["sad", "happy"]


@pytest.mark.parametrize(
    ("cast", "arguments", "answer"),
    [
        (casting.uuid_of, (UUID,), UUID.lower()),
        (casting.int_of, (" +7\n",), 7),
        (casting.bool_of, (" TRU ",), True),
        (casting.int_of_jsonb, (7,), 7),
        (casting.narrowed(16), (-32768,), -32768),
        (casting.label_of, ("sad", LABELS), "sad"),
        (casting.fitting, ("ab", 2), "ab"),
    ],
)
def test_what_a_value_becomes(cast: Callable[..., Any], arguments: tuple[Any, ...], answer: object) -> None:
    """As in Postgres."""
    found = cast(*arguments)

    assert (found, type(found)) == (answer, type(answer))


@pytest.mark.parametrize(
    ("cast", "arguments"),
    [
        (casting.uuid_of, ("{00000000-0000-0000-0000-00000000000a}",)),
        (casting.int_of, ("\u00a01",)),
        (casting.int_of, ("\uff11",)),
        (casting.int_of, ("1_0",)),
        (casting.int_of, ("9223372036854775808",)),
        (casting.bool_of, ("yess",)),
        (casting.int_of_jsonb, (True,)),
        (casting.int_of_jsonb, (1.5,)),
        (casting.int_of_jsonb, (2**63,)),
        (casting.bool_of_jsonb, (1,)),
        (casting.narrowed(16), (32768,)),
        (casting.narrowed(32), (2**31,)),
        (casting.label_of, ("new", LABELS)),
        (casting.fitting, ("abc", 2)),
    ],
)
def test_what_is_left_to_postgres(cast: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Values that are written in another way, are out of range, or are newer than the catalog."""
    with pytest.raises(UndecidedError):
        cast(*arguments)
