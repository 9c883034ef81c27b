"""Which parts of a condition Postgres may answer with an error."""

from collections.abc import Sequence

from bridge.authorization import builtins
from bridge.authorization.algebra import Call, Expr, Opaque, Rows
from bridge.authorization.expressions import walk

_OPERATORS = ("->", "->>", "#>", "#>>", "?", "?|", "?&", "@>", "<@", "&&")
_TOTAL = frozenset(
    {
        *(
            "same",
            "text || text",
            builtins.RANK,
            builtins.CUT,
            builtins.LEAST,
            builtins.GREATEST,
            builtins.SPLIT,
        ),
        *(builtins.BUILD_ARRAY, builtins.BUILD_OBJECT, builtins.TO_JSONB, builtins.SUBSCRIPT),
        *(
            "int::text",
            "bool::text",
            "lower(text)",
            "upper(text)",
            "btrim(text)",
            "ltrim(text)",
            "rtrim(text)",
        ),
        *("length(text)", "char_length(text)", "jsonb_typeof(jsonb)", "cardinality(array)"),
    }
)
"""Calls that have an answer for every value."""


def failing(items: Sequence[Expr]) -> list[bool]:
    """Return for each item whether Postgres may answer it with an error."""
    return [any(map(_may_fail, walk(item))) for item in items]


def _may_fail(node: Expr) -> bool:
    match node:
        case Call(name=name):
            return name not in _TOTAL and not any(f" {operator} " in f"{name} " for operator in _OPERATORS)
        case Opaque():
            return node.raises
        case Rows(kind="one"):
            return True
        case _:
            return False
