"""What Postgres checks before it runs a query at all, in parts that are not translated.

Such a part is left to Postgres, but a missing privilege or policies in a circle make the whole query
fail: nobody sees anything then, also not by the other branches of the policy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.authorization.algebra import Fails
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.expressions import failure
from bridge.authorization.translation import calls
from bridge.authorization.translation.context import Node, Translating, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError


def refusal(t: Translating, node: Node, names: Names) -> Fails | None:
    """Return what makes Postgres refuse a query with ``node`` in it; None if nothing that is known.

    Raises:
        QueryFailsError: the policies of its tables refer to each other in a circle.
    """
    # All of them are looked at: a circle counts wherever it is.
    refused = [_of_table(t, table, used, names) for table, used in _tables_in(node, t.context.catalog)]
    refused += [_of_function(t, fields, names) for fields in _nodes(node, "FuncCall")]
    return next((failed for failed in refused if failed is not None), None)


def _tables_in(node: Node, catalog: Catalog) -> list[tuple[Table, frozenset[str]]]:
    """Return the tables that the subqueries in ``node`` read, each with the columns that are named of it."""
    found: list[tuple[Table, set[str]]] = []

    def walk(value: Any, scope: Mapping[str, tuple[Table, set[str]] | None]) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item, scope)
        elif isinstance(value, dict):
            for kind, part in value.items():
                if kind == "ColumnRef":
                    _note(part, scope)
                else:
                    # The arms of a UNION are statements without that name.
                    of_its_own = kind in ("SelectStmt", "larg", "rarg")
                    walk(part, {**scope, **sources(part)} if of_its_own else scope)

    def sources(select: Node) -> dict[str, tuple[Table, set[str]] | None]:
        own: dict[str, tuple[Table, set[str]] | None] = {}
        for kind, fields in _sources_in(select.get("fromClause", [])):
            alias = fields.get("alias", {}).get("aliasname") or fields.get("relname", "")
            table = (
                catalog.table(fields.get("schemaname", ""), fields["relname"]) if kind == "RangeVar" else None
            )
            own[alias] = None
            if table is not None and table.kind == "r":
                found.append((table, set()))
                own[alias] = found[-1]
        return own

    walk(node, {})
    return [(table, frozenset(used)) for table, used in found]


def _note(column: Node, scope: Mapping[str, tuple[Table, set[str]] | None]) -> None:
    """Note a column that is named of a table in ``scope``: all of them, if it is the row."""
    words = strings([field for field in column["fields"] if "String" in field])
    is_row = len(words) < len(column["fields"])
    meant = scope.get(words[-1 if is_row else -2]) if len(column["fields"]) > 1 else None
    if meant is not None:
        table, used = meant
        used.update(table.by_name if is_row else {words[-1]} & table.by_name.keys())


def _sources_in(value: Any) -> Iterator[tuple[str, Node]]:
    """Yield the tables, subqueries and functions of a FROM clause, joined or not."""
    if isinstance(value, list):
        for item in value:
            yield from _sources_in(item)
    elif isinstance(value, dict):
        for kind, fields in value.items():
            if kind.startswith("Range"):
                yield kind, fields
            elif kind == "JoinExpr":
                yield from _sources_in([fields["larg"], fields["rarg"]])
                if "alias" in fields:
                    yield kind, fields


def _of_table(t: Translating, table: Table, used: frozenset[str], names: Names) -> Fails | None:
    try:
        return failure([t.context.row_filter(table, t.context.new_scope(), used, names.acting)])
    except CompileError:
        return None  # its own policies have been looked at on the way


def _of_function(t: Translating, fields: Node, names: Names) -> Fails | None:
    meant = t.context.catalog.functions_by_name.get(".".join(strings(fields["funcname"])), ())
    refused = [calls.refused(t, function, names) for function in meant]
    return refused[0] if refused and None not in refused else None


def _nodes(value: Any, kind: str) -> Iterator[Node]:
    """Yield the fields of every node of a kind in a parse tree."""
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item, kind)
    elif isinstance(value, dict):
        for key, part in value.items():
            if key == kind:
                yield part
            yield from _nodes(part, kind)
