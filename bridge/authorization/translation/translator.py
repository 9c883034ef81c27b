"""From the text of a policy expression to the algebra.

The text is what ``pg_get_expr`` prints under ``search_path = ''``: names are qualified, casts are
explicit, an operator that is not built in is written ``OPERATOR(schema.op)``.  It is parsed with
Postgres's own grammar (libpg_query through ``postgast``).  What is not known to mean the same here
as in Postgres raises :class:`~bridge.errors.CompileError` with the construct's name; in a policy the
smallest part of AND and OR that holds it becomes :class:`~bridge.authorization.algebra.Opaque`.
"""

from typing import Any

from bridge.authorization import builtins, types
from bridge.authorization.algebra import ArrayOf, Call, Case, Const, Expr, IsNull, IsTrue, Not, Now, Opaque
from bridge.authorization.catalog import Table
from bridge.authorization.expressions import all_of, any_of, renewed
from bridge.authorization.translation import arrays, calls, checks, coercion, operations, queries
from bridge.authorization.translation.context import (
    AbsentTableError,
    Context,
    Node,
    open_node,
    parse_expression,
    strings,
)
from bridge.authorization.translation.harmless import cannot_fail, fails_in_planning
from bridge.authorization.translation.names import InScope, Names
from bridge.errors import CompileError


class Translator:
    """Translates the expressions of one plan, for one role.

    Args:
        context: The catalog, the role and what the composition answers.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    def policy(self, text: str, table: Table, scope: int, acting: str) -> Expr:
        """Translate ``text``, a policy of ``table``, whose row is in ``scope``.

        Args:
            text: What ``pg_get_expr`` printed.
            table: The table whose policy it is.
            scope: Where its row is.
            acting: The role whose privileges and policies count.

        Raises:
            CompileError: in a subquery's table (scope other than 0), the text holds an unsupported construct.
        """
        row = InScope.of_table(table, table.name, scope)
        names = Names(levels=((row,),), acting=acting)
        if scope == 0:
            try:
                node = parse_expression(text)
            except CompileError as error:
                return Opaque(str(error), raises=True)
            return self._branches(node, names)
        node = parse_expression(text)
        try:
            return self.condition(node, names)
        except CompileError:
            failed = checks.refusal(self, node, names)
            if failed is not None:
                return failed
            raise

    def _branches(self, node: Node, names: Names) -> Expr:
        """Translate a policy's AND and OR, leaving to Postgres only the parts that it has to answer."""
        kind, fields = open_node(node)
        if kind == "BoolExpr" and fields["boolop"] != "NOT_EXPR":
            parts = [self._branches(arg, names) for arg in fields["args"]]
            return all_of(parts) if fields["boolop"] == "AND_EXPR" else any_of(parts)
        try:
            return self.condition(node, names)
        except CompileError as error:
            opaque = Opaque(
                str(error),
                raises=not cannot_fail(node, names),
                planned=isinstance(error, AbsentTableError)
                or fails_in_planning(node, names, self.context.catalog),
            )
            return checks.refusal(self, node, names) or opaque

    def condition(self, node: Node, names: Names) -> Expr:
        """Translate a node that has to be boolean.

        Raises:
            CompileError: it is not, or holds a construct that is not supported.
        """
        expr = self.value(node, names)
        if expr.type == "unknown" or (isinstance(expr, Const) and expr.value is None):
            expr = coercion.implicit(expr, "bool", self.context.catalog)
        if expr.type != "bool":
            raise CompileError(f"a condition of type {types.plain(expr.type)} is not boolean")
        return expr

    def value(self, node: Node, names: Names) -> Expr:
        """Translate an expression.

        Raises:
            CompileError: it holds a construct that is not supported.
        """
        self.context.count()
        kind, fields = open_node(node)
        match kind:
            case "A_Const":
                return _constant(fields)
            case "ColumnRef":
                return self._column(fields, names)
            case "ParamRef":
                return self._parameter(fields["number"], names)
            case "TypeCast":
                return self._cast(fields, names)
            case "A_Expr":
                return operations.translate(self, fields, names)
            case "BoolExpr":
                parts = [self.condition(arg, names) for arg in fields["args"]]
                if fields["boolop"] == "NOT_EXPR":
                    return Not(parts[0])
                return all_of(parts) if fields["boolop"] == "AND_EXPR" else any_of(parts)
            case "NullTest":
                operand = self.value(fields["arg"], names)
                types.check_null_test(operand.type)
                test = IsNull(operand)
                return test if fields["nulltesttype"] == "IS_NULL" else Not(test)
            case "BooleanTest":
                return _truth_test(self.condition(fields["arg"], names), fields["booltesttype"])
            case "CoalesceExpr":
                items = [self.value(arg, names) for arg in fields["args"]]
                return coercion.coalesced(items, self.context.catalog)
            case "CaseExpr":
                return self._case(fields, names)
            case "SQLValueFunction":
                return self._sql_value(fields["op"], names)
            case "MinMaxExpr":
                return self._extreme(fields, names)
            case "A_ArrayExpr":
                return self._array(fields.get("elements", []), names)
            case "A_Indirection":
                return arrays.subscripted(self, fields, names)
            case "FuncCall":
                return calls.translate(self, fields, names)
            case "SubLink":
                return queries.translate(self, fields, names)
            case _:
                raise CompileError(f"{kind} is not supported in memory")

    def _column(self, fields: Node, names: Names) -> Expr:
        parts = [part.get("String", {}).get("sval") for part in fields["fields"]]
        if None in parts:
            raise CompileError("a whole-row reference is not supported in memory")
        return renewed(names.find(parts), self.context.new_scope)

    def _parameter(self, number: int, names: Names) -> Expr:
        value = names.parameters.get(f"${number}")
        if value is None:
            raise CompileError("an argument that is a whole row is not supported in memory")
        return renewed(value, self.context.new_scope)

    def _cast(self, fields: Node, names: Names) -> Expr:
        type_name = fields["typeName"]
        written = strings(type_name["names"])
        catalog = self.context.catalog
        if type_name.get("typmods"):
            length = _length(type_name)
            if length is None:
                raise CompileError(
                    "a cast to a type with a length, which may cut, is not supported in memory"
                )
            operand = coercion.cast(self.value(fields["arg"], names), "text", catalog)
            return coercion.limited(operand, length, cut=True)
        target = types.named_type(written, catalog, names.path)
        if type_name.get("arrayBounds"):
            target = f"{target}[]"
        kind, inner = open_node(fields["arg"])
        if kind == "A_ArrayExpr" and target.endswith("[]") and not target.startswith("other:"):
            element = {**type_name, "arrayBounds": []}
            items = [{"TypeCast": {"arg": item, "typeName": element}} for item in inner.get("elements", [])]
            return self._array(items, names, target)
        operand = self.value(fields["arg"], names)
        return coercion.cast(operand, target, catalog, bits=types.int_bits(written))

    def _array(self, elements: list[Node], names: Names, type_: str | None = None) -> Expr:
        items = [self.value(element, names) for element in elements]
        items = coercion.unify(items, self.context.catalog)
        if any(item.type.endswith("[]") for item in items):
            raise CompileError("an array of several dimensions is not supported in memory")
        if type_ is None and not items:
            raise CompileError("an empty array without a type is not supported in memory")
        array_type = type_ or f"{items[0].type}[]"
        if all(isinstance(item, Const) for item in items):
            return Const([item.value for item in items if isinstance(item, Const)], array_type)
        return ArrayOf(tuple(items), array_type)

    def _extreme(self, fields: Node, names: Names) -> Expr:
        """``least`` and ``greatest``: of those that are not NULL."""
        items = coercion.unify([self.value(arg, names) for arg in fields["args"]], self.context.catalog)
        kind = items[0].type
        types.check_comparable("<", kind, kind)
        if types.comparison_key(kind) is not None:
            raise CompileError(f"the least of {types.plain(kind)} values is not supported in memory")
        name = builtins.LEAST if fields["op"] == "IS_LEAST" else builtins.GREATEST
        return Call(name, (ArrayOf(tuple(items), f"{kind}[]"),), kind)

    def _case(self, fields: Node, names: Names) -> Expr:
        conditions = []
        for arm in fields["args"]:
            test = arm["CaseWhen"]["expr"]
            if "arg" in fields:
                test = {
                    "A_Expr": {
                        "kind": "AEXPR_OP",
                        "name": [{"String": {"sval": "="}}],
                        "lexpr": fields["arg"],
                        "rexpr": test,
                    }
                }
            conditions.append(self.condition(test, names))
        results = [self.value(arm["CaseWhen"]["result"], names) for arm in fields["args"]]
        results.append(
            self.value(fields["defresult"], names) if "defresult" in fields else Const(None, "unknown")
        )
        *results, otherwise = coercion.unify(results, self.context.catalog)
        return Case(tuple(zip(conditions, results, strict=True)), otherwise, otherwise.type)

    def _sql_value(self, which: str, names: Names) -> Expr:
        match which:
            case "SVFOP_CURRENT_USER" | "SVFOP_CURRENT_ROLE" | "SVFOP_USER":
                return Const(names.acting, "name")
            case "SVFOP_CURRENT_TIMESTAMP":
                return Now()
            case "SVFOP_CURRENT_DATE" if self.context.catalog.in_utc:
                return coercion.cast(Now(), "date", self.context.catalog)
            case "SVFOP_LOCALTIMESTAMP" if self.context.catalog.in_utc:
                return coercion.retyped(Now(), "timestamp")
            case _:
                raise CompileError(f"{which.removeprefix('SVFOP_')} is not supported in memory")


def _length(type_name: Node) -> int | None:
    """Return n of ``varchar(n)``; None for another type with a length."""
    match type_name:
        case {
            "names": [*_, {"String": {"sval": "varchar"}}],
            "typmods": [{"A_Const": {"ival": {"ival": int(n)}}}],
        } if not type_name.get("arrayBounds"):
            return n
        case _:
            return None


def _truth_test(operand: Expr, test: str) -> Expr:
    match test:
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


def _constant(fields: dict[str, Any]) -> Const:
    if fields.get("isnull"):
        return Const(None, "unknown")
    if "boolval" in fields:
        return Const(bool(fields["boolval"].get("boolval", False)), "bool")
    if "ival" in fields:
        return Const(int(fields["ival"].get("ival", 0)), "int")
    if "sval" in fields:
        return Const(fields["sval"].get("sval", ""), "unknown")
    if "fval" in fields:
        return coercion.number(fields["fval"]["fval"])
    raise CompileError("a constant of this type is not supported in memory")
