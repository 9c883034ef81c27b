"""``jsonb @>`` of what is made of a user's id, said so that the user can be found by it.

``members @> jsonb_build_array(auth.uid()::text)`` names its users: they are among the texts of an array.
"""

from bridge.authorization import builtins
from bridge.authorization.algebra import ArrayOf, Call, Compare, Const, Expr, IsNull, Not, Uid
from bridge.authorization.expressions import all_of, any_of, mentions_user

_TEXTS = ("text", "name", "uuid")
"""Types whose values are strings in JSON, as enums' are."""


def contained(whole: Expr, part: Expr) -> Expr | None:
    """Return a condition that is true exactly where ``whole @> part`` is; None if there is no better one."""
    if not mentions_user(part) or mentions_user(whole):
        return None
    match part:
        case Call(name=builtins.BUILD_ARRAY, args=(ArrayOf(items=items),)) if any(map(_is_text, items)):
            return all_of([_among(whole, item) for item in items])
        case Call(name=builtins.BUILD_OBJECT, args=(Const(value=keys), ArrayOf(items=items))) if len(
            set(keys)
        ) == len(keys) and any(_is_text(item) or _is_made(item) for item in items):
            return all_of([_under(whole, key, item) for key, item in zip(keys, items, strict=True)])
        case Call(name=builtins.TO_JSONB, args=(item,)) if _is_text(item):
            return all_of([Not(_is(whole, "object")), Call("jsonb ? text", (whole, _as_text(item)), "bool")])
        case _:
            return None


def _among(whole: Expr, item: Expr) -> Expr:
    if not _is_text(item):
        return _contains_array(whole, item)
    found = all_of([_is(whole, "array"), Call("jsonb ? text", (whole, _as_text(item)), "bool")])
    # A NULL is the null of JSON.
    return any_of([found, all_of([IsNull(item), _contains_array(whole, Const(None, "text"))])])


def _contains_array(whole: Expr, item: Expr) -> Expr:
    made = Call(builtins.BUILD_ARRAY, (ArrayOf((item,), "jsonb[]"),), "jsonb")
    return Call("jsonb @> jsonb", (whole, made), "bool")


def _under(whole: Expr, key: str, item: Expr) -> Expr:
    name = Const(key, "text")
    value = Call("jsonb -> text", (whole, name), "jsonb")
    if not _is_text(item):
        # An array or an object is in one below a key as it is in one alone; only a single value is not.
        inner = contained(value, item) if _is_made(item) else None
        return inner or _contains_object(whole, key, item)
    text = Call("jsonb ->> text", (whole, name), "text")
    found = all_of([_is(value, "string"), Compare("=", text, _as_text(item))])
    return any_of([found, all_of([IsNull(item), _contains_object(whole, key, Const(None, "text"))])])


def _contains_object(whole: Expr, key: str, item: Expr) -> Expr:
    made = Call(builtins.BUILD_OBJECT, (Const([key], "text[]"), ArrayOf((item,), "jsonb[]")), "jsonb")
    return Call("jsonb @> jsonb", (whole, made), "bool")


def _is(value: Expr, kind: str) -> Expr:
    return Compare("=", Call("jsonb_typeof(jsonb)", (value,), "text"), Const(kind, "text"))


def _is_made(item: Expr) -> bool:
    return isinstance(item, Call) and item.name in (builtins.BUILD_ARRAY, builtins.BUILD_OBJECT)


def _is_text(item: Expr) -> bool:
    return item.type in _TEXTS or item.type.startswith("enum:")


def _as_text(item: Expr) -> Expr:
    return Uid("text") if isinstance(item, Uid) else Call("same", (item,), "text")
