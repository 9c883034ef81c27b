"""plpgsql functions without loops and writes: assignments, ``SELECT INTO``, ``IF`` and ``CASE``, ``RETURN``.

The body is executed symbolically: a variable is the expression that was last assigned to it, and an IF or
a CASE becomes a CASE expression whose branches go on with what follows.  What raises an error, or is not
known, becomes :class:`~bridge.authorization.algebra.Opaque`: then, and only then, Postgres is asked.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import postgast

from bridge.authorization import types
from bridge.authorization.algebra import Case, Const, Exists, Expr, Opaque, Type
from bridge.authorization.catalog import Catalog, Column
from bridge.authorization.expressions import any_of
from bridge.authorization.failing import computed_first
from bridge.authorization.functions import Function
from bridge.authorization.translation import aggregates, coercion, declarations, queries
from bridge.authorization.translation.context import (
    Node,
    Translating,
    open_node,
    parse_expression,
    parse_statements,
)
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

_FOUND = "found"

_LENGTH = re.compile(r"\((\d+)")


def translate(t: Translating, function: Function, names: Names, returns: Type) -> Expr:
    """Return the value of a plpgsql function.

    Args:
        t: The translator.
        function: The function.
        names: Its arguments.
        returns: Family of the type it returns.

    Raises:
        CompileError: it holds statements that are not supported.
    """
    tree, hidden = parsed(function, t.context.catalog, names.path)
    body = _Body(t, tree["datums"], hidden, returns)
    block = tree["action"]["PLpgSQL_stmt_block"]
    if "exceptions" in block:
        raise CompileError("an EXCEPTION block is not supported in memory")
    given = {**names.parameters, _FOUND: Const(False, "bool")}  # noqa: FBT003 - the value of a constant
    inside = body.declared(msgspec.structs.replace(names, parameters=given))
    started = [value for name, value in inside.parameters.items() if value is not given.get(name)]
    return computed_first(started, body.run(block["body"], inside), returns)


def returned_query(t: Translating, function: Function, names: Names) -> Node:
    """Return the query of a set-returning function whose body is ``RETURN QUERY query``.

    Raises:
        CompileError: the body is something else.
    """
    tree, _ = parsed(function, t.context.catalog, names.path)
    statements = tree["action"]["PLpgSQL_stmt_block"]["body"]
    kinds = [next(iter(statement)) for statement in statements]
    if kinds in (["PLpgSQL_stmt_return_query"], ["PLpgSQL_stmt_return_query", "PLpgSQL_stmt_return"]):
        query = statements[0]["PLpgSQL_stmt_return_query"].get("query")
        if query is not None:
            (statement,) = parse_statements(query["PLpgSQL_expr"]["query"])
            if "SelectStmt" in statement:
                return statement
    raise CompileError("the body is not a single RETURN QUERY")


def parsed(function: Function, catalog: Catalog, path: tuple[str, ...]) -> tuple[Node, dict[str, str]]:
    """Return the tree of a body, and the types of variables that are not in it."""
    body = declarations.readable(function.source, catalog, path)
    tag = "$bridge_body$"
    if tag in body.source:
        raise CompileError("the body cannot be quoted")
    names = ", ".join(f'"{argument.name}" text' for argument in function.inputs if argument.name)
    result = "setof text" if function.returns_set else "text"
    text = f"create function f({names}) returns {result} language plpgsql as {tag}{body.source}{tag}"
    try:
        (entry,) = postgast.parse_plpgsql(text)
    except postgast.PgQueryError as error:
        raise CompileError("the body could not be read") from error
    found: Node = entry["PLpgSQL_function"]
    return found, body.types


class _Body:
    def __init__(
        self, t: Translating, datums: Sequence[Node], hidden: Mapping[str, str], returns: Type
    ) -> None:
        self._t = t
        self._hidden = hidden
        self._datums = [open_node(datum) for datum in datums]
        self._returns = returns

    def declared(self, names: Names) -> Names:
        """Return ``names`` with the variables as DECLARE starts them.

        Raises:
            CompileError: one hides an argument.
        """
        records = (f["refname"] for kind, f in self._datums if kind == "PLpgSQL_rec" and "refname" in f)
        names = msgspec.structs.replace(names, records=frozenset(records))
        given = True
        for kind, fields in self._datums:
            name = fields.get("refname")
            if given or kind != "PLpgSQL_var" or name is None:
                given = given and name != _FOUND  # which comes after the arguments, before the variables
                continue
            if name in names.parameters:
                raise CompileError(f"the variable {name} hides another of that name")
            type_ = self._type(fields, names)
            start: Expr = Const(None, type_)
            if "default_val" in fields:
                start = self._assigned(fields["default_val"], type_, names)
            start = self._stored(start, fields, names)
            names = _bound(names, {name: start})
        return names

    def run(self, statements: Sequence[Node], names: Names) -> Expr:
        """Return what the function returns when it goes on with ``statements``.

        Raises:
            CompileError: there is a statement that is not supported.
        """
        for position, statement in enumerate(statements):
            self._t.context.count()
            kind, fields = open_node(statement)
            rest = statements[position + 1 :]
            match kind:
                case "PLpgSQL_stmt_return":
                    if "expr" not in fields:
                        raise CompileError("RETURN without a value is not supported in memory")
                    return self._assigned(fields["expr"], self._returns, names)
                case "PLpgSQL_stmt_if":
                    return self._if(fields, rest, names)
                case "PLpgSQL_stmt_case":
                    return self._case(fields, rest, names)
                case "PLpgSQL_stmt_block" if "exceptions" not in fields:
                    return self.run([*fields.get("body", []), *rest], names)
                case "PLpgSQL_stmt_assign":
                    return self._after(self._assign(fields, names), rest, names)
                case "PLpgSQL_stmt_execsql" if fields.get("into") and not fields.get("strict"):
                    return self._after(self._select_into(fields, names), rest, names)
                case "PLpgSQL_stmt_perform":
                    return self._after(self._perform(fields, names), rest, names)
                case "PLpgSQL_stmt_raise" if fields.get("elog_level", 21) < 21:  # noqa: PLR2004 - ERROR
                    pass  # a notice
                case "PLpgSQL_stmt_raise":
                    return Opaque("the function raises an exception", raises=True, type=self._returns)
                case _:
                    raise CompileError(
                        f"{kind.removeprefix('PLpgSQL_stmt_')} in plpgsql is not supported in memory"
                    )
        return Opaque("the function ends without RETURN", raises=True, type=self._returns)

    def _after(self, bound: Mapping[str, Expr], rest: Sequence[Node], names: Names) -> Expr:
        """Return what the function returns after ``bound`` was computed, which may fail."""
        return computed_first(bound.values(), self.run(rest, _bound(names, bound)), self._returns)

    def _if(self, fields: Node, rest: Sequence[Node], names: Names) -> Expr:
        arms = [(fields["cond"], fields.get("then_body", []))]
        for item in fields.get("elsif_list", []):
            inner = item["PLpgSQL_if_elsif"]
            arms.append((inner["cond"], inner.get("stmts", [])))
        otherwise = self.run([*fields.get("else_body", []), *rest], names)
        return self._branches(arms, otherwise, rest, names)

    def _case(self, fields: Node, rest: Sequence[Node], names: Names) -> Expr:
        """``CASE value WHEN ...``, whose value the parser compares as a variable, and ``CASE WHEN ...``."""
        if "t_expr" in fields:
            value = self._t.value(parse_expression(fields["t_expr"]["PLpgSQL_expr"]["query"]), names)
            if value.type == "unknown":
                value = coercion.implicit(value, "text", self._t.context.catalog)
            names = _bound(names, {self._datums[fields["t_varno"]][1]["refname"]: value})
        whens = [item["PLpgSQL_case_when"] for item in fields["case_when_list"]]
        arms = [(when["expr"], when.get("stmts", [])) for when in whens]
        otherwise: Expr = Opaque("CASE finds no branch and has no ELSE", raises=True, type=self._returns)
        if fields.get("have_else"):
            otherwise = self.run([*fields.get("else_stmts", []), *rest], names)
        return self._branches(arms, otherwise, rest, names)

    def _branches(
        self, arms: Sequence[tuple[Node, Sequence[Node]]], otherwise: Expr, rest: Sequence[Node], names: Names
    ) -> Expr:
        branches = [
            (self._assigned(condition, "bool", names), self.run([*body, *rest], names))
            for condition, body in arms
        ]
        return Case(tuple(branches), otherwise, self._returns)

    def _assign(self, fields: Node, names: Names) -> dict[str, Expr]:
        kind, target = self._datums[fields.get("varno", 0)]
        if kind != "PLpgSQL_var":
            raise CompileError("an assignment to a record's field is not supported in memory")
        text = fields["expr"]["PLpgSQL_expr"]["query"]
        for sign in (":=", "="):
            left, found, right = text.partition(sign)
            if found and left.strip().strip('"').lower() == target["refname"].lower():
                text = right
                break
        value = self._converted(parse_expression(text), self._type(target, names), names)
        return {target["refname"]: self._stored(value, target, names)}

    def _select_into(self, fields: Node, names: Names) -> dict[str, Expr]:
        (select,) = parse_statements(fields["sqlstmt"]["PLpgSQL_expr"]["query"])
        if "SelectStmt" not in select:
            raise CompileError("a function that writes is not supported in memory")
        kind, target = open_node(fields["target"])
        bound: dict[str, Expr] = {}
        targets = select["SelectStmt"].get("targetList", [])
        into = [self._datums[field.get("varno", 0)][1] for field in target.get("fields", [])]
        if kind == "PLpgSQL_rec":
            bound = self._record(select, target["refname"], names)
        elif len(into) == 1 and _is_star(targets):  # a variable of the table's row type
            bound = self._record(select, into[0]["refname"], names)
        else:
            if len(targets) != len(into):
                raise CompileError("SELECT INTO of another number of columns is not supported in memory")
            for variable, column in zip(into, targets, strict=True):
                one = {"SelectStmt": {**select["SelectStmt"], "targetList": [column]}}
                value = queries.scalar(self._t, one, names, kind="first")
                type_ = self._type(variable, names)
                value = coercion.assigned(value, type_, self._t.context.catalog)
                bound[variable["refname"]] = self._stored(value, variable, names)
        bound[_FOUND] = self._found(select, names)
        return bound

    def _record(self, select: Node, record: str, names: Names) -> dict[str, Expr]:
        query = queries.run(self._t, select, names, limited=True)
        bound: dict[str, Expr] = {}
        for position, column in enumerate(query.columns):
            bound[f"{record}.{column}"] = queries.column_of(query, position)
        return bound

    def _perform(self, fields: Node, names: Names) -> dict[str, Expr]:
        (select,) = parse_statements(fields["expr"]["PLpgSQL_expr"]["query"])
        return {_FOUND: self._found(select, names)}

    def _found(self, select: Node, names: Names) -> Expr:
        """Return whether ``select`` has a row: always, if it aggregates or reads no table."""
        if aggregates.is_aggregated(select):
            return Const(True, "bool")  # noqa: FBT003 - the value of a constant
        query = queries.run(self._t, select, names, limited=True)
        return any_of([Exists(arm.sources, arm.where) for arm in query.arms])

    def _assigned(self, expr: Node, type_: Type, names: Names) -> Expr:
        return self._converted(parse_expression(expr["PLpgSQL_expr"]["query"]), type_, names)

    def _converted(self, node: Node, type_: Type, names: Names) -> Expr:
        return coercion.assigned(self._t.value(node, names), type_, self._t.context.catalog)

    def _stored(self, value: Expr, variable: Mapping[str, Any], names: Names) -> Expr:
        """Return what a variable keeps of a value: all of it, unless that is longer than its type allows."""
        written = self._written(variable)
        column = self._column(written, names)
        length = _LENGTH.search(written if column is None else column.type)
        if length is None or value == Const(None, value.type):
            return value
        if value.type != "text":
            raise CompileError(f"the variable {variable['refname']} has a type with a length")
        return coercion.limited(value, int(length[1]), cut=False)

    def _written(self, variable: Mapping[str, Any]) -> str:
        """Return a variable's type as it is declared."""
        written = variable.get("datatype", {}).get("PLpgSQL_type", {}).get("typname", "")
        written = self._hidden.get(str(variable.get("refname", "")).lower(), written)
        return str(written).removeprefix("pg_catalog.").strip('"')

    def _type(self, variable: Mapping[str, Any], names: Names) -> Type:
        written = self._written(variable)
        column = self._column(written, names)
        if column is not None:
            return types.column_type(column)
        if written.lower().endswith("%type"):
            return f"other:{written}"
        return types.type_of_text(written, self._t.context.catalog, names.path)

    def _column(self, written: str, names: Names) -> Column | None:
        """Return the column of ``table.column%TYPE``; None if it is another type, or not known."""
        if not written.lower().endswith("%type"):
            return None
        *qualifier, column = written[: -len("%type")].split(".")
        for schema in [""] if len(qualifier) > 1 else names.path:
            table = self._t.context.catalog.by_name.get(".".join([schema, *qualifier]).lstrip("."))
            if table is not None and column in table.by_name:
                return table.by_name[column]
        return None


def _is_star(targets: Sequence[Node]) -> bool:
    if len(targets) != 1:
        return False
    kind, fields = open_node(targets[0]["ResTarget"]["val"])
    return kind == "ColumnRef" and "A_Star" in fields["fields"][-1]


def _bound(names: Names, values: Mapping[str, Expr]) -> Names:
    return msgspec.structs.replace(names, parameters={**names.parameters, **values})
