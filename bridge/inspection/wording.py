"""Says an expression as a person would."""

from bridge.authorization.algebra import (
    ELEMENT,
    FALSE,
    TRUE,
    And,
    AnyOf,
    ArrayOf,
    Call,
    Case,
    Claims,
    Coalesce,
    ColumnRef,
    Compare,
    Const,
    Exists,
    Expr,
    Fails,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Now,
    Opaque,
    Or,
    Rows,
    Source,
    Type,
    Uid,
)
from bridge.authorization.expressions import conjuncts, own_sources, walk
from bridge.authorization.failing import is_computed
from bridge.authorization.temporal import written

_TIMES = ("timestamptz", "timestamp", "date", "interval")


class Wording:
    """Words for one condition; tables of subqueries get short names of their own.

    Args:
        condition: The condition that all later phrases are part of.
        table: Qualified name of the table whose row is asked about.
    """

    def __init__(self, condition: Expr, table: str) -> None:
        own = table.rpartition(".")[2]
        self._alias: dict[int, str] = {0: own}
        taken: dict[str, int] = {own: 1}
        for node in walk(condition):
            for source in own_sources(node):
                if source.scope not in self._alias:
                    name = source.table.rpartition(".")[2] if source.elements is None else "element"
                    taken[name] = taken.get(name, 0) + 1
                    self._alias[source.scope] = name if taken[name] == 1 else f"{name}{taken[name]}"

    def lines(self, expr: Expr, indent: str = "") -> list[str]:
        """Return ``expr`` as an indented list, a branch a line."""
        return [line for line, _ in self.parts(expr, indent)]

    def parts(self, expr: Expr, indent: str = "") -> list[tuple[str, Expr]]:
        """Return the same lines, each with the condition that it says."""
        match expr:
            case Or(items=(part, Const(value=None))):  # where it is not true, NULL
                return self.parts(part, indent)
            case Or(items=(IsNull(operand=value), *_)) if is_computed(expr):
                return [(f"{indent}{self.phrase(value)} can be computed", expr)]
            case And(items=items) | Or(items=items):
                head = "all of these" if isinstance(expr, And) else "any of these"
                inner = [part for item in items for part in self.parts(item, f"{indent}  ")]
                return [(f"{indent}{head}:", expr), *inner]
            case _ if expr == TRUE:
                return [(f"{indent}always", expr)]
            case _ if expr == FALSE:
                return [(f"{indent}never", expr)]
            case _:
                return [(f"{indent}{self.phrase(expr)}", expr)]

    def phrase(self, expr: Expr) -> str:
        """Return ``expr`` in one line."""
        match expr:
            case Const(value=value, type=type_):
                return _literal(value, type_)
            case ColumnRef(scope=scope, name=name):
                return self._alias[scope] if name == ELEMENT else f"{self._alias[scope]}.{name}"
            case Uid():
                return "the user"
            case Claims():
                return "the user's claims"
            case Now():
                return "now"
            case Compare(op="=", left=left, right=Uid()) | Compare(op="=", left=Uid(), right=left):
                return f"{self.phrase(left)} is the user"
            case Compare(op=op, left=left, right=right):
                return f"{self.phrase(left)} {op} {self.phrase(right)}"
            case AnyOf(left=left, array=array):
                return f"{self.phrase(left)} is in {self.phrase(array)}"
            case IsNull(operand=operand):
                return f"{self.phrase(operand)} is null"
            case Not(operand=IsNull(operand=operand)):
                return f"{self.phrase(operand)} is not null"
            case IsTrue(operand=operand):
                return f"({self.phrase(operand)}) is true"
            case Not(operand=Exists() as inner):
                return f"there is no {self._selection(inner.sources, inner.where)}"
            case Not(operand=operand):
                return f"not ({self.phrase(operand)})"
            case And(items=items):
                return " and ".join(self._part(item) for item in items)
            case Or(items=items):
                return " or ".join(self._part(item) for item in items)
            case Exists(sources=sources, where=where):
                return f"there is a {self._selection(sources, where)}"
            case InRows(left=left, value=value, sources=sources, where=where):
                among = f"{self.phrase(value)} of a {self._selection(sources, where)}"
                return f"{self.phrase(left)} is the {among}"
            case Rows():
                return self._rows(expr)
            case Call():
                return self._call(expr)
            case ArrayOf(items=items):
                return f"[{', '.join(map(self.phrase, items))}]"
            case Case(branches=branches, otherwise=otherwise):
                parts = [f"{self.phrase(r)} if {self.phrase(c)}" for c, r in branches]
                return f"({', '.join(parts)}, else {self.phrase(otherwise)})"
            case Coalesce(items=items):
                return f"({' or, if null, '.join(map(self.phrase, items))})"
            case Opaque(reason=reason):
                return f"what Postgres is asked: {reason}"
            case Fails(reason=reason):
                return reason

    def _part(self, expr: Expr) -> str:
        return f"({self.phrase(expr)})" if isinstance(expr, And | Or) else self.phrase(expr)

    def _selection(self, sources: tuple[Source, ...], where: Expr) -> str:
        tables = " and a ".join(map(self._source, sources))
        parts = " and ".join(self._part(part) for part in conjuncts(where))
        return f"{tables} where {parts}" if parts else tables

    def _source(self, source: Source) -> str:
        alias = self._alias[source.scope]
        if source.elements is not None:
            return f"{alias} of {self.phrase(source.elements)}"
        return (
            f"{source.table} row"
            if alias == source.table.rpartition(".")[2]
            else f"{source.table} row {alias}"
        )

    def _rows(self, expr: Rows) -> str:
        noun = {"count": "number of", "array": "list of", "array_agg": "list of"}.get(expr.kind, "")
        said = []
        for arm in expr.arms:
            value = "" if expr.kind == "count" else f"{self.phrase(arm.value)} of "
            said.append(f"{noun} {value}{self._selection(arm.sources, arm.where)}".strip())
        return f"(the {' and '.join(said)})"

    def _call(self, expr: Call) -> str:
        path = _claim(expr)
        if path is not None:
            return f"claim {path}"
        arguments = [self.phrase(argument) for argument in expr.args]
        if expr.name == "same":
            return arguments[0]
        if "::" in expr.name:
            return f"{arguments[0]}::{expr.name.partition('::')[2]}"
        words = expr.name.split()
        if len(arguments) == 2 and "(" not in expr.name:  # noqa: PLR2004 - an operator has two sides
            return f"{arguments[0]} {words[1]} {arguments[1]}"
        return f"{expr.name.partition('(')[0]}({', '.join(arguments)})"


def _claim(expr: Expr) -> str | None:
    """Return the path of a claim, like ``app_metadata.role``; None if it is something else."""
    match expr:
        case Call(name="jsonb ->> text" | "jsonb -> text", args=(Claims(), Const(value=name))):
            return str(name)
        case Call(name="jsonb ->> text" | "jsonb -> text", args=(Call() as inner, Const(value=name))):
            path = _claim(inner)
            return None if path is None else f"{path}.{name}"
        case Call(name="jsonb #>> text[]" | "jsonb #> text[]", args=(Claims(), Const(value=list() as names))):
            return ".".join(map(str, names))
        case _:
            return None


def _literal(value: object, type_: Type) -> str:
    match value:
        case None:
            return "null"
        case _ if type_ in _TIMES:
            return written(value, type_)
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}'"
        case list() if type_.endswith("[]"):
            return f"[{', '.join(_literal(item, type_.removesuffix('[]')) for item in value)}]"
        case _:
            return str(value)
