"""From the text of a policy expression to the algebra.

The text is what ``pg_get_expr`` prints under ``search_path = ''``: names are qualified, casts are
explicit, an operator that is not built in is written ``OPERATOR(schema.op)``.  It is parsed with
Postgres's own grammar (libpg_query through ``postgast``).  Anything that is not known to mean the
same here as in Postgres raises :class:`~bridge.errors.CompileError` with the construct's name.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec
import postgast
from google.protobuf.json_format import MessageToDict

from bridge.authorization import functions, types
from bridge.authorization.algebra import (
    FALSE,
    ColumnRef,
    Const,
    Exists,
    Expr,
    Fails,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Operator,
    Source,
    Type,
    Uid,
    all_of,
    any_of,
    compare,
    failure,
)
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.names import InScope, Names
from bridge.errors import CompileError

Node: TypeAlias = dict[str, Any]
"""A node of the parse tree as JSON has it: one key, the kind, whose value holds the fields."""

RowFilter: TypeAlias = Callable[[Table, int, frozenset[str], str], Expr]
"""What a role may see of a table in a subquery: ``(table, scope, columns read, role) -> condition``."""

_OPERATORS: dict[str, Operator] = {"=": "=", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Parser:
    """Translates expressions of one plan, for one role; hands out the plan's scopes.

    Args:
        catalog: Where columns get their types from.
        role: The database role that the plan is for, what ``auth.role()`` answers.
        row_filter: Asked for each table in a subquery, because that table's own RLS applies there.
        new_scope: Returns a scope number that is not in use in this plan.
    """

    def __init__(
        self, catalog: Catalog, *, role: str, row_filter: RowFilter, new_scope: Callable[[], int]
    ) -> None:
        self._catalog = catalog
        self._role = role
        self._row_filter = row_filter
        self._new_scope = new_scope
        self._inlining: list[str] = []

    def parse(self, text: str, table: Table, scope: int, acting: str) -> Expr:
        """Translate ``text``, an expression over the columns of ``table``, whose row is in ``scope``.

        Args:
            text: What ``pg_get_expr`` printed.
            table: The table whose policy it is.
            scope: Where its row is.
            acting: The role whose privileges and policies count.

        Raises:
            CompileError: the text holds a construct that is not supported.
        """
        try:
            tree = MessageToDict(postgast.parse(f"SELECT {text}").stmts[0].stmt)
        except postgast.PgQueryError as error:
            raise CompileError("Postgres's grammar does not accept the expression") from error
        value = _selected(tree["SelectStmt"])
        row = InScope(alias=table.name, table=table, scope=scope, used=set())
        return self._condition(value, Names(levels=((row,),), acting=acting), positive=True)

    def _condition(self, node: Node, names: Names, *, positive: bool) -> Expr:
        """Translate a node that has to be boolean.

        Args:
            node: The node.
            names: What can be referred to, innermost subquery last.
            positive: True while only "is it true" matters, so that NULL may become false.
        """
        kind, fields = _open(node)
        match kind:
            case "BoolExpr":
                args = fields["args"]
                if fields["boolop"] == "NOT_EXPR":
                    return Not(self._condition(args[0], names, positive=False))
                parts = [self._condition(arg, names, positive=positive) for arg in args]
                return all_of(parts) if fields["boolop"] == "AND_EXPR" else any_of(parts)
            case "SubLink" if fields["subLinkType"] in ("EXISTS_SUBLINK", "ANY_SUBLINK"):
                return self._subquery(fields, names, positive=positive)
            case _:
                expr = self._value(node, names)
                if expr.type != "bool":
                    raise CompileError(f"a condition of type {expr.type} is not boolean")
                return expr

    def _value(self, node: Node, names: Names) -> Expr:
        kind, fields = _open(node)
        match kind:
            case "A_Const":
                return _constant(fields)
            case "ColumnRef":
                return self._column(fields, names)
            case "TypeCast":
                return self._cast(fields, names)
            case "A_Expr":
                return self._operation(fields, names)
            case "NullTest":
                operand = self._value(fields["arg"], names)
                types.check_null_test(operand.type)
                test = IsNull(operand)
                return test if fields["nulltesttype"] == "IS_NULL" else Not(test)
            case "BooleanTest":
                return self._boolean_test(fields, names)
            case "BoolExpr":
                return self._condition(node, names, positive=False)
            case "ParamRef":
                return names.parameters[f"${fields['number']}"]
            case "FuncCall":
                return self._call(fields, names)
            case "SubLink":
                if fields["subLinkType"] == "EXPR_SUBLINK":
                    return self._scalar_subquery(fields["subselect"], names)
                return self._subquery(fields, names, positive=False)
            case _:
                raise CompileError(f"{kind} is not supported in memory")

    def _column(self, fields: Node, names: Names) -> Expr:
        parts = [part.get("String", {}).get("sval") for part in fields["fields"]]
        if None in parts:
            raise CompileError("a whole-row reference is not supported in memory")
        return names.find(parts)

    def _cast(self, fields: Node, names: Names) -> Expr:
        type_name = fields["typeName"]
        written = [n["String"]["sval"] for n in type_name["names"]]
        target = types.named_type(written, enums=self._catalog.enums)
        if type_name.get("arrayBounds"):
            raise CompileError("array values are not supported in memory")
        if type_name.get("typmods"):
            raise CompileError("a cast to a type with a length, which may cut, is not supported in memory")
        kind, inner = _open(fields["arg"])
        if kind == "A_Const":
            if inner.get("isnull"):
                return Const(None, target)
            if "sval" in inner:
                return types.constant(inner["sval"].get("sval", ""), target)
        operand = self._value(fields["arg"], names)
        narrowed = target == "int" and types.int_bits(written) < 64  # noqa: PLR2004 - the widest integer
        if operand.type == target and not (narrowed and not isinstance(operand, Const)):
            return operand  # varchar to text, int4 to int8: the value is the same
        if target == "text" and (operand.type == "uuid" or operand.type.startswith("enum:")):
            return _retyped(operand, "text")  # both are held as their text
        raise CompileError(f"cast of {operand.type} to {'.'.join(written)} is not supported in memory")

    def _operation(self, fields: Node, names: Names) -> Expr:
        operator = _OPERATORS.get(".".join(n["String"]["sval"] for n in fields["name"]))
        if operator is None:
            written = " ".join(n["String"]["sval"] for n in fields["name"])
            raise CompileError(f"operator {written} is not supported in memory")
        left = self._value(fields["lexpr"], names)
        match fields["kind"]:
            case "AEXPR_OP":
                return self._compare(operator, left, fields["rexpr"], names)
            case "AEXPR_IN":  # printed by older servers for a list of one
                items = fields["rexpr"]["List"]["items"]
                found = any_of([self._compare("=", left, item, names) for item in items])
                return found if operator == "=" else Not(found)
            case "AEXPR_OP_ANY" if operator == "=":
                elements = self._array_elements(fields["rexpr"])
                return any_of([self._compare("=", left, item, names) for item in elements])
            case "AEXPR_OP_ALL" if operator == "<>":
                elements = self._array_elements(fields["rexpr"])
                return all_of([self._compare("<>", left, item, names) for item in elements])
            case kind:
                raise CompileError(f"{kind} with {operator} is not supported in memory")

    def _compare(self, operator: Operator, left: Expr, right: Node, names: Names) -> Expr:
        operand = self._value(right, names)
        types.check_comparable(operator, left.type, operand.type)
        return compare(operator, left, operand)

    def _array_elements(self, node: Node) -> list[Node]:
        """Return the elements of ``ARRAY[...]``, or of ``(ARRAY[...])::text[]`` as varchar columns get it."""
        kind, fields = _open(node)
        if kind == "A_ArrayExpr":
            return list(fields.get("elements", []))
        if kind == "TypeCast" and _open(fields["arg"])[0] == "A_ArrayExpr":
            element_type = {**fields["typeName"], "arrayBounds": []}
            elements = self._array_elements(fields["arg"])
            return [{"TypeCast": {"arg": element, "typeName": element_type}} for element in elements]
        raise CompileError("an array that is not written out is not supported in memory")

    def _boolean_test(self, fields: Node, names: Names) -> Expr:
        operand = self._value(fields["arg"], names)
        if operand.type != "bool":
            raise CompileError("IS TRUE of a value that is not boolean")
        match fields["booltesttype"]:
            case "IS_TRUE":
                return IsTrue(operand)
            case "IS_NOT_TRUE":
                return Not(IsTrue(operand))
            case "IS_FALSE":
                return IsTrue(Not(operand))
            case "IS_NOT_FALSE":
                return Not(IsTrue(Not(operand)))
            case "IS_UNKNOWN":
                return IsNull(operand)
            case _:
                return Not(IsNull(operand))

    def _call(self, fields: Node, names: Names) -> Expr:
        name = ".".join(part["String"]["sval"] for part in fields["funcname"])
        arguments = [self._value(argument, names) for argument in fields.get("args", [])]
        if not arguments and name == "auth.uid" and functions.reads_claim(self._catalog, name, "sub"):
            return Uid()
        if not arguments and name == "auth.role" and functions.reads_claim(self._catalog, name, "role"):
            return Const(self._role, "text")
        function = functions.find(self._catalog, name, len(arguments))
        if not functions.may_execute(self._catalog, function, names.acting):
            return Fails(
                f"a policy calls {name}(), which {names.acting} may not execute (Postgres answers 42501)",
                types.named_type([function.returns], enums=self._catalog.enums),
            )
        if name in self._inlining:
            raise CompileError(f"function {name}() calls itself")
        self._inlining.append(name)
        try:
            inside = Names(
                levels=(),
                acting=function.owner if function.security_definer else names.acting,
                parameters=functions.parameters(function, arguments),
                function=function.name,
            )
            body = self._value(functions.body(function), inside)
        except CompileError as error:
            raise CompileError(f"function {name}(): {error}") from error
        finally:
            self._inlining.pop()
        if body.type != types.named_type([function.returns], enums=self._catalog.enums):
            raise CompileError(f"function {name}() returns {function.returns}, its body {body.type}")
        return body

    def _scalar_subquery(self, node: Node, names: Names) -> Expr:
        """Translate ``(SELECT auth.uid())``: a subquery without FROM is the value itself."""
        select = node["SelectStmt"]
        if set(select) <= {"targetList", "limitOption", "op"} and len(select["targetList"]) == 1:
            return self._value(_selected(select), names)
        raise CompileError("a scalar subquery that reads a table is not supported in memory")

    def _subquery(self, fields: Node, names: Names, *, positive: bool) -> Expr:
        select = fields["subselect"]["SelectStmt"]
        plain = {"op": "SETOP_NONE", "limitOption": "LIMIT_OPTION_DEFAULT"}
        if {k: v for k, v in select.items() if k not in ("targetList", "fromClause", "whereClause")} != plain:
            raise CompileError(
                "a subquery with DISTINCT, GROUP BY, UNION, WITH or LIMIT is not supported in memory"
            )
        level = tuple(self._from(select.get("fromClause", [])))
        inside = msgspec.structs.replace(names, levels=(*names.levels, level))
        conditions = []
        if "whereClause" in select:
            conditions.append(self._condition(select["whereClause"], inside, positive=True))
        target: Expr = FALSE
        left: Expr = FALSE
        if fields["subLinkType"] == "ANY_SUBLINK":
            if fields.get("operName") not in (None, [{"String": {"sval": "="}}]):
                raise CompileError(
                    "a subquery compared with another operator than = is not supported in memory"
                )
            target = self._value(_selected(select), inside)
            left = self._value(fields["testexpr"], names)
            types.check_comparable("=", left.type, target.type)
        else:
            # EXISTS ignores what is selected, but the role needs the privilege to read it; and an
            # aggregate, which would make a row out of none, is refused here as any unknown function.
            for item in select.get("targetList", []):
                self._value(item["ResTarget"]["val"], inside)
        # After the whole subquery is read: only then is it known which columns the role needs.
        seen = [self._row_filter(n.table, n.scope, frozenset(n.used), names.acting) for n in level]
        failed = failure(seen)
        if failed is not None:
            return failed
        conditions += seen
        sources = tuple(Source(n.table.qualified, n.scope) for n in level)
        if fields["subLinkType"] == "EXISTS_SUBLINK":
            return Exists(sources, all_of(conditions))
        if positive:
            return Exists(sources, all_of([*conditions, compare("=", left, target)]))
        return InRows(left, target, sources, all_of(conditions))

    def _from(self, clause: list[Node]) -> Iterator[InScope]:
        for item in clause:
            kind, fields = _open(item)
            if kind != "RangeVar" or not fields.get("schemaname"):
                raise CompileError("a subquery over anything but plain tables is not supported in memory")
            name = f"{fields['schemaname']}.{fields['relname']}"
            table = self._catalog.by_name.get(name)
            if table is None or table.kind != "r":
                raise CompileError(f"{name} is not a plain table")
            if fields.get("alias", {}).get("colnames"):
                raise CompileError("column aliases in FROM are not supported in memory")
            alias = fields.get("alias", {}).get("aliasname", fields["relname"])
            yield InScope(alias=alias, table=table, scope=self._new_scope(), used=set())


def _open(node: Node) -> tuple[str, Node]:
    ((kind, fields),) = node.items()
    return kind, fields


def _selected(select: Node) -> Node:
    """Return the expression of ``SELECT expression``."""
    value: Node = select["targetList"][0]["ResTarget"]["val"]
    return value


def _constant(fields: Node) -> Const:
    if fields.get("isnull"):
        return Const(None, "unknown")
    if "boolval" in fields:
        return Const(bool(fields["boolval"].get("boolval", False)), "bool")
    if "ival" in fields:
        return Const(int(fields["ival"].get("ival", 0)), "int")
    raise CompileError(
        "a constant without a type, or of a type other than integer and boolean, is not supported in memory"
    )


def _retyped(operand: Expr, type_: Type) -> Expr:
    if isinstance(operand, Const | ColumnRef | Uid):
        return msgspec.structs.replace(operand, type=type_)
    raise CompileError("a cast of an expression is not supported in memory")
