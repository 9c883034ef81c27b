"""The small typed language that policies are translated to.

An expression refers to rows by *scope*: scope 0 is the row whose visibility is asked, every table
in a subquery has a scope of its own.  The user is :class:`Uid` and :class:`Claims`; the database role
is known when a policy is translated, because a plan belongs to one role.  NULL is None, and
three-valued logic is kept until the very end.
"""

from typing import Any, Literal, TypeAlias

import msgspec
from typing_extensions import override

Type: TypeAlias = str
"""Family of types (see ``types.py``): ``uuid``, ``text``, ``int``, ``bool``, ``enum:<name>``, ``numeric``,
``timestamptz``, ``jsonb``, ``<family>[]``...; anything else is ``other:<name>``, only tested for NULL.
``unknown`` is a literal that takes its type from where it stands."""

Operator: TypeAlias = Literal["=", "<>", "<", "<=", ">", ">="]


class Const(msgspec.Struct, frozen=True):
    """A constant; ``value`` None is NULL."""

    value: Any
    type: Type

    @override
    def __hash__(self) -> int:
        return hash((repr(self.value), self.type))

    @override
    def __eq__(self, other: object) -> bool:
        """By their form: in Python 1 is true, which it is not in jsonb, where a policy may ask for it."""
        if not isinstance(other, Const):
            return NotImplemented
        return self.type == other.type and repr(self.value) == repr(other.value)


class ColumnRef(msgspec.Struct, frozen=True):
    """A column of the row in ``scope``; ``nullable`` where the catalog does not exclude NULL."""

    scope: int
    name: str
    type: Type
    nullable: bool = True


class Uid(msgspec.Struct, frozen=True):
    """``auth.uid()``: the id of the user who asks, NULL for anon."""

    type: Type = "uuid"


class Claims(msgspec.Struct, frozen=True):
    """``auth.jwt()``: the claims of the user who asks, never NULL."""

    type: Type = "jsonb"


class Now(msgspec.Struct, frozen=True):
    """``now()``: when the question is asked."""

    type: Type = "timestamptz"


class Call(msgspec.Struct, frozen=True):
    """A built-in function, operator or cast of ``builtins.py``."""

    name: str
    args: tuple["Expr", ...]
    type: Type


class ArrayOf(msgspec.Struct, frozen=True):
    """``ARRAY[items]``, never NULL."""

    items: tuple["Expr", ...]
    type: Type


class Case(msgspec.Struct, frozen=True):
    """The result of the first branch whose condition is true; ``otherwise`` if none is."""

    branches: tuple[tuple["Expr", "Expr"], ...]
    otherwise: "Expr"
    type: Type


class Coalesce(msgspec.Struct, frozen=True):
    """The first item that is not NULL."""

    items: tuple["Expr", ...]
    type: Type


class Compare(msgspec.Struct, frozen=True):
    """``left op right``, both of one comparable type."""

    op: Operator
    left: "Expr"
    right: "Expr"
    type: Type = "bool"


class AnyOf(msgspec.Struct, frozen=True):
    """``left = ANY (array)``."""

    left: "Expr"
    array: "Expr"
    type: Type = "bool"


class IsNull(msgspec.Struct, frozen=True):
    """``operand IS NULL``; never NULL itself."""

    operand: "Expr"
    type: Type = "bool"


class IsTrue(msgspec.Struct, frozen=True):
    """``operand IS TRUE``; never NULL itself."""

    operand: "Expr"
    type: Type = "bool"


class And(msgspec.Struct, frozen=True):
    """All of ``items``; the empty one is true."""

    items: tuple["Expr", ...]
    type: Type = "bool"


class Or(msgspec.Struct, frozen=True):
    """Any of ``items``; the empty one is false."""

    items: tuple["Expr", ...]
    type: Type = "bool"


class Not(msgspec.Struct, frozen=True):
    """``NOT operand``; NULL stays NULL."""

    operand: "Expr"
    type: Type = "bool"


class Source(msgspec.Struct, frozen=True):
    """A table in a subquery's FROM and the scope its rows have.

    With ``elements``, an array, it is no table: each element is a row of one column, :data:`ELEMENT`.
    """

    table: str
    scope: int
    elements: "Expr | None" = None


class Exists(msgspec.Struct, frozen=True):
    """Some combination of the sources' rows makes ``where`` true; never NULL itself."""

    sources: tuple[Source, ...]
    where: "Expr"
    type: Type = "bool"


class InRows(msgspec.Struct, frozen=True):
    """``left IN (SELECT value FROM sources WHERE where)`` where NULL and false have to be told apart."""

    left: "Expr"
    value: "Expr"
    sources: tuple[Source, ...]
    where: "Expr"
    type: Type = "bool"


class Arm(msgspec.Struct, frozen=True):
    """``SELECT value FROM sources WHERE where``; several arms are one UNION ALL."""

    sources: tuple[Source, ...]
    where: "Expr"
    value: "Expr"


class Rows(msgspec.Struct, frozen=True):
    """What a subquery selects, as one value.

    ``kind`` says which: ``one`` (a scalar subquery, that fails on two rows), ``first`` (LIMIT 1, or what
    a function returns: undecided if two rows differ), ``array`` (``ARRAY(SELECT ...)``), ``array_agg``
    (the same, but NULL for no row) and ``count``.
    """

    kind: Literal["one", "first", "array", "array_agg", "count"]
    arms: tuple[Arm, ...]
    type: Type


class Fails(msgspec.Struct, frozen=True):
    """What makes Postgres answer the whole query with an error, unless a constant makes it unneeded."""

    reason: str
    type: Type = "bool"


class Opaque(msgspec.Struct, frozen=True):
    """A part that only Postgres can answer, and why.

    ``raises`` is true if it may end the query with an error: then no later OR branch helps.  ``planned`` is
    true if it may do so before Postgres looks at a row: then no earlier one helps either.
    """

    reason: str
    raises: bool = False
    type: Type = "bool"
    planned: bool = False


Expr: TypeAlias = (
    Fails
    | Opaque
    | Const
    | ColumnRef
    | Uid
    | Claims
    | Now
    | Call
    | ArrayOf
    | Case
    | Coalesce
    | Compare
    | AnyOf
    | IsNull
    | IsTrue
    | And
    | Or
    | Not
    | Exists
    | InRows
    | Rows
)

ELEMENT = "element"

TRUE = Const(True, "bool")  # noqa: FBT003 - the value of a constant
FALSE = Const(False, "bool")  # noqa: FBT003 - the value of a constant
NULL = Const(None, "bool")
