"""Functions that return rows: elements of arrays, and set-returning SQL and plpgsql functions.

In FROM they are tables; in a target list (``SELECT unnest(people) FROM rooms``) each row of FROM is there
once for each of theirs, as if they stood last in FROM.
"""

from typing import Any

import msgspec

from bridge.authorization import builtins, types
from bridge.authorization.algebra import ELEMENT, TRUE, Call, ColumnRef, Const, Expr, Source
from bridge.authorization.translation import calls, coercion, queries, targets
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

_OUT = "value"
"""The name of the OUT argument of the functions of JSON."""

_VALUE = "$spread"
"""The name that the rows' value has in a target list, in place of the call."""


def from_query(t: Translating, call: Node, names: Names) -> "queries.Query | None":
    """Return the rows of a function that returns several; None if the call is of another kind.

    Raises:
        CompileError: it is one, but of a form that is not supported.
    """
    array = elements(t, call, names)
    return set_function(t, call, names) if array is None else of_elements(t, call, array)


def of_elements(t: Translating, call: Node, array: Expr) -> "queries.Query":
    """Return the elements of ``array``, what ``call`` returns, as rows."""
    scope = t.context.new_scope()
    value = ColumnRef(scope, ELEMENT, types.element_of(array.type))
    function = strings(call["funcname"])[-1]
    column = function if function == "unnest" else _OUT
    return queries.Query((queries.Branch((Source("", scope, array),), TRUE, (value,)),), (column,))


def elements(t: Translating, call: Node, names: Names) -> Expr | None:
    """Return the array whose elements a call returns as rows; None if it is another call.

    Raises:
        CompileError: it is no array that is known here.
    """
    written = strings(call["funcname"])
    function = written[-1]
    if written[:-1] not in ([], ["pg_catalog"]) or function not in ("unnest", *builtins.ELEMENTS):
        return None
    if len(call.get("args", [])) != 1:
        raise CompileError(f"{function} of several arrays is not supported in memory")
    operand = t.value(call["args"][0], names)
    if function == "unnest":
        types.element_of(operand.type)
        return operand
    wanted, builtin = builtins.ELEMENTS[function]
    operand = coercion.implicit(operand, wanted, t.context.catalog)
    return Call(f"{function}({wanted})", (operand,), builtin.returns)


def set_function(t: Translating, fields: Node, names: Names) -> "queries.Query | None":
    """Return the rows of a set-returning SQL or plpgsql function; None if the call is of another kind.

    Raises:
        CompileError: it is one, but of a form that is not supported.
    """
    if not _returns_set(t, fields, names):
        return None
    written = strings(fields["funcname"])
    arguments = [t.value(argument, names) for argument in fields.get("args", [])]
    function = calls.resolve(t, written, arguments, names)
    refused = calls.refused(t, function, names)
    if refused is not None:
        return queries.Query((queries.Branch((), refused, (refused,)),), (function.name,))
    with t.context.inlining(function.qualified):
        statement, inside = calls.rows_of(t, function, arguments, names)
        query = queries.run(t, statement, inside)
    outputs = tuple(output.name or "" for output in function.outputs)
    columns = outputs or (query.columns if len(query.columns) > 1 else (function.name,))
    if len(columns) != len(query.columns):
        raise CompileError(f"function {function.qualified}() returns other columns than it selects")
    return queries.Query(query.arms, columns, query.distinct)


def _returns_set(t: Translating, fields: Node, names: Names) -> bool:
    *schema, name = strings(fields["funcname"])
    return any(
        function.returns_set
        for where in schema or names.path
        for function in t.context.catalog.functions_by_name.get(f"{where}.{name}", ())
    )


def without_call(t: Translating, written: list[Node], names: Names) -> tuple[list[Node], Node | None]:
    """Return a target list with a name in place of the function that returns rows, and its call, if any.

    Raises:
        CompileError: there are several, whose rows Postgres puts beside each other.
    """
    found: list[Node] = []

    def replaced(node: Any) -> Any:
        if isinstance(node, list):
            return [replaced(item) for item in node]
        if not isinstance(node, dict) or "SubLink" in node:
            return node
        if len(node) == 1:
            kind, fields = open_node(node)
            if kind == "FuncCall" and _is_spread(t, fields, names):
                found.append(fields)
                return {"ColumnRef": {"fields": [{"String": {"sval": _VALUE}}]}}
        return {key: replaced(value) for key, value in node.items()}

    without = []
    for target in written:
        fields = target["ResTarget"]
        name = fields.get("name") or targets.column_name(*open_node(fields["val"]))
        before = len(found)
        value = replaced(fields["val"])
        without.append(
            {"ResTarget": {**fields, "val": value, "name": name}} if len(found) > before else target
        )
    if len(found) > 1:
        raise CompileError("several functions that return rows are not supported in memory")
    return without, found[0] if found else None


def _is_spread(t: Translating, fields: Node, names: Names) -> bool:
    written = strings(fields["funcname"])
    built_in = written[:-1] in ([], ["pg_catalog"]) and written[-1] in ("unnest", *builtins.ELEMENTS)
    return built_in or _returns_set(t, fields, names)


def bound(names: Names, query: "queries.Query", arm: "queries.Branch") -> Names:
    """Return what a target list can refer to where ``arm`` of ``query`` stands for the function's rows.

    Raises:
        CompileError: they have several columns.
    """
    if len(arm.values) != 1:
        raise CompileError(f"a row of {len(query.columns)} columns as a value is not supported in memory")
    return msgspec.structs.replace(names, parameters={**names.parameters, _VALUE: arm.values[0]})


def array_of(t: Translating, select: Node, names: Names) -> Expr | None:
    """Return the array of ``SELECT unnest(array)``, also with a cast around it; None if it is none."""
    array = _array_of(t, select, names)
    # No rows come of a NULL array: as of an empty one.
    return None if array is None else coercion.coalesced([array, Const([], array.type)], t.context.catalog)


def _array_of(t: Translating, select: Node, names: Names) -> Expr | None:
    targets = select.get("targetList", [])
    if set(select) - {"targetList", "limitOption", "op"} or len(targets) != 1:
        return None
    kind, fields = open_node(targets[0]["ResTarget"]["val"])
    if kind == "TypeCast":
        inner_kind, inner = open_node(fields["arg"])
        if inner_kind != "FuncCall" or fields["typeName"].get("typmods"):
            return None
        array = elements(t, inner, names)
        if array is None:
            return None
        target = types.named_type(strings(fields["typeName"]["names"]), t.context.catalog, names.path)
        try:
            return coercion.cast(array, f"{target}[]", t.context.catalog)
        except CompileError:
            return None  # each element can be cast
    return elements(t, fields, names) if kind == "FuncCall" else None
