"""What the parts of the translation share: the catalog, the role, and the way to each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import postgast
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from bridge.authorization.algebra import Expr
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

Node: TypeAlias = dict[str, Any]
"""A node of the parse tree as JSON has it: one key, the kind, whose value holds the fields."""

RowFilter: TypeAlias = Callable[[Table, int, frozenset[str], str], Expr]
"""What a role may see of a table in a subquery: ``(table, scope, columns read, role) -> condition``."""

_OF_AN_EXPRESSION = frozenset({"targetList", "limitOption", "op"})
"""What a SELECT of an expression alone has."""

MAX_NODES = 20_000
"""Expressions translated for one plan: inlining may double with each level, and has to end."""


class AbsentTableError(CompileError):
    """A function reads a table that does not exist; Postgres finds that out before it looks at any row."""


class Translating(Protocol):
    """The translator, as its parts see it."""

    context: "Context"

    def value(self, node: Node, names: Names) -> Expr:
        """Translate an expression.

        Raises:
            CompileError: it holds a construct that is not supported.
        """


class Context:
    """What is the same for all expressions of one plan.

    Args:
        catalog: Where columns get their types from.
        role: The database role that the plan is for.
        row_filter: Asked for each table in a subquery, because that table's own RLS applies there.
        new_scope: Returns a scope number that is not in use in this plan.
        trackable: Raises CompileError for a table whose rows cannot be kept current in memory.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        role: str,
        row_filter: RowFilter,
        new_scope: Callable[[], int],
        trackable: Callable[[Table], None],
    ) -> None:
        self.catalog = catalog
        self.role = role
        self.row_filter = row_filter
        self.new_scope = new_scope
        self.trackable = trackable
        self._inlining: list[str] = []
        self._nodes = 0

    @property
    def is_inlining(self) -> bool:
        """True within the body of a function."""
        return bool(self._inlining)

    def count(self) -> None:
        """Count one more expression.

        Raises:
            CompileError: there are too many.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise CompileError("the policy becomes too large when its functions are put in place")

    @contextmanager
    def inlining(self, name: str) -> Iterator[None]:
        """Mark that the body of function ``name`` is being put in place of a call.

        Raises:
            CompileError: the function calls itself, or something in it is not supported.
        """
        if name in self._inlining:
            raise CompileError(f"function {name}() calls itself")
        self._inlining.append(name)
        try:
            yield
        except CompileError as error:
            raise type(error)(f"function {name}(): {error}") from error
        finally:
            self._inlining.pop()


def open_node(node: Node) -> tuple[str, Node]:
    """Return a node's kind and fields."""
    ((kind, fields),) = node.items()
    return kind, fields


def parse_statements(text: str) -> list[Node]:
    """Return the statements of SQL text.

    Raises:
        CompileError: Postgres's grammar does not accept it.
    """
    try:
        statements = postgast.parse(text).stmts
    except postgast.PgQueryError as error:
        raise CompileError("Postgres's grammar does not accept the text") from error
    except DecodeError as error:
        raise CompileError("an expression is nested too deeply to be read") from error
    return [MessageToDict(statement.stmt) for statement in statements]


def parse_expression(text: str) -> Node:
    """Return the parse tree of one expression.

    Raises:
        CompileError: Postgres's grammar does not accept it.
    """
    statements = parse_statements(f"SELECT {text}")
    select = statements[0]["SelectStmt"]
    targets = select.get("targetList", [])
    # plpgsql takes "true FROM t WHERE ..." for an expression too, which has no value where there is no row.
    if len(statements) != 1 or len(targets) != 1 or not select.keys() <= _OF_AN_EXPRESSION:
        raise CompileError("the text is not one expression")
    value: Node = targets[0]["ResTarget"]["val"]
    return value


def strings(nodes: list[Node]) -> list[str]:
    """Return the texts of a list of String nodes, as names are written."""
    return [str(node.get("String", {}).get("sval", "")) for node in nodes]
