"""What Postgres checks before it runs a query at all, in parts that are not translated.

Such a part is left to Postgres, but a missing privilege or policies in a circle make the whole query
fail: nobody sees anything then, also not by the other branches of the policy.
"""

from collections.abc import Iterator
from typing import Any

from bridge.authorization.algebra import Fails
from bridge.authorization.catalog import Table
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
    refused = None
    for kind, fields in _nodes(node):
        # All of them are looked at: a circle counts wherever it is.
        failed = _of_table(t, fields, names) if kind == "RangeVar" else _of_function(t, fields, names)
        refused = refused or failed
    return refused


def _of_table(t: Translating, fields: Node, names: Names) -> Fails | None:
    table: Table | None = t.context.catalog.by_name.get(f"{fields.get('schemaname')}.{fields['relname']}")
    if table is None or table.kind != "r":
        return None
    try:
        return failure([t.context.row_filter(table, t.context.new_scope(), frozenset(), names.acting)])
    except CompileError:
        return None  # its own policies have been looked at on the way


def _of_function(t: Translating, fields: Node, names: Names) -> Fails | None:
    meant = t.context.catalog.functions_by_name.get(".".join(strings(fields["funcname"])), ())
    refused = [calls.refused(t, function, names) for function in meant]
    return refused[0] if refused and None not in refused else None


def _nodes(value: Any) -> Iterator[tuple[str, Node]]:
    """Yield the kind and the fields of every node in a parse tree."""
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, dict):
        for key, part in value.items():
            if key in ("RangeVar", "FuncCall"):
                yield key, part
            yield from _nodes(part)
