"""Target lists: the columns that a SELECT has, and what they are called."""

from bridge.authorization.algebra import Expr
from bridge.authorization.translation import joins
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import Names


def translate(
    t: Translating, targets: list[Node], names: Names, joined: "joins.Joined"
) -> tuple[list[str], list[Expr]]:
    """Return the names and the values of the columns of a SELECT over ``joined``.

    Raises:
        CompileError: one is not supported.
    """
    columns: list[str] = []
    values: list[Expr] = []
    for target in targets:
        fields = target["ResTarget"]
        kind, inner = open_node(fields["val"])
        if kind == "ColumnRef" and "A_Star" in inner["fields"][-1]:
            for column, value in _starred(strings(inner["fields"][:-1]), joined):
                columns.append(column)
                values.append(value)
            continue
        value = t.value(fields["val"], names)
        values.append(value)
        columns.append(fields.get("name") or column_name(kind, inner))
    return columns, values


def _starred(wanted: list[str], joined: "joins.Joined") -> list[tuple[str, Expr]]:
    """Return the columns of ``*`` or ``table.*``; those that USING merged are first, and once, in ``*``."""
    found = [
        (column, name, name.columns[column])
        for name in joined.level
        if not wanted or wanted == [name.alias]
        for column in name.columns
    ]
    for column, name, _ in found:
        name.used.add(column)
    if wanted:
        return [(column, value) for column, _, value in found]
    once = {column: value for column, _, value in reversed(found) if column in joined.merged}
    return [*reversed(once.items()), *((c, value) for c, _, value in found if c not in joined.merged)]


def column_name(kind: str, fields: Node) -> str:
    """Return what Postgres calls the column of an expression without a name."""
    match kind:
        case "ColumnRef":
            return strings(fields["fields"])[-1]
        case "FuncCall":
            return strings(fields["funcname"])[-1]
        case "TypeCast":
            inner, inner_fields = open_node(fields["arg"])
            return column_name(inner, inner_fields) if inner in ("ColumnRef", "FuncCall") else "?column?"
        case _:
            return "?column?"
