"""Subqueries that make one row of all: ``count(*)``, ``array_agg``, ``bool_or``."""

from typing import Any

import msgspec

from bridge.authorization.algebra import FALSE, TRUE, Arm, Case, Const, Exists, Expr, IsNull, Not, Rows
from bridge.authorization.expressions import all_of, any_of
from bridge.authorization.translation import queries
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

_AGGREGATES = frozenset(
    {"array_agg", "avg", "bool_and", "bool_or", "count", "every", "jsonb_agg", "json_agg", "max", "min"}
    | {"string_agg", "sum"}
)
_ONE: Node = {"A_Const": {"ival": {"ival": 1}}}


def translate(t: Translating, select: Node, names: Names) -> Expr | None:
    """Return the value of a subquery with aggregates; None if it has none.

    Raises:
        CompileError: it has some, of a form that is not supported.
    """
    fields = select["SelectStmt"]
    targets = fields.get("targetList", [])
    if len(targets) != 1:
        return None
    found: list[Node] = []
    target = _replaced(targets[0]["ResTarget"]["val"], found)
    if not found:
        return None
    if any(part in fields for part in ("groupClause", "havingClause", "limitCount", "distinctClause")):
        raise CompileError("aggregates with GROUP BY, HAVING, DISTINCT or LIMIT are not supported in memory")
    for call in found:
        if {"agg_filter", "over", "agg_within_group"} & set(call):
            raise CompileError("an aggregate with FILTER or OVER is not supported in memory")
    arguments = [call["args"][0] if "args" in call else _ONE for call in found]
    inner = {**fields, "targetList": [{"ResTarget": {"val": argument}} for argument in arguments]}
    query = queries.run(t, {"SelectStmt": inner}, names)
    if query.distinct and any(strings(call["funcname"])[-1] == "count" for call in found):
        raise CompileError("a count of distinct rows is not supported in memory")
    values = {f"$aggregate{i}": _value(call, i, query) for i, call in enumerate(found)}
    return t.value(target, msgspec.structs.replace(names, parameters={**names.parameters, **values}))


def is_aggregated(select: Node) -> bool:
    """True if the subquery has one row whatever it reads."""
    found: list[Node] = []
    _replaced(select["SelectStmt"].get("targetList", []), found)
    return bool(found) and "groupClause" not in select["SelectStmt"]


def _is_aggregate(written: list[str]) -> bool:
    *schema, name = written
    return schema in ([], ["pg_catalog"]) and name in _AGGREGATES


def _replaced(node: Any, found: list[Node]) -> Any:
    """Return ``node`` with each aggregate, noted in ``found``, replaced by a name for its value."""
    if isinstance(node, list):
        return [_replaced(item, found) for item in node]
    if not isinstance(node, dict) or "SubLink" in node:
        return node
    if len(node) == 1:
        kind, fields = open_node(node)
        if kind == "FuncCall" and _is_aggregate(strings(fields["funcname"])):
            found.append(fields)
            return {"ColumnRef": {"fields": [{"String": {"sval": f"$aggregate{len(found) - 1}"}}]}}
    return {key: _replaced(value, found) for key, value in node.items()}


def _value(call: Node, position: int, query: "queries.Query") -> Expr:
    name = strings(call["funcname"])[-1]
    arms = tuple(Arm(b.sources, b.where, b.values[position]) for b in query.arms)
    value_type = arms[0].value.type
    match name:
        case "count" if "agg_distinct" not in call:
            return Rows("count", tuple(counted for arm in arms for counted in _counted(arm)), "int")
        case "array_agg" if not value_type.startswith("other:") and not value_type.endswith("[]"):
            return Rows("array_agg", arms, f"{value_type}[]")
        case "bool_or" if value_type == "bool":
            return _either(arms, winner=TRUE)
        case "bool_and" | "every" if value_type == "bool":
            return _either(arms, winner=FALSE)
        case _:
            raise CompileError(f"the aggregate {name} is not supported in memory")


def _counted(arm: Arm) -> tuple[Arm, ...]:
    """Return ``arm`` without the rows whose value is NULL, which do not count."""
    if isinstance(arm.value, Const):
        return () if arm.value.value is None else (arm,)
    return (Arm(arm.sources, all_of([arm.where, Not(IsNull(arm.value))]), arm.value),)


def _either(arms: tuple[Arm, ...], *, winner: Const) -> Expr:
    """``bool_or`` (``winner`` TRUE) and ``bool_and`` (FALSE): NULL where no value is not NULL."""

    def some(wanted: Const) -> Expr:
        tests = [arm.value if wanted == TRUE else Not(arm.value) for arm in arms]
        return any_of([Exists(a.sources, all_of([a.where, x])) for a, x in zip(arms, tests, strict=True)])

    loser = FALSE if winner == TRUE else TRUE
    return Case(((some(winner), winner), (some(loser), loser)), Const(None, "bool"), "bool")
