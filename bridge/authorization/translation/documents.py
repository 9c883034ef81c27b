"""jsonb that is made of values: ``jsonb_build_array``, ``jsonb_build_object``, ``to_jsonb``."""

from bridge.authorization import builtins, types
from bridge.authorization.algebra import ArrayOf, Call, Const, Expr
from bridge.authorization.catalog import Catalog
from bridge.authorization.translation import coercion
from bridge.errors import CompileError

_PLAIN = ("text", "name", "uuid", "bool", "int", "jsonb")
"""Types whose values have the form of JSON here, as enums' have."""


def translate(name: str, arguments: list[Expr], catalog: Catalog) -> Expr | None:
    """Return the call of a function that makes jsonb; None if it is another.

    Raises:
        CompileError: a value's JSON is not known here, or a key is no constant.
    """
    match name:
        case "jsonb_build_array":
            items = tuple(_item(argument, catalog) for argument in arguments)
            return Call(builtins.BUILD_ARRAY, (ArrayOf(items, "jsonb[]"),), "jsonb")
        case "jsonb_build_object":
            keys = [_key(argument) for argument in arguments[::2]]
            items = tuple(_item(argument, catalog) for argument in arguments[1::2])
            if len(keys) != len(items):
                raise CompileError("jsonb_build_object with a key without a value is not supported in memory")
            made = (Const(keys, "text[]"), ArrayOf(items, "jsonb[]"))
            return Call(builtins.BUILD_OBJECT, made, "jsonb")
        case "to_jsonb" if len(arguments) == 1:
            return Call(builtins.TO_JSONB, (_item(arguments[0], catalog),), "jsonb")
        case _:
            return None


def _item(value: Expr, catalog: Catalog) -> Expr:
    if value.type == "unknown" or (isinstance(value, Const) and value.value is None):
        value = coercion.implicit(value, "text", catalog)
    if value.type not in _PLAIN and not types.is_enum(value.type):
        raise CompileError(
            f"the jsonb of a value of type {types.plain(value.type)} is not supported in memory"
        )
    return value


def _key(value: Expr) -> str:
    if isinstance(value, Const) and value.type in ("unknown", "text") and isinstance(value.value, str):
        return value.value
    raise CompileError("jsonb_build_object with a key that is no constant text is not supported in memory")
