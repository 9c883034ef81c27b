"""What Postgres checks before it runs a query at all, in parts that are not translated.

Such a part is left to Postgres, but a missing privilege or policies in a circle make the whole query
fail: nobody sees anything then, also not by the other branches of the policy.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from bridge.authorization.algebra import Fails
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.expressions import failure
from bridge.authorization.translation import calls
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

_Read: TypeAlias = tuple[Table, set[str]]
"""A table in FROM, and the columns that are named of it."""

_Columns: TypeAlias = Sequence[tuple[str | None, Sequence[tuple[_Read, str]]]]
"""The columns that a name in FROM has, and whose they are: of several tables where USING made one of them.

Of the one without a name it is not known what it is, or how many it stands for.
"""

_UNKNOWN: _Columns = ((None, ()),)


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
    found: list[_Read] = []

    def walk(value: Any, scope: Mapping[str, _Columns]) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item, scope)
        elif isinstance(value, dict):
            for kind, part in value.items():
                if kind == "ColumnRef":
                    _note(part, scope)
                elif kind == "JoinExpr" and "alias" in part:
                    inside: dict[str, _Columns] = {}  # its ON is the only place where these names count
                    for side in (part["larg"], part["rarg"]):
                        _columns(side, catalog, found, inside)
                    walk(part, {**scope, **inside})
                else:
                    # The arms of a UNION are statements without that name.
                    of_its_own = kind in ("SelectStmt", "larg", "rarg")
                    walk(part, {**scope, **named(part)} if of_its_own else scope)

    def named(select: Node) -> dict[str, _Columns]:
        own: dict[str, _Columns] = {}
        for item in select.get("fromClause", []):
            _columns(item, catalog, found, own)
        return own

    walk(node, {})
    return [(table, frozenset(used)) for table, used in found]


def _note(column: Node, scope: Mapping[str, _Columns]) -> None:
    """Note a column that is named of what is in ``scope``: all of them, if it is the row."""
    words = strings([field for field in column["fields"] if "String" in field])
    is_row = len(words) < len(column["fields"])
    if len(column["fields"]) > 1:
        meant = scope.get(words[-1 if is_row else -2], ())
        _mark(own for name, own in meant if is_row or name == words[-1])


def _mark(columns: Iterable[Sequence[tuple[_Read, str]]]) -> None:
    for own in columns:
        for (_, used), column in own:
            used.add(column)


def _columns(item: Node, catalog: Catalog, found: list[_Read], scope: dict[str, _Columns]) -> _Columns:
    """Return the columns of an item of FROM; what it reads comes to ``found``, and its names to ``scope``."""
    kind, fields = open_node(item)
    if kind == "RangeTableSample":
        kind, fields = open_node(fields["relation"])
    alias = fields.get("alias", {})
    columns = _UNKNOWN
    if kind == "JoinExpr":
        inside = {} if alias else scope  # a name of its own hides those of what is joined
        left = _columns(fields["larg"], catalog, found, inside)
        columns = _merged(left, _columns(fields["rarg"], catalog, found, inside), fields)
    elif kind == "RangeVar":
        table = catalog.table(fields.get("schemaname", ""), fields["relname"])
        if table is not None:
            found.append((table, set()))
            columns = [(column.name, [(found[-1], column.name)]) for column in table.columns]
    columns = _renamed(columns, strings(alias.get("colnames", [])))
    name = alias.get("aliasname") or fields.get("relname")
    if name is not None:
        scope[name] = columns
    return columns


def _merged(left: _Columns, right: _Columns, join: Node) -> _Columns:
    """Return the columns of a join; Postgres compares those of USING, whoever names them."""
    using = strings(join.get("usingClause", []))
    merged: _Columns = [
        (name, [one for each, own in (*left, *right) if each == name for one in own]) for name in using
    ]
    _mark(own for _, own in merged)
    return [*merged, *(each for each in (*left, *right) if each[0] not in using)]


def _renamed(columns: _Columns, names: Sequence[str]) -> _Columns:
    if names and any(name is None for name, _ in columns):  # which of them has which name is not known
        every = [one for _, own in columns for one in own]
        return [*((name, every) for name in names), *columns]
    return [(new, own) for new, (_, own) in zip(names, columns, strict=False)] + [*columns[len(names) :]]


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
