"""Subqueries: FROM with joins, WHERE, and what is made of the rows (EXISTS, IN, ARRAY, one value)."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    Arm,
    Case,
    Const,
    Exists,
    Expr,
    InRows,
    Not,
    Rows,
    Source,
)
from bridge.authorization.expressions import all_of, any_of, failure, rebuilt, with_null
from bridge.authorization.translation import aggregates, coercion, joins, operations, spreading, targets
from bridge.authorization.translation.context import Node, Translating
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

ScalarKind = Literal["one", "first"]


class Query(msgspec.Struct, frozen=True):
    """A translated SELECT: its arms (as of UNION ALL), each with the values it selects, in order.

    ``distinct`` is true if Postgres has some of the rows once that are here several times.
    """

    arms: tuple["Branch", ...]
    columns: tuple[str, ...]
    distinct: bool = False


class Branch(msgspec.Struct, frozen=True):
    """``SELECT values FROM sources WHERE where``."""

    sources: tuple[Source, ...]
    where: Expr
    values: tuple[Expr, ...]


def translate(t: Translating, fields: Node, names: Names) -> Expr:
    """Translate a subquery in an expression.

    Raises:
        CompileError: it holds what is not supported.
    """
    select = fields["subselect"]
    match fields["subLinkType"]:
        case "EXPR_SUBLINK":
            return scalar(t, select, names, kind="one")
        case "EXISTS_SUBLINK":
            query = run(t, select, names, limited=True)
            return any_of([Exists(arm.sources, arm.where) for arm in query.arms])
        case "ARRAY_SUBLINK":
            query = run(t, select, names)
            arms = tuple(Arm(b.sources, b.where, _only(b.values)) for b in query.arms)
            return Rows("array", arms, f"{arms[0].value.type}[]")
        case "ANY_SUBLINK" if fields.get("operName") in (None, [{"String": {"sval": "="}}]):
            left = t.value(fields["testexpr"], names)
            array = spreading.array_of(t, select["SelectStmt"], names)
            if array is not None:  # x IN (SELECT unnest(array))
                return operations.any_element(left, array, t.context.catalog)
            return _member(t, left, run(t, select, names))
        case "ALL_SUBLINK" if fields.get("operName") == [{"String": {"sval": "<>"}}]:
            return Not(_member(t, t.value(fields["testexpr"], names), run(t, select, names)))
        case kind:
            raise CompileError(f"{kind} with this operator is not supported in memory")


def _member(t: Translating, left: Expr, query: Query) -> Expr:
    """``left IN (query)``: NULL where a NULL among the values leaves it open."""
    parts: list[Expr] = []
    for arm in query.arms:
        value = _only(arm.values)
        # (x = any (select an_array)) is printed as IN is: Postgres compares with the array's elements then.
        mine, value = coercion.unify([left, value], t.context.catalog)
        types.check_comparable("=", mine.type, value.type)
        parts.append(InRows(mine, value, arm.sources, arm.where))
    return any_of(parts)


def scalar(t: Translating, select: Node, names: Names, *, kind: ScalarKind) -> Expr:
    """Translate a subquery that is one value: NULL for no row.

    Args:
        t: The translator.
        select: The SELECT statement's node.
        names: What it can refer to.
        kind: What two rows mean: see :class:`~bridge.authorization.algebra.Rows`.

    Raises:
        CompileError: it holds what is not supported.
    """
    aggregated = aggregates.translate(t, select, names)
    if aggregated is not None:
        return aggregated
    if _limit_one(select["SelectStmt"]) or _is_distinct(select["SelectStmt"]):
        kind = "first"
    query = run(t, select, names, limited=True)
    values = [_only(arm.values) for arm in query.arms]
    if len(query.arms) == 1 and not query.arms[0].sources:
        if query.arms[0].where == TRUE:
            return values[0]
        return Case(((query.arms[0].where, values[0]),), Const(None, values[0].type), values[0].type)
    values = coercion.unify(values, t.context.catalog)
    arms = tuple(Arm(b.sources, b.where, value) for b, value in zip(query.arms, values, strict=True))
    return Rows(kind, arms, values[0].type)


def column_of(query: Query, position: int) -> Expr:
    """Return one column of the first row of ``query``."""
    arms = tuple(Arm(b.sources, b.where, b.values[position]) for b in query.arms)
    return Rows("first", arms, arms[0].value.type)


def _only(values: Sequence[Expr]) -> Expr:
    if len(values) != 1:
        raise CompileError(f"a subquery of {len(values)} columns where one is expected")
    return values[0]


def run(t: Translating, node: Node, names: Names, *, limited: bool = False) -> Query:
    """Translate a SELECT (or a UNION of several) whose rows are only looked at, never counted or ordered.

    Args:
        t: The translator.
        node: The SELECT statement's node.
        names: What it can refer to.
        limited: True if it does not matter which row LIMIT 1 leaves.

    Raises:
        CompileError: it has aggregates, GROUP BY, LIMIT other than 1, or other unsupported parts.
    """
    if "SelectStmt" not in node:
        raise CompileError("a query that writes is not supported in memory")
    select = node["SelectStmt"]
    outside = _with_queries(select, names)
    _check_plain(select)
    if "limitCount" in select and not limited:
        return _first(run(t, node, names, limited=True))
    if select["op"] == "SETOP_UNION":
        return _union(t, select, outside)
    selected, call = spreading.without_call(t, select.get("targetList", []), outside)
    found = [
        _selected(t, {**select, "targetList": selected}, call, outside, joined)
        for joined in joins.translate(t, select.get("fromClause", []), outside)
    ]
    return Query(
        tuple(arm for query in found for arm in query.arms),
        found[0].columns,
        any(query.distinct for query in found),
    )


def _union(t: Translating, select: Node, names: Names) -> Query:
    left = run(t, {"SelectStmt": select["larg"]}, names)
    right = run(t, {"SelectStmt": select["rarg"]}, names)
    if len(left.columns) != len(right.columns):
        raise CompileError("a UNION of subqueries of different columns is not supported in memory")
    arms = (*left.arms, *right.arms)
    columns = zip(*(arm.values for arm in arms), strict=True)
    unified = [coercion.unify(list(values), t.context.catalog) for values in columns]
    return Query(
        tuple(
            Branch(arm.sources, arm.where, values)
            for arm, values in zip(arms, zip(*unified, strict=True), strict=True)
        ),
        left.columns,
        _is_distinct(select) or left.distinct or right.distinct,
    )


def _first(query: Query) -> Query:
    """Return ``query`` with LIMIT 1: whichever row that leaves, as a row without sources."""
    if len(query.arms) == 1 and not query.arms[0].sources:
        return query
    found = any_of([Exists(arm.sources, arm.where) for arm in query.arms])
    values = tuple(column_of(query, position) for position in range(len(query.columns)))
    return Query((Branch((), found, values),), query.columns)


def _selected(t: Translating, select: Node, call: Node | None, names: Names, joined: "joins.Joined") -> Query:
    """Return the rows of a SELECT whose FROM is ``joined``; ``call`` returns rows in its target list."""
    inside = msgspec.structs.replace(
        names, levels=(*names.levels, joined.level), merged=names.merged | joined.merged
    )
    where: list[Expr] = list(joined.conditions)
    if "whereClause" in select:
        where.append(_condition(t, select["whereClause"], inside))
    spread = None if call is None else spreading.from_query(t, call, inside)
    lists = (
        [targets.translate(t, select.get("targetList", []), inside, joined)]
        if spread is None
        else [
            targets.translate(t, select["targetList"], spreading.bound(inside, spread, arm), joined)
            for arm in spread.arms
        ]
    )
    # After the whole subquery is read: only then is it known which columns the role needs.
    seen = {
        n.scope: t.context.row_filter(n.table, n.scope, frozenset(n.used), names.acting)
        for n in joined.level
        if n.table is not None
    }
    distinct = joined.distinct or _is_distinct(select) or (spread is not None and spread.distinct)
    columns = tuple(lists[0][0])
    more = (Branch((), TRUE, ()),) if spread is None else spread.arms
    # What fails in WHERE fails also where the tables' own policies are constant: those are other qualifiers.
    written = all_of(where)
    values = [value for _, row in lists for value in row]
    failed = failure(
        [*seen.values(), written, *values, *(o.on for o in joined.outer), *(arm.where for arm in more)]
    )
    if failed is not None:
        return Query((Branch(joined.sources, failed, tuple(lists[0][1])),), columns, distinct)
    where = [written, *(seen[source.scope] for source in joined.sources if source.scope in seen)]
    outer = [msgspec.structs.replace(o, on=all_of([o.on, seen[o.scope]])) for o in joined.outer]
    branches = [
        branch
        for arm, (_, row) in zip(more, lists, strict=True)
        for branch in _split(
            Branch((*joined.sources, *arm.sources), all_of([*where, arm.where]), tuple(row)), outer
        )
    ]
    return Query(tuple(branches), columns, distinct)


def _condition(t: Translating, node: Node, names: Names) -> Expr:
    expr = t.value(node, names)
    if isinstance(expr, Const) and expr.value is None:
        return FALSE
    if expr.type != "bool":
        raise CompileError(f"a condition of type {types.plain(expr.type)} is not boolean")
    return expr


def _split(branch: Branch, outer: Sequence["joins.Outer"]) -> list[Branch]:
    """Return what LEFT JOINs make of a branch: rows with a partner, and rows without one."""
    if not outer:
        return [branch]
    first, *rest = outer
    partner = Source(first.table, first.scope)
    with_partner = Branch((*branch.sources, partner), all_of([branch.where, first.on]), branch.values)
    alone = Branch(
        rebuilt(branch.sources, lambda part: with_null(part, first.scope)),
        all_of([with_null(branch.where, first.scope), Not(Exists((partner,), first.on))]),
        tuple(with_null(value, first.scope) for value in branch.values),
    )
    without = [msgspec.structs.replace(o, on=with_null(o.on, first.scope)) for o in rest]
    return [*_split(with_partner, rest), *_split(alone, without)]


def _is_distinct(select: Node) -> bool:
    return "distinctClause" in select or (select["op"] == "SETOP_UNION" and not select.get("all"))


def _limit_one(select: Node) -> bool:
    limit = select.get("limitCount", {})
    return bool(limit.get("A_Const", {}).get("ival", {}).get("ival") == 1)


def _check_plain(select: Node) -> None:
    """Refuse what changes the set of rows in a way that is not translated.

    DISTINCT and ORDER BY change nothing about which there are.
    """
    for part, name in (
        ("groupClause", "GROUP BY"),
        ("havingClause", "HAVING"),
        ("windowClause", "WINDOW"),
        ("limitOffset", "OFFSET"),
        ("lockingClause", "FOR UPDATE"),
        ("valuesLists", "VALUES"),
    ):
        if part in select:
            raise CompileError(f"a subquery with {name} is not supported in memory")
    if any(select.get("distinctClause", [])):  # that of a plain DISTINCT holds an empty node
        raise CompileError("a subquery with DISTINCT ON is not supported in memory")
    if select["op"] not in ("SETOP_NONE", "SETOP_UNION"):
        raise CompileError(f"{select['op'].removeprefix('SETOP_')} of subqueries is not supported in memory")
    if "limitCount" in select and not _limit_one(select):
        raise CompileError("a subquery with LIMIT is not supported in memory")


def _with_queries(select: Node, names: Names) -> Names:
    """Return ``names`` with what WITH defines; each use of it is translated anew."""
    if "withClause" not in select:
        return names
    clause = select["withClause"]
    if clause.get("recursive"):
        raise CompileError("WITH RECURSIVE is not supported in memory")
    queries = dict(names.queries)
    for item in clause["ctes"]:
        cte = item["CommonTableExpr"]
        if "aliascolnames" in cte:
            raise CompileError("WITH with column names is not supported in memory")
        queries[cte["ctename"]] = (cte["ctequery"], msgspec.structs.replace(names, queries=dict(queries)))
    return msgspec.structs.replace(names, queries=queries)
