"""Function calls: built-in ones, and SQL and plpgsql functions put in place of the call."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from bridge.authorization import builtins, types
from bridge.authorization.algebra import Call, Case, Claims, Const, Expr, Fails, IsNull, Now, Rows
from bridge.authorization.expressions import any_of, walk
from bridge.authorization.failing import computed_first
from bridge.authorization.functions import Function
from bridge.authorization.translation import arrays, coercion, documents, plpgsql, queries
from bridge.authorization.translation.context import (
    AbsentTableError,
    Node,
    Translating,
    open_node,
    parse_expression,
    parse_statements,
    strings,
)
from bridge.authorization.translation.names import Names, RowValue
from bridge.errors import CompileError

Argument: TypeAlias = Expr | RowValue

_SETTINGS_UNSET = (
    "request.jwt.claim",
    "request.headers",
    "request.method",
    "request.path",
    "request.cookies",
)
"""Settings that an HTTP request to PostgREST has and a WebSocket has not: NULL, as where nobody set them."""


_HARMLESS = frozenset(
    {"search_path", "statement_timeout", "lock_timeout", "work_mem", "jit", "plan_cache_mode"}
    | {"check_function_bodies", "client_min_messages", "log_min_messages"}
)
"""Settings of a function that change nothing about what it answers, or that are known here."""


def translate(t: Translating, fields: Node, names: Names) -> Expr:
    """Translate a call.

    Raises:
        CompileError: the function is not known to answer the same here.
    """
    for extra in ("over", "agg_filter", "agg_order", "agg_distinct", "agg_star", "func_variadic"):
        if extra in fields:
            raise CompileError(f"a call with {extra} is not supported in memory")
    written = strings(fields["funcname"])
    arguments = [_argument(t, argument, names) for argument in fields.get("args", [])]
    values = [argument for argument in arguments if not isinstance(argument, RowValue)]
    if (len(written) == 1 or written[0] == "pg_catalog") and len(values) == len(arguments):
        found = _built_in(t, written[-1], values)
        if found is not None:
            return found
    function = resolve(t, written, arguments, names)
    if function.returns_set:
        raise CompileError(f"function {written[-1]}() returns a set where one value is expected")
    return inline(t, function, arguments, names)


def _argument(t: Translating, node: Node, names: Names) -> Argument:
    kind, fields = open_node(node)
    if kind == "ColumnRef" and "A_Star" in fields["fields"][-1]:
        return names.whole_row(strings(fields["fields"])[-2])
    return t.value(node, names)


def resolve(t: Translating, written: Sequence[str], arguments: Sequence[Argument], names: Names) -> Function:
    """Return the one function that a call means.

    Raises:
        CompileError: none is known, or several could be meant.
    """
    *schema, name = written
    for where in schema or names.path:
        known = [
            f
            for f in t.context.catalog.functions_by_name.get(f"{where}.{name}", ())
            if f.accepts(len(arguments))
        ]
        fitting = [f for f in known if _fits(t, f, arguments, names)] if len(known) > 1 else known
        if len(fitting) == 1:
            return fitting[0]
        if known:
            raise CompileError(f"function {where}.{name}() is overloaded")
    raise CompileError(f"function {'.'.join(written)}() is not supported in memory")


def _fits(t: Translating, function: Function, arguments: Sequence[Argument], names: Names) -> bool:
    for parameter, argument in zip(function.inputs, arguments, strict=False):
        if isinstance(argument, RowValue):
            continue
        wanted = types.type_of_text(parameter.type, t.context.catalog, names.path)
        try:
            coercion.implicit(argument, wanted, t.context.catalog)
        except CompileError:
            return False
    return True


def inline(t: Translating, function: Function, arguments: Sequence[Argument], names: Names) -> Expr:
    """Return the value of a function that returns one.

    Raises:
        CompileError: its body holds what is not supported.
    """
    catalog = t.context.catalog
    returns = types.type_of_text(function.returns, catalog, ("public",))
    refusal = refused(t, function, names)
    if refusal is not None:
        return msgspec.structs.replace(refusal, type=returns)
    try:
        with t.context.inlining(function.qualified):
            inside, given = prepare(t, function, arguments, names)
            if function.language == "plpgsql":
                body = plpgsql.translate(t, function, inside, returns)
            else:
                body = queries.scalar(t, _statement(function), inside, kind="first")
            body = computed_first(given, coercion.assigned(body, returns, catalog), returns)
    except AbsentTableError as error:
        if function.language == "sql" and not function.security_definer and not function.config:
            raise  # Postgres, too, puts its body in place of the call, and plans it
        raise CompileError(str(error)) from error
    if function.strict and given:
        missing = any_of([IsNull(argument) for argument in given])
        return computed_first(given, Case(((missing, Const(None, returns)),), body, returns), returns)
    return body


def rows_of(
    t: Translating, function: Function, arguments: Sequence[Argument], names: Names
) -> tuple[Node, Names]:
    """Return the query that a set-returning function runs, and what it can refer to.

    Raises:
        CompileError: it is not a single query.
    """
    if function.strict:
        raise CompileError(f"function {function.qualified}() is strict and returns a set")
    inside, _ = prepare(t, function, arguments, names)
    if function.language == "plpgsql":
        return plpgsql.returned_query(t, function, inside), inside
    return _statement(function), inside


def prepare(
    t: Translating, function: Function, arguments: Sequence[Argument], names: Names
) -> tuple[Names, list[Expr]]:
    """Return what a function's body can refer to, and its arguments in the declared types."""
    catalog = t.context.catalog
    named: dict[str, Expr] = {}
    given: list[Expr] = []
    if not _HARMLESS.issuperset(function.settings):
        raise CompileError(f"function {function.qualified}() has settings of its own")
    path = function.search_path(names.session_path)
    for position, parameter in enumerate(function.inputs, start=1):
        wanted = types.type_of_text(parameter.type, catalog, ("public",))
        argument: Argument
        if position <= len(arguments):
            argument = arguments[position - 1]
        elif parameter.default is not None:
            argument = t.value(parse_expression(parameter.default), Names(levels=(), acting=names.acting))
        else:
            raise CompileError(f"function {function.qualified}() is called without argument {position}")
        if isinstance(argument, RowValue):
            named |= {f"{parameter.name}.{column}": value for column, value in argument.columns.items()}
            continue
        if wanted.startswith("other:"):
            raise CompileError(f"function {function.qualified}() has an argument of type {parameter.type}")
        argument = coercion.implicit(argument, wanted, catalog)
        given.append(argument)
        named[f"${position}"] = argument
        if parameter.name:
            named[parameter.name] = argument
    if function.language == "plpgsql":
        for output in function.outputs:
            # They are variables: a column of the same name is ambiguous.
            named.setdefault(output.name or "", Const(None, f"other:{output.type}"))
    return (
        Names(
            levels=(),
            acting=function.owner if function.security_definer else names.acting,
            parameters=named,
            function=function.name,
            plpgsql=function.language == "plpgsql",
            path=path,
            session_path=path,
        ),
        given,
    )


def refused(t: Translating, function: Function, names: Names) -> Fails | None:
    """Return what happens where the acting role may not call ``function``; None where it may."""
    roles = t.context.catalog.acting_roles(names.acting)
    if function.owner in roles or not roles.isdisjoint(function.execute):
        return None
    return Fails(
        f"a policy calls {function.qualified}(), which {names.acting} may not execute "
        "(Postgres answers 42501)"
    )


def _statement(function: Function) -> Node:
    """Return the one SELECT of a SQL function.

    Raises:
        CompileError: the body is something else.
    """
    if function.sql_body is not None:
        body = function.sql_body.strip()
        if body.upper().startswith("RETURN "):
            statements = parse_statements(f"SELECT {body[7:].rstrip(';')}")
        else:
            inner = body.removeprefix("BEGIN ATOMIC").removesuffix("END").strip()
            statements = parse_statements(inner)
    else:
        statements = parse_statements(function.source)
    if len(statements) != 1:
        raise CompileError("the body is not a single SELECT")
    kind, _ = open_node(statements[0])
    if kind != "SelectStmt":
        raise CompileError("the body is not a single SELECT")
    return statements[0]


def _built_in(t: Translating, name: str, arguments: list[Expr]) -> Expr | None:
    """Return the call of a function of pg_catalog; None if there is none for these types."""
    catalog = t.context.catalog
    if name in ("now", "transaction_timestamp", "statement_timestamp", "clock_timestamp") and not arguments:
        return Now()
    if name == "current_setting":
        return _setting(arguments)
    if name == "string_to_array":
        return arrays.split(arguments, catalog)
    document = documents.translate(name, arguments, catalog)
    if document is not None:
        return document
    if name == "timezone" and len(arguments) == 2:  # noqa: PLR2004 - zone and time
        return _timezone(arguments)
    if name in builtins.ARRAY_FUNCTIONS and arguments and arguments[0].type.endswith("[]"):
        if any(isinstance(node, Rows) for node in walk(arguments[0])):
            raise CompileError(f"{name} of a subquery, which may be distinct, is not supported in memory")
        kinds, builtin = builtins.ARRAY_FUNCTIONS[name]
        if len(arguments) == len(kinds) and not arguments[0].type.startswith("other:"):
            rest = [coercion.implicit(argument, "int", catalog) for argument in arguments[1:]]
            return Call(f"{name}(array)", (arguments[0], *rest), builtin.returns)
    for (known, wanted), builtin in builtins.FUNCTIONS.items():
        if known != name or len(wanted) != len(arguments):
            continue
        try:
            given = [coercion.implicit(a, type_, catalog) for a, type_ in zip(arguments, wanted, strict=True)]
        except CompileError:
            continue
        return Call(f"{name}({', '.join(wanted)})", tuple(given), builtin.returns)
    return None


def _setting(arguments: list[Expr]) -> Expr:
    """``current_setting(name, missing_ok)``.

    Raises:
        CompileError: the setting is not one that the bridge knows.
    """
    name = arguments[0].value if isinstance(arguments[0], Const) else None
    missing_ok = len(arguments) > 1 and isinstance(arguments[1], Const) and arguments[1].value is True
    if name == "request.jwt.claims":
        return Claims("claims")
    if isinstance(name, str) and missing_ok and name.startswith(_SETTINGS_UNSET):
        return Const(None, "text")
    raise CompileError(f"current_setting({name!r}) is not supported in memory")


def _timezone(arguments: list[Expr]) -> Expr:
    """``moment AT TIME ZONE 'utc'``.

    Raises:
        CompileError: the time zone is another one.
    """
    zone, moment = arguments
    if not isinstance(zone, Const) or str(zone.value).lower() not in ("utc", "gmt", "z"):
        raise CompileError("a time zone other than UTC is not supported in memory")
    match moment.type:
        case "timestamptz":
            return Call("same", (moment,), "timestamp")
        case "timestamp":
            return Call("same", (moment,), "timestamptz")
        case kind:
            raise CompileError(
                f"a value of type {types.plain(kind)} at a time zone is not supported in memory"
            )
