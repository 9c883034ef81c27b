"""jsonb values as Postgres treats them.

A value is what JSON has, with Python's None for SQL's NULL and :data:`JSON_NULL` for the JSON null at
the top; further inside, the JSON null is None, as decoders have it.
"""

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from bridge.authorization.undecided import UndecidedError


class JsonNull:
    """``'null'::jsonb``, which is not NULL."""


JSON_NULL: Final = JsonNull()

_POSITION = re.compile(r"[ \t\n\r\f\v]*[+-]?[0-9]{1,9}")
"""What Postgres takes for a position in a path; longer numbers are beyond every array."""


def _outer(value: Any) -> Any:
    return JSON_NULL if value is None else value


def field(value: Any, name: str) -> Any:
    """``value -> 'name'``."""
    return _outer(value[name]) if isinstance(value, dict) and name in value else None


def element(value: Any, position: int) -> Any:
    """``value::json -> position``; a negative one counts from the end."""
    if isinstance(value, list) and -len(value) <= position < len(value):
        return _outer(value[position])
    return None


def element_or_scalar(value: Any, position: int) -> Any:
    """``value::jsonb -> position``: a scalar is an array of itself there."""
    return element(value if isinstance(value, list | dict) else [value], position)


def as_text(value: Any) -> str | None:
    """What ``->>`` makes of the value it found."""
    match value:
        case None | JsonNull():
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            # Numbers with a fraction, objects and arrays are printed in jsonb's own way.
            raise UndecidedError("the text of a jsonb object, array or fraction")


def at_path(value: Any, path: list[str | None]) -> Any:
    """``value #> path``; NULL for a path that holds NULL."""
    if None in path:
        return None
    for step in path:
        if isinstance(value, list):
            value = element(value, int(step)) if step and _POSITION.fullmatch(step) else None
        else:
            value = field(value, step or "")
        if value is None:
            return None
    return value


def kind(value: Any) -> str:
    """``jsonb_typeof(value)``."""
    match value:
        case None | JsonNull():
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "number"


def length(value: Any) -> int:
    """``jsonb_array_length(value)``; Postgres refuses what is no array."""
    if not isinstance(value, list):
        raise UndecidedError("the length of a jsonb value that is no array")
    return len(value)


def array_of(items: list[Any]) -> list[Any]:
    """``jsonb_build_array(items)``: NULL is the null of JSON."""
    return [None if isinstance(item, JsonNull) else item for item in items]


def object_of(names: list[str], items: list[Any]) -> dict[str, Any]:
    """``jsonb_build_object(name, item, ...)``: of a name that is there twice, the last counts."""
    return dict(zip(names, array_of(items), strict=True))


def elements(value: Any) -> list[Any]:
    """Return ``jsonb_array_elements(value)``; Postgres refuses what is no array."""
    if not isinstance(value, list):
        raise UndecidedError("the elements of a jsonb value that is no array")
    return [_outer(item) for item in value]


def elements_as_text(value: Any) -> list[str | None]:
    """Return ``jsonb_array_elements_text(value)``."""
    return [as_text(item) for item in elements(value)]


def has_key(value: Any, key: str) -> bool:
    """``value ? 'key'``."""
    return key in keys(value)


def keys(value: Any) -> Collection[str]:
    """Return every key for which ``value ? key``: those of an object, the strings of an array, a string."""
    match value:
        case dict():
            return value.keys()
        case list():
            return [item for item in value if isinstance(item, str)]
        case str():
            return (value,)
        case _:
            return ()


def contains(value: Any, part: Any) -> bool:
    """``value @> part``."""
    if isinstance(value, list) and not isinstance(part, list | dict):
        # An array contains a primitive.
        return any(canonical(item) == canonical(part) for item in value if not isinstance(item, list | dict))
    return _contains(value, part)


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, dict) and isinstance(part, dict):
        return all(key in value and _contains(value[key], wanted) for key, wanted in part.items())
    if isinstance(value, list) and isinstance(part, list):
        return all(any(_contains(item, wanted) for item in value) for wanted in part)
    if isinstance(value, list | dict) or isinstance(part, list | dict):
        return False
    return bool(canonical(value) == canonical(part))


def canonical(value: Any) -> Any:
    """Return a hashable that is equal for values that jsonb calls equal: 1 and 1.0, but not 1 and true."""
    match value:
        case None | JsonNull():
            return ("null",)
        case bool() | str():
            return (type(value).__name__, value)
        case int() | float() | Decimal():
            return ("number", Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
        case list():
            return ("array", tuple(canonical(item) for item in value))
        case _:
            return ("object", frozenset((key, canonical(item)) for key, item in value.items()))
