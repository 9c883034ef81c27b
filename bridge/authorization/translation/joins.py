"""FROM: tables, inner and left joins, subqueries, WITH, and functions that return rows.

A subquery with several arms (of a UNION or a LEFT JOIN) makes several of the query around it: rows of the
one or of the other.
"""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import Expr, Source
from bridge.authorization.catalog import Table
from bridge.authorization.expressions import all_of, compare
from bridge.authorization.translation import coercion, queries, spreading
from bridge.authorization.translation.context import AbsentTableError, Node, Translating, open_node, strings
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


def translate(t: Translating, clause: list[Node], names: Names) -> list[Joined]:
    """Translate FROM; its rows are those of all that is returned.

    Raises:
        CompileError: it holds what is not supported.
    """
    joined = [Joined()]
    for item in clause:
        joined = [before.also(more) for before in joined for more in _item(t, item, names, before)]
    return joined


def _item(t: Translating, item: Node, names: Names, before: Joined) -> list[Joined]:
    t.context.count()
    kind, fields = open_node(item)
    match kind:
        case "RangeVar":
            return _range(t, fields, names)
        case "JoinExpr":
            return _join(t, fields, names, before)
        case "RangeSubselect":
            query = queries.run(t, fields["subquery"], _beside(fields, names, before))
            return derived(query, fields.get("alias", {}))
        case "RangeFunction":
            return _function(t, fields, names, before)
        case _:
            raise CompileError(f"{kind} in FROM is not supported in memory")


def _range(t: Translating, fields: Node, names: Names) -> list[Joined]:
    alias = fields.get("alias", {})
    name = alias.get("aliasname", fields["relname"])
    if not fields.get("schemaname") and fields["relname"] in names.queries:
        definition, where_defined = names.queries[fields["relname"]]
        return derived(queries.run(t, definition, where_defined), {**alias, "aliasname": name})
    if alias.get("colnames"):
        raise CompileError("column aliases in FROM are not supported in memory")
    table = _table(t, fields, names)
    scope = t.context.new_scope()
    return [Joined(level=(InScope.of_table(table, name, scope),), sources=(Source(table.qualified, scope),))]


def _table(t: Translating, fields: Node, names: Names) -> Table:
    schemas = [fields["schemaname"]] if fields.get("schemaname") else names.path
    for schema in schemas:
        table = t.context.catalog.table(schema, fields["relname"])
        if table is not None:
            if table.kind != "r":
                raise CompileError(f"{table.qualified} is not a plain table")
            t.context.trackable(table)
            return table
    name = ".".join([*schemas[:1], fields["relname"]])
    if t.context.is_inlining and schemas and not _may_be_untold(t, fields["relname"], schemas):
        says = "does not exist, so that it fails in Postgres, and nobody sees a row by it"
        raise AbsentTableError(f"table {name} {says}")
    raise CompileError(f"table {name} is not known")


def _join(t: Translating, fields: Node, names: Names, before: Joined) -> list[Joined]:
    if fields.get("isNatural"):
        raise CompileError("NATURAL JOIN is not supported in memory")
    found: list[Joined] = []
    for left in _item(t, fields["larg"], names, before):
        right = _item(t, fields["rarg"], names, before.also(left))
        if len(right) > 1 and fields.get("jointype", "JOIN_INNER") != "JOIN_INNER":
            raise CompileError("a LEFT JOIN of a UNION is not supported in memory")
        found += [_joined(t, fields, names, left, each) for each in right]
    return found


def _may_be_untold(t: Translating, name: str, schemas: Sequence[str]) -> bool:
    """Return whether the table may be one that the catalog leaves out: Postgres's and Supabase's own."""
    told = {table.schema for table in t.context.catalog.tables}
    told.add("extensions")  # no rows of users are in there
    return name.startswith("pg_") or not told.issuperset(schemas)


def _joined(t: Translating, fields: Node, names: Names, left: Joined, right: Joined) -> Joined:
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
        case "JOIN_LEFT" if _is_table(right):
            (source,) = right.sources
            both.sources = left.sources
            both.outer = (*left.outer, Outer(source.table, source.scope, all_of(on)))
            return both
        case kind:
            raise CompileError(f"{kind.removeprefix('JOIN_')} JOIN is not supported in memory")


def _is_table(joined: Joined) -> bool:
    plain = len(joined.sources) == 1 and joined.sources[0].elements is None
    return plain and not joined.conditions and not joined.outer


def derived(query: "queries.Query", alias: Node) -> list[Joined]:
    """Return a subquery's rows under a name: its tables become the outer query's own."""
    written = strings(alias.get("colnames", []))
    columns = [*written, *query.columns[len(written) :]]
    found = []
    for arm in query.arms:
        named: Mapping[str, Expr] = dict(zip(columns, arm.values, strict=True))
        name = InScope(alias=alias.get("aliasname", ""), columns=named, used=set())
        found.append(
            Joined(level=(name,), sources=arm.sources, conditions=(arm.where,), distinct=query.distinct)
        )
    return found


def _function(t: Translating, fields: Node, names: Names, before: Joined) -> list[Joined]:
    if fields.get("ordinality") or len(fields["functions"]) != 1 or fields.get("coldeflist"):
        raise CompileError("this function in FROM is not supported in memory")
    call = fields["functions"][0]["List"]["items"][0]
    kind, inner = open_node(call)
    lateral = msgspec.structs.replace(names, levels=(*names.levels, before.level))
    query = spreading.from_query(t, inner, lateral) if kind == "FuncCall" else None
    if query is None:
        raise CompileError("this function in FROM is not supported in memory")
    alias = dict(fields.get("alias", {}))
    alias.setdefault("aliasname", strings(inner["funcname"])[-1])
    # Without a name of its own, as an OUT argument has, the column is called as the function is.
    if "colnames" not in alias and query.columns == (strings(inner["funcname"])[-1],):
        alias["colnames"] = [{"String": {"sval": alias["aliasname"]}}]
    joined = derived(query, alias)
    if len(query.columns) == 1:  # the function's name means its value, as its column does
        for each in joined:
            (value,) = each.level[0].columns.values()
            each.level[0].whole = value
    return joined


def _beside(fields: Node, names: Names, before: Joined) -> Names:
    """Return what a subquery in FROM can refer to: with LATERAL, what stands before it as well."""
    if not fields.get("lateral"):
        return names
    return msgspec.structs.replace(names, levels=(*names.levels, before.level))
