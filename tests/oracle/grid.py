"""Expressions over typed columns, computed for many rows by Postgres and by the translated expression."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from bridge.authorization import jsonb, temporal, types
from bridge.authorization.algebra import Expr
from bridge.authorization.catalog import Catalog, NamedType
from bridge.authorization.evaluation import Env, compile_value
from bridge.authorization.translation import Context, Translator
from bridge.authorization.translation.context import parse_statements
from bridge.authorization.translation.names import InScope, Names
from bridge.authorization.undecided import UndecidedError
from bridge.numbers import exact_number
from tests.support import catalogs

ENUM = "grid.mood"
LABELS = ("sad", "ok", "glad")

SETUP = f"""
create schema grid;
create type {ENUM} as enum ('sad', 'ok', 'glad');
create function grid.answers(query text, rows jsonb) returns jsonb language plpgsql as $function$
declare
    given jsonb;
    answer jsonb;
    answers jsonb[] := '{{}}';
begin
    for given in select * from jsonb_array_elements(rows) loop
        begin
            execute query into answer using given;
        exception when others then
            answer := to_jsonb(sqlstate);
        end;
        answers := answers || answer;
    end loop;
    return to_jsonb(answers);
end
$function$;
"""

_decode: Callable[[str], Any] = msgspec.json.Decoder(float_hook=exact_number).decode

_SHOWN = {
    "interval": "(extract(year from x) * 12 + extract(month from x)) * 2592000000000 + extract(day from x) * 86400000000"
    " + extract(hour from x) * 3600000000 + extract(minute from x) * 60000000 + extract(microseconds from x)",
    "timestamptz": "extract(epoch from x) * 1000000",
    "timestamp": "extract(epoch from x) * 1000000",
    "date": "case when isfinite(x) then (x - date '1970-01-01')::text else x::text end",
}
"""How values of a type are shown where their JSON does not tell them, or only to the year 9999."""


class Undecided:
    """What memory could not tell."""


UNDECIDED = Undecided()


class Unreadable(msgspec.Struct, frozen=True):
    """What Postgres answered, but JSON does not tell."""

    text: str


class Failed(msgspec.Struct, frozen=True):
    """What Postgres answered with an error."""

    sqlstate: str


def catalog(timezone: str) -> Catalog:
    """Return a catalog with the enum of the grid."""
    moods = NamedType("grid", "mood", "e", LABELS)
    return msgspec.structs.replace(catalogs.catalog(), types=(moods,), timezone=timezone)


def translated(text: str, columns: Mapping[str, str], timezone: str = "UTC") -> Expr:
    """Translate an expression over ``columns`` (name to Postgres's type), as a policy's is.

    Raises:
        CompileError: it is not supported.
    """
    made = tuple(catalogs.column(name, _internal(type_)) for name, type_ in columns.items())
    table = catalogs.table("t", made)
    context = Context(
        catalog(timezone),
        role="authenticated",
        row_filter=_refuse,
        new_scope=itertools.count(1).__next__,
        trackable=lambda _table: None,
    )
    (statement,) = parse_statements(f"select {text}")
    node = statement["SelectStmt"]["targetList"][0]["ResTarget"]["val"]
    return Translator(context).value(
        node, Names(levels=((InScope.of_table(table, "t", 0),),), acting="authenticated")
    )


def printed(connection: psycopg.Connection[Any], text: str, columns: Mapping[str, str]) -> str:
    """Return ``text`` as ``pg_get_expr`` prints it."""
    declared = ", ".join(f"null::{type_} as {name}" for name, type_ in columns.items())
    with connection.transaction(force_rollback=True):
        connection.execute("set local search_path = ''")
        connection.execute(f"create view grid.source as select {declared}")
        connection.execute(f"create view grid.shown as select {text} as shown from grid.source")
        (shown,) = connection.execute("select pg_get_viewdef('grid.shown'::regclass)").fetchone() or ("",)
    (statement,) = parse_statements(shown)
    head, _, _ = str(shown).rpartition(" AS shown")
    assert statement["SelectStmt"]["targetList"][0]["ResTarget"]["name"] == "shown"
    return head.strip().removeprefix("SELECT ").replace("source.", "t.")


def memory(expr: Expr, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return what the expression has for each row; :data:`UNDECIDED` where only Postgres can tell."""
    compute = compile_value(expr, {}, {})
    env = Env(10, lambda: 0)
    answers = []
    for row in rows:
        env.row = dict(row)
        try:
            answers.append(compute(env))
        except UndecidedError:
            answers.append(UNDECIDED)
    return answers


def postgres(
    connection: psycopg.Connection[Any],
    text: str,
    columns: Mapping[str, str],
    rows: Sequence[Sequence[str | None]],
    type_: str,
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the rows as ``to_jsonb`` prints them, and what Postgres has for each, as values of ``type_``."""
    declared = ", ".join(f"($1 ->> {i})::{t} as {name}" for i, (name, t) in enumerate(columns.items()))
    (given,) = connection.execute(
        f"select jsonb_agg(to_jsonb(s))::text from jsonb_array_elements(%s) as r (j), lateral (select"
        f" {declared.replace('$1', 'r.j')}) as s",
        [json.dumps(rows)],
    ).fetchone() or ("",)
    shown = _SHOWN.get(type_, "x")
    query = (
        f"select jsonb_build_array(x is null, to_jsonb({shown})) from (select {text} as x from"
        f" (select {declared}) as t) as s"
    )
    (answers,) = connection.execute(
        "select grid.answers(%s, %s)::text", [query, json.dumps(rows)]
    ).fetchone() or ("",)
    decode = _exactly if type_ in _SHOWN else types.decoder(type_) or _same
    found: list[Any] = []
    for answer in _decode(answers):
        if isinstance(answer, str):
            found.append(Failed(answer))
        elif answer[0]:
            found.append(None)
        elif type_ in ("jsonb", "json"):
            found.append(jsonb.JSON_NULL if answer[1] is None else answer[1])
        else:
            found.append(_read(answer[1], decode))
    return _decode(given), found


def plain(value: Any, type_: str) -> Any:
    """Return a value of ``type_`` so that equal ones are those that Postgres calls the same."""
    if value is None or value is UNDECIDED or isinstance(value, Failed):
        return value
    match type_:
        case "jsonb" | "json":
            return jsonb.canonical(value)
        case "interval":
            return temporal.span_us(value) if isinstance(value, tuple) else value
        case "bool" | "int":
            return type(value).__name__, value
        case _:
            return value


def _same(value: Any) -> Any:
    return value


def _exactly(value: Any) -> int:
    infinite = {"Infinity": 2**70, "infinity": 2**70, "-Infinity": -(2**70), "-infinity": -(2**70)}
    return infinite[value] if value in infinite else int(value)


def _read(value: Any, decode: Callable[[Any], Any]) -> Any:
    try:
        return decode(value)
    except UndecidedError:
        return Unreadable(str(value))


def _internal(type_: str) -> str:
    base = {"integer": "int4", "boolean": "bool"}.get(type_.removesuffix("[]"), type_.removesuffix("[]"))
    return f"_{base}" if type_.endswith("[]") else base


def _refuse(*_arguments: Any) -> Expr:
    raise AssertionError("there is no subquery")
