"""The order of enum values: that of the labels in the catalog, compared as their positions."""

from bridge.authorization import builtins, types
from bridge.authorization.algebra import Arm, Call, Case, Coalesce, Const, Expr, Rows
from bridge.authorization.catalog import Catalog
from bridge.errors import CompileError


def rank(operand: Expr, catalog: Catalog) -> Expr:
    """Return where ``operand``, a value of an enum, stands among the enum's labels.

    What is chosen (by a look-up, CASE or COALESCE) stays outermost: a comparison can be made of each choice.

    Raises:
        CompileError: the catalog does not tell the labels.
    """
    labels = catalog.enum_labels.get(operand.type.removeprefix("enum:"))
    if not labels:
        raise CompileError(f"the order of {types.plain(operand.type)} values is not known")
    return _rank(operand, labels)


def _rank(operand: Expr, labels: tuple[str, ...]) -> Expr:
    match operand:
        case Const(value=None):
            return Const(None, "int")
        case Const(value=value) if value in labels:
            return Const(labels.index(value), "int")
        case Case(branches=branches, otherwise=otherwise):
            results = tuple((condition, _rank(result, labels)) for condition, result in branches)
            return Case(results, _rank(otherwise, labels), "int")
        case Coalesce(items=items):
            return Coalesce(tuple(_rank(item, labels) for item in items), "int")
        case Rows(kind="one" | "first" as kind, arms=arms):
            ranked = tuple(Arm(arm.sources, arm.where, _rank(arm.value, labels)) for arm in arms)
            return Rows(kind, ranked, "int")
        case _:
            return Call(builtins.RANK, (operand, Const(list(labels), "text[]")), "int")
