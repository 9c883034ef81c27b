"""Postgres's own functions, operators and casts that have exactly the same answer here.

Each is found by its name and the families of its arguments' types, and is strict: with a NULL argument
the answer is NULL.  What depends on the locale or on how a value was written is left to Postgres, at the
latest when such a value comes (:class:`~bridge.authorization.undecided.UndecidedError`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bridge.authorization import arrays, casting, jsonb, temporal
from bridge.authorization.algebra import Type
from bridge.authorization.like import ilike, like
from bridge.authorization.undecided import UndecidedError


class Builtin(msgspec.Struct, frozen=True):
    """One of them.

    Attributes:
        returns: Family of its result.
        run: Computes it from arguments that are not NULL.
    """

    returns: Type
    run: Callable[..., Any]


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    def run(text: str) -> str:
        if not text.isascii():
            raise UndecidedError("upper and lower case of letters beyond ASCII depend on the locale")
        return change(text)

    return run


def _split_part(text: str, separator: str, position: int) -> str:
    if not separator or position < 1:
        raise UndecidedError("split_part counts from the end, or by nothing")
    parts = text.split(separator)
    return parts[position - 1] if position <= len(parts) else ""


def _exact_int(value: int) -> int:
    # The narrowest type, because it is not known here which ones are added.
    if not -(2**15) <= value < 2**15:
        raise UndecidedError("an integer sum that may be out of range")
    return value


_JSON: tuple[Type, ...] = ("jsonb", "json")
_ELEMENT = {"jsonb": jsonb.element_or_scalar, "json": jsonb.element}

OPERATORS: Mapping[tuple[str, Type, Type], Builtin] = {
    **{("->", kind, "text"): Builtin(kind, jsonb.field) for kind in _JSON},
    **{("->", kind, "int"): Builtin(kind, _ELEMENT[kind]) for kind in _JSON},
    **{
        ("->>", kind, "text"): Builtin("text", lambda v, k: jsonb.as_text(jsonb.field(v, k)))
        for kind in _JSON
    },
    ("->>", "jsonb", "int"): Builtin("text", lambda v, i: jsonb.as_text(jsonb.element_or_scalar(v, i))),
    ("->>", "json", "int"): Builtin("text", lambda v, i: jsonb.as_text(jsonb.element(v, i))),
    **{("#>", kind, "text[]"): Builtin(kind, jsonb.at_path) for kind in _JSON},
    **{
        ("#>>", kind, "text[]"): Builtin("text", lambda v, p: jsonb.as_text(jsonb.at_path(v, p)))
        for kind in _JSON
    },
    ("?", "jsonb", "text"): Builtin("bool", jsonb.has_key),
    ("?|", "jsonb", "text[]"): Builtin(
        "bool", lambda v, keys: any(jsonb.has_key(v, k) for k in keys if k is not None)
    ),
    ("?&", "jsonb", "text[]"): Builtin(
        "bool", lambda v, keys: all(jsonb.has_key(v, k) for k in keys if k is not None)
    ),
    ("@>", "jsonb", "jsonb"): Builtin("bool", jsonb.contains),
    ("<@", "jsonb", "jsonb"): Builtin("bool", lambda part, v: jsonb.contains(v, part)),
    ("||", "text", "text"): Builtin("text", lambda a, b: a + b),
    ("~~", "text", "text"): Builtin("bool", like),
    ("!~~", "text", "text"): Builtin("bool", lambda a, b: not like(a, b)),
    ("~~*", "text", "text"): Builtin("bool", ilike),
    ("!~~*", "text", "text"): Builtin("bool", lambda a, b: not ilike(a, b)),
    ("+", "int", "int"): Builtin("int", lambda a, b: _exact_int(a + b)),
    ("-", "int", "int"): Builtin("int", lambda a, b: _exact_int(a - b)),
    ("-", "timestamptz", "timestamptz"): Builtin("interval", temporal.between),
    ("-", "timestamp", "timestamp"): Builtin("interval", temporal.between),
    **{("+", kind, "interval"): Builtin(kind, temporal.plus) for kind in ("timestamptz", "timestamp")},
    **{
        ("-", kind, "interval"): Builtin(kind, lambda moment, span: temporal.plus(moment, span, -1))
        for kind in ("timestamptz", "timestamp")
    },
}
"""Binary operators by name and operand types; comparisons and array operators are found elsewhere."""

ARRAY_OPERATORS: Mapping[str, Builtin] = {
    "@>": Builtin("bool", arrays.contains),
    "<@": Builtin("bool", lambda part, array: arrays.contains(array, part)),
    "&&": Builtin("bool", arrays.overlap),
}
"""Operators between two arrays of one type, whose elements Python compares as Postgres does."""

FUNCTIONS: Mapping[tuple[str, tuple[Type, ...]], Builtin] = {
    ("lower", ("text",)): Builtin("text", _ascii(str.lower)),
    ("upper", ("text",)): Builtin("text", _ascii(str.upper)),
    ("btrim", ("text",)): Builtin("text", lambda text: text.strip(" ")),
    ("ltrim", ("text",)): Builtin("text", lambda text: text.lstrip(" ")),
    ("rtrim", ("text",)): Builtin("text", lambda text: text.rstrip(" ")),
    ("length", ("text",)): Builtin("int", len),
    ("char_length", ("text",)): Builtin("int", len),
    ("split_part", ("text", "text", "int")): Builtin("text", _split_part),
    ("starts_with", ("text", "text")): Builtin("bool", str.startswith),
    ("strpos", ("text", "text")): Builtin("int", lambda text, part: text.find(part) + 1),
    ("position", ("text", "text")): Builtin("int", lambda text, part: text.find(part) + 1),
    ("jsonb_typeof", ("jsonb",)): Builtin("text", jsonb.kind),
    ("jsonb_array_length", ("jsonb",)): Builtin("int", jsonb.length),
    ("replace", ("text", "text", "text")): Builtin(
        "text", lambda text, old, new: text.replace(old, new) if old else text
    ),
}
"""Functions of pg_catalog by name and argument types."""

ARRAY_FUNCTIONS: Mapping[str, tuple[tuple[str, ...], Builtin]] = {
    "cardinality": (("array",), Builtin("int", arrays.cardinality)),
    "array_length": (("array", "int"), Builtin("int", arrays.length)),
}
"""Functions of one array of any known type, with the kinds of their arguments."""

CASTS: Mapping[tuple[Type, Type], Builtin] = {
    ("text", "uuid"): Builtin("uuid", casting.uuid_of),
    ("text", "int"): Builtin("int", casting.int_of),
    ("text", "bool"): Builtin("bool", casting.bool_of),
    ("int", "text"): Builtin("text", str),
    ("bool", "text"): Builtin("text", lambda value: "true" if value else "false"),
    ("jsonb", "int"): Builtin("int", casting.int_of_jsonb),
    ("jsonb", "bool"): Builtin("bool", casting.bool_of_jsonb),
    ("timestamptz", "date"): Builtin("date", temporal.date_of),
    ("timestamp", "date"): Builtin("date", temporal.date_of),
    ("text[]", "uuid[]"): Builtin(
        "uuid[]", lambda array: [None if item is None else casting.uuid_of(item) for item in array]
    ),
}
"""Casts that compute; those that keep the value (uuid to text, json to jsonb) are in ``coercion.py``."""


ELEMENTS: Mapping[str, tuple[Type, Builtin]] = {
    "jsonb_array_elements": ("jsonb", Builtin("jsonb[]", jsonb.elements)),
    "jsonb_array_elements_text": ("jsonb", Builtin("text[]", jsonb.elements_as_text)),
    "json_array_elements": ("json", Builtin("json[]", jsonb.elements)),
    "json_array_elements_text": ("json", Builtin("text[]", jsonb.elements_as_text)),
}
"""Functions that return the elements of a JSON array as rows, here as an array, with the argument's type."""


CONCATENATED = "array || array"
SUBSCRIPT = "element(array, position)"
PART = "part(array, first, last)"
SPLIT = "string_to_array(text, text)"
"""Names of what is done with arrays of any type, which ``translation/arrays.py`` gives their types."""

BUILD_ARRAY = "jsonb_build_array(items)"
BUILD_OBJECT = "jsonb_build_object(names, items)"
TO_JSONB = "to_jsonb(value)"
"""Names of what makes jsonb of values, whose form here is that of JSON already."""

LABEL = "enum(text, labels)"
"""The cast of a text to an enum, and of texts to several."""
LABELS = "enums(texts, labels)"

CUT = "left(text, length)"
"""The cast of a text to a type with a length, and what an assignment to one has to fit in."""
FITTING = "fitting(text, length)"

LEAST = "least(array)"
GREATEST = "greatest(array)"

RANK = "rank(enum, labels)"
"""Where a label stands among those of its enum, which the catalog has in their order."""


HARMLESS: frozenset[str] = frozenset(
    {"same", "text || text", "array @>", "array <@", "array &&", "cardinality(array)", "array_length(array)"}
    | {f"{kind} {name} {key}" for kind in _JSON for name in ("->", "->>") for key in ("text", "int")}
    | {f"{kind} {name} text[]" for kind in _JSON for name in ("#>", "#>>")}
    | {"jsonb ? text", "jsonb ?| text[]", "jsonb ?& text[]", "jsonb @> jsonb", "jsonb <@ jsonb"}
    | {f"{name}(text)" for name in ("lower", "upper", "btrim", "ltrim", "rtrim", "length", "char_length")}
    | {f"{name}(text, text)" for name in ("starts_with", "strpos", "position")}
    | {
        RANK,
        CUT,
        LEAST,
        GREATEST,
        SPLIT,
        SUBSCRIPT,
        PART,
        BUILD_ARRAY,
        BUILD_OBJECT,
        TO_JSONB,
        "jsonb_typeof(jsonb)",
    }
    | {"replace(text, text, text)", "int::text", "bool::text", "timestamptz::date", "timestamp::date"}
)
"""Names of those that never fail in Postgres, whatever they are given."""

LIKE: frozenset[str] = frozenset(f"text {name} text" for name in ("~~", "!~~", "~~*", "!~~*"))
"""Names of those that fail only of a pattern that ends with a backslash."""


def _rank(label: str, labels: list[str]) -> int:
    if label not in labels:
        raise UndecidedError("an enum value that is newer than what is known of its type")
    return labels.index(label)


def _chosen(choose: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def run(items: list[Any]) -> Any:
        known = [item for item in items if item is not None]
        return choose(known) if known else None

    return run


def run(name: str) -> Builtin:
    """Return the builtin that :func:`name_of` named."""
    return _BY_NAME[name]


_BY_NAME: dict[str, Builtin] = {}


def _register() -> None:
    for (operator, left, right), builtin in OPERATORS.items():
        _BY_NAME[f"{left} {operator} {right}"] = builtin
    for operator, builtin in ARRAY_OPERATORS.items():
        _BY_NAME[f"array {operator}"] = builtin
    for (function, arguments), builtin in FUNCTIONS.items():
        _BY_NAME[f"{function}({', '.join(arguments)})"] = builtin
    for function, (_, builtin) in ARRAY_FUNCTIONS.items():
        _BY_NAME[f"{function}(array)"] = builtin
    _BY_NAME[CONCATENATED] = Builtin("array", arrays.concatenated)
    _BY_NAME[SUBSCRIPT] = Builtin("element", arrays.subscript)
    _BY_NAME[PART] = Builtin("array", arrays.part)
    _BY_NAME[SPLIT] = Builtin("text[]", arrays.split)
    _BY_NAME[BUILD_ARRAY] = Builtin("jsonb", jsonb.array_of)
    _BY_NAME[BUILD_OBJECT] = Builtin("jsonb", jsonb.object_of)
    _BY_NAME[TO_JSONB] = Builtin("jsonb", lambda value: value)
    _BY_NAME[LABEL] = Builtin("enum", casting.label_of)
    _BY_NAME[LABELS] = Builtin(
        "enum[]",
        lambda array, labels: [None if item is None else casting.label_of(item, labels) for item in array],
    )
    _BY_NAME[CUT] = Builtin("text", lambda text, length: text[:length])
    _BY_NAME[FITTING] = Builtin("text", casting.fitting)
    _BY_NAME[LEAST] = Builtin("array", _chosen(min))
    _BY_NAME[GREATEST] = Builtin("array", _chosen(max))
    _BY_NAME[RANK] = Builtin("int", _rank)
    for function, (argument, builtin) in ELEMENTS.items():
        _BY_NAME[f"{function}({argument})"] = builtin
    for (source, target), builtin in CASTS.items():
        _BY_NAME[f"{source}::{target}"] = builtin
    for bits in (16, 32):
        _BY_NAME[f"int{bits}"] = Builtin("int", casting.narrowed(bits))


_register()
