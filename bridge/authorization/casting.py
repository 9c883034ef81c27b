"""What a value becomes under another type.

What depends on how it was written, or is an error, is left to Postgres.
"""

import re
from collections.abc import Callable
from typing import Any

from bridge.authorization.undecided import UndecidedError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SPACE = " \t\n\r\f\v"
_INTEGER = re.compile(rf"[{_SPACE}]*[+-]?[0-9]{{1,18}}[{_SPACE}]*")
_BOOLEANS = {
    **dict.fromkeys(("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"), False),
}


def uuid_of(text: str) -> str:
    """``text::uuid``."""
    if _UUID.fullmatch(text) is None:
        raise UndecidedError("a text that is no plain uuid is cast to uuid")
    return text.lower()


def int_of(text: str) -> int:
    """``text::bigint``; the caller checks narrower types."""
    if _INTEGER.fullmatch(text) is None:
        raise UndecidedError("a text that is no integer is cast to one")
    return int(text)


def bool_of(text: str) -> bool:
    """``text::boolean``."""
    value = _BOOLEANS.get(text.strip(_SPACE).lower())
    if value is None:
        raise UndecidedError("a text that is no boolean is cast to one")
    return value


def int_of_jsonb(value: Any) -> int:
    """``jsonb::bigint``."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise UndecidedError("a jsonb value that is no integer is cast to one")


def bool_of_jsonb(value: Any) -> bool:
    """``jsonb::boolean``."""
    if isinstance(value, bool):
        return value
    raise UndecidedError("a jsonb value that is no boolean is cast to one")


def narrowed(bits: int) -> Callable[[int], int]:
    """Return the cast of an integer to one of so many bits."""
    limit = 2 ** (bits - 1)

    def run(value: int) -> int:
        if not -limit <= value < limit:
            raise UndecidedError("an integer is out of range")
        return value

    return run


def label_of(text: str, labels: list[str]) -> str:
    """The cast of a text to an enum with these labels."""
    if text not in labels:
        raise UndecidedError("a text that is no label of the enum it is cast to")
    return text


def fitting(text: str, length: int) -> str:
    """Return ``text``, which is assigned to a variable of this length."""
    if len(text) > length:
        raise UndecidedError("a text that is longer than the variable it is assigned to")
    return text
