"""SQL functions that policies call: a single ``SELECT expression`` is put in place of the call."""

from collections.abc import Mapping, Sequence
from typing import Any

import postgast
from google.protobuf.json_format import MessageToDict

from bridge.authorization.algebra import Expr
from bridge.authorization.catalog import Catalog, Function
from bridge.errors import CompileError


def find(catalog: Catalog, name: str, argument_count: int) -> Function:
    """Return the one function that a call means.

    Args:
        catalog: The database's catalog.
        name: Qualified name, as ``pg_get_expr`` prints it; built-in functions have no schema.
        argument_count: Number of arguments of the call.

    Raises:
        CompileError: it is built in, overloaded, or not of a form that can be put in place.
    """
    known = [
        f for f in catalog.functions if f"{f.schema}.{f.name}" == name and len(f.arguments) == argument_count
    ]
    if len(known) != 1:
        raise CompileError(f"function {name}() is not supported in memory")
    function = known[0]
    if function.language != "sql" or function.returns_set or function.strict or function.sql_body:
        raise CompileError(
            f"function {name}() is not a plain SQL function of one SELECT, so it is not supported in memory"
        )
    if any(argument.mode != "i" for argument in function.arguments):
        raise CompileError(f"function {name}() has output arguments, so it is not supported in memory")
    return function


def reads_claim(catalog: Catalog, name: str, claim: str) -> bool:
    """True if the function is Supabase's own reader of a JWT claim: somebody may have replaced it."""
    bodies = [f.source for f in catalog.functions if f"{f.schema}.{f.name}" == name]
    return len(bodies) == 1 and "request.jwt.claim" in bodies[0] and f"'{claim}'" in bodies[0]


def may_execute(catalog: Catalog, function: Function, role: str) -> bool:
    """True if ``role`` may call ``function``."""
    roles = catalog.acting_roles(role)
    return function.owner in roles or not roles.isdisjoint(function.execute)


def parameters(function: Function, arguments: Sequence[Expr]) -> Mapping[str, Expr]:
    """Return what the function's body can call its arguments: by position and, if named, by name."""
    named: dict[str, Expr] = {}
    for position, (argument, value) in enumerate(zip(function.arguments, arguments, strict=True), start=1):
        named[f"${position}"] = value
        if argument.name:
            named[argument.name] = value
    return named


def body(function: Function) -> dict[str, Any]:
    """Return the parse tree of the expression that the function selects.

    Raises:
        CompileError: the body is not a single ``SELECT expression``.
    """
    try:
        statements = postgast.parse(function.source).stmts
    except postgast.PgQueryError as error:
        raise CompileError("Postgres's grammar does not accept the body") from error
    trees = [MessageToDict(statement.stmt) for statement in statements]
    if len(trees) == 1:
        select = trees[0].get("SelectStmt", {})
        if set(select) <= {"targetList", "limitOption", "op"} and len(select.get("targetList", [])) == 1:
            value: dict[str, Any] = select["targetList"][0]["ResTarget"]["val"]
            return value
    raise CompileError("the body is not a single SELECT of one expression")
