"""Folds the constants of conditions: as Postgres does it, before it plans anything, and further."""

from bridge.authorization.algebra import (
    FALSE,
    NULL,
    TRUE,
    And,
    Call,
    Claims,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    Not,
    Or,
    Rows,
)
from bridge.authorization.expressions import all_of, any_of, rebuild

_PLAIN = ("uuid", "text", "name", "int", "bool", "numeric", "timestamptz", "timestamp", "date")


def folded_qualifier(expr: Expr) -> Expr:
    """Return a policy with its constants folded, as Postgres does before it looks at privileges.

    A subquery that a constant makes unneeded is never planned, so it cannot fail; NULL counts as false here.
    """
    match expr:
        case And(items=items):
            parts = [folded_qualifier(item) for item in items]
            return FALSE if NULL in parts else all_of(parts)
        case Or(items=items):
            return any_of([part for item in items if (part := folded_qualifier(item)) != NULL])
        case _:
            return _of_value(expr)


def _of_value(expr: Expr) -> Expr:
    match expr:
        case Exists() | InRows() | Rows():
            return expr  # planned by itself
        case IsNull(operand=Claims() | ColumnRef()):
            return expr  # never true, but Postgres finds that out later, if at all
        case _:
            return folded(rebuild(expr, _of_value))


def folded(expr: Expr) -> Expr:
    """Return the constant that ``expr`` is, or ``expr``."""
    match expr:
        case IsNull(operand=Const(value=value)):
            return TRUE if value is None else FALSE
        case IsNull(operand=Claims()):
            return FALSE
        case IsNull(operand=ColumnRef(nullable=False)):
            return FALSE
        case Not(operand=Const(value=value)):
            return NULL if value is None else Const(not value, "bool")
        case Not(operand=Not(operand=inner)):
            return inner
        case Compare(left=Const(value=None)) | Compare(right=Const(value=None)):
            return NULL
        case Compare(op=op, left=Const(value=left, type=type_), right=Const(value=right)) if (
            type_ in _PLAIN or type_.startswith("enum:")
        ):
            if op == "=":
                return Const(left == right, "bool")
            return Const(left != right, "bool") if op == "<>" else expr
        case Call(args=args, type=type_) if any(isinstance(a, Const) and a.value is None for a in args):
            return Const(None, type_)
        case And(items=items):
            return all_of(items)
        case Or(items=items):
            return any_of(items)
        case Coalesce(items=items, type=type_):
            kept = tuple(item for item in items if not (isinstance(item, Const) and item.value is None))
            if not kept:
                return Const(None, type_)
            return kept[0] if len(kept) == 1 or isinstance(kept[0], Const) else Coalesce(kept, type_)
        case _:
            return expr
