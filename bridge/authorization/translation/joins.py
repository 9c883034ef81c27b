"""FROM: tables, inner and left joins, subqueries, WITH, and functions that return rows or arrays."""

from collections.abc import Mapping

import msgspec

from bridge.authorization import builtins, types
from bridge.authorization.algebra import Call, Const, Expr, Source
from bridge.authorization.catalog import Table
from bridge.authorization.expressions import all_of, compare
from bridge.authorization.translation import calls, coercion, queries
from bridge.authorization.translation.context import Node, Translating, open_node, strings
from bridge.authorization.translation.names import InScope, Names
from bridge.errors import CompileError


class Outer(msgspec.Struct, frozen=True):
    """A table that is LEFT JOINed: its row is there if ``on`` is true for one, else all NULL."""

    table: str
    scope: int
    on: Expr


class Joined(msgspec.Struct, kw_only=True):
    """A translated FROM clause.

    Attributes:
        level: What can be referred to.
        sources: Tables of which each combination of rows counts.
        conditions: What has to be true of a combination.
        outer: Tables that are left joined.
        merged: Columns that USING made one of.
        distinct: True if Postgres has some of the rows once that are here several times.
    """

    level: tuple[InScope, ...] = ()
    sources: tuple[Source, ...] = ()
    conditions: tuple[Expr, ...] = ()
    outer: tuple[Outer, ...] = ()
    merged: frozenset[str] = frozenset()
    distinct: bool = False

    def also(self, other: "Joined") -> "Joined":
        """Return the cross join of both."""
        return Joined(
            level=(*self.level, *other.level),
            sources=(*self.sources, *other.sources),
            conditions=(*self.conditions, *other.conditions),
            outer=(*self.outer, *other.outer),
            merged=self.merged | other.merged,
            distinct=self.distinct or other.distinct,
        )


def translate(t: Translating, clause: list[Node], names: Names) -> Joined:
    """Translate FROM.

    Raises:
        CompileError: it holds what is not supported.
    """
    joined = Joined()
    for item in clause:
        joined = joined.also(_item(t, item, names, joined))
    return joined


def _item(t: Translating, item: Node, names: Names, before: Joined) -> Joined:
    kind, fields = open_node(item)
    match kind:
        case "RangeVar":
            return _range(t, fields, names)
        case "JoinExpr":
            return _join(t, fields, names, before)
        case "RangeSubselect":
            query = queries.run(t, fields["subquery"], names)
            return _derived(query, fields.get("alias", {}))
        case "RangeFunction":
            return _function(t, fields, names, before)
        case _:
            raise CompileError(f"{kind} in FROM is not supported in memory")


def _range(t: Translating, fields: Node, names: Names) -> Joined:
    alias = fields.get("alias", {})
    name = alias.get("aliasname", fields["relname"])
    if not fields.get("schemaname") and fields["relname"] in names.queries:
        definition = names.queries[fields["relname"]]
        outside = msgspec.structs.replace(
            names, queries={k: v for k, v in names.queries.items() if k != fields["relname"]}
        )
        return _derived(queries.run(t, definition, outside), {**alias, "aliasname": name})
    if alias.get("colnames"):
        raise CompileError("column aliases in FROM are not supported in memory")
    table = _table(t, fields, names)
    scope = t.context.new_scope()
    return Joined(level=(InScope.of_table(table, name, scope),), sources=(Source(table.qualified, scope),))


def _table(t: Translating, fields: Node, names: Names) -> Table:
    schemas = [fields["schemaname"]] if fields.get("schemaname") else names.path
    for schema in schemas:
        table = t.context.catalog.by_name.get(f"{schema}.{fields['relname']}")
        if table is not None:
            if table.kind != "r":
                raise CompileError(f"{table.qualified} is not a plain table")
            t.context.trackable(table)
            return table
    raise CompileError(f"table {'.'.join([*schemas[:1], fields['relname']])} is not known")


def _join(t: Translating, fields: Node, names: Names, before: Joined) -> Joined:
    left = _item(t, fields["larg"], names, before)
    right = _item(t, fields["rarg"], names, before.also(left))
    if fields.get("isNatural"):
        raise CompileError("NATURAL JOIN is not supported in memory")
    both = left.also(right)
    inside = msgspec.structs.replace(names, levels=(*names.levels, both.level))
    on: list[Expr] = []
    for column in strings(fields.get("usingClause", [])):
        sides = [next((n for n in side.level if column in n.columns), None) for side in (left, right)]
        if None in sides:
            raise CompileError(f"column {column} of USING is not known")
        for side in sides:
            if side is not None:
                side.used.add(column)
        first, second = coercion.unify([s.columns[column] for s in sides if s is not None], t.context.catalog)
        types.check_comparable("=", first.type, second.type)
        on.append(compare("=", first, second))
        both.merged |= {column}
    if "quals" in fields:
        on.append(t.value(fields["quals"], inside))
    match fields.get("jointype", "JOIN_INNER"):
        case "JOIN_INNER":
            both.conditions = (*both.conditions, *on)
            return both
        case "JOIN_LEFT" if len(right.sources) == 1 and not right.conditions and not right.outer:
            (source,) = right.sources
            both.sources = left.sources
            both.outer = (*left.outer, Outer(source.table, source.scope, all_of(on)))
            return both
        case kind:
            raise CompileError(f"{kind.removeprefix('JOIN_')} JOIN is not supported in memory")


def _derived(query: "queries.Query", alias: Node) -> Joined:
    """Return a subquery's rows under a name: its tables become the outer query's own."""
    if len(query.arms) != 1:
        raise CompileError("a UNION or LEFT JOIN inside of FROM is not supported in memory")
    (arm,) = query.arms
    written = strings(alias.get("colnames", []))
    columns = [*written, *query.columns[len(written) :]]
    named: Mapping[str, Expr] = dict(zip(columns, arm.values, strict=True))
    name = InScope(alias=alias.get("aliasname", ""), columns=named, used=set())
    return Joined(level=(name,), sources=arm.sources, conditions=(arm.where,), distinct=query.distinct)


def _function(t: Translating, fields: Node, names: Names, before: Joined) -> Joined:
    if fields.get("ordinality") or len(fields["functions"]) != 1 or fields.get("coldeflist"):
        raise CompileError("this function in FROM is not supported in memory")
    call = fields["functions"][0]["List"]["items"][0]
    kind, inner = open_node(call)
    lateral = msgspec.structs.replace(names, levels=(*names.levels, before.level))
    query = set_function(t, inner, lateral) if kind == "FuncCall" else None
    if query is None:
        raise CompileError("this function in FROM is not supported in memory")
    alias = dict(fields.get("alias", {}))
    alias.setdefault("aliasname", strings(inner["funcname"])[-1])
    if len(query.columns) == 1 and "colnames" not in alias:
        alias["colnames"] = [{"String": {"sval": alias["aliasname"]}}]
    return _derived(query, alias)


def set_function(t: Translating, fields: Node, names: Names) -> "queries.Query | None":
    """Return the rows of a set-returning SQL or plpgsql function; None if the call is of another kind.

    Raises:
        CompileError: it is one, but of a form that is not supported.
    """
    written = strings(fields["funcname"])
    schemas = written[:-1] or list(names.path)
    if not any(
        function.returns_set
        for schema in schemas
        for function in t.context.catalog.functions_by_name.get(f"{schema}.{written[-1]}", ())
    ):
        return None
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


def spread_array(t: Translating, select: Node, names: Names) -> Expr | None:
    """Return the array of ``SELECT unnest(array)``, also with a cast around it; None if it is none."""
    array = _spread(t, select, names)
    # No rows come of a NULL array: as of an empty one.
    return None if array is None else coercion.coalesced([array, Const([], array.type)], t.context.catalog)


def _spread(t: Translating, select: Node, names: Names) -> Expr | None:
    targets = select.get("targetList", [])
    if set(select) - {"targetList", "limitOption", "op"} or len(targets) != 1:
        return None
    kind, fields = open_node(targets[0]["ResTarget"]["val"])
    if kind == "TypeCast":
        inner_kind, inner = open_node(fields["arg"])
        if inner_kind != "FuncCall" or fields["typeName"].get("typmods"):
            return None
        array = _unnested(t, inner, names)
        if array is None:
            return None
        target = types.named_type(strings(fields["typeName"]["names"]), t.context.catalog, names.path)
        return coercion.cast(array, f"{target}[]", t.context.catalog)
    return _unnested(t, fields, names) if kind == "FuncCall" else None


def _unnested(t: Translating, fields: Node, names: Names) -> Expr | None:
    written = strings(fields["funcname"])
    if written[:-1] not in ([], ["pg_catalog"]) or len(fields.get("args", [])) != 1:
        return None
    if written[-1] == "unnest":
        return t.value(fields["args"][0], names)
    if written[-1] in ("jsonb_array_elements_text", "json_array_elements_text"):
        value = t.value(fields["args"][0], names)
        return Call(builtins.ELEMENTS, (value,), "text[]") if value.type in ("jsonb", "json") else None
    return None
