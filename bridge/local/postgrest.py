"""PostgREST's answers: HTTP statuses, error bodies, and the query that calls a function.

Source: PostgREST's ``Error.hs`` and documentation, "Errors" and "Functions as RPC" (version 13).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import sql

_BY_STATE = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "57P01": 503,
    "P0001": 400,
    "21000": 500,
}
_BY_CLASS = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500,
    "3B": 500, "40": 500, "53": 503, "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500,
    "P0": 500, "XX": 500,
}  # fmt: skip


class Argument(msgspec.Struct, frozen=True, array_like=True):
    """An input of a function; ``type`` as ``format_type`` prints it."""

    name: str
    type: str
    required: bool
    variadic: bool


class Function(msgspec.Struct, frozen=True):
    """What has to be known of a function to call it.

    Attributes:
        returns_set: Whether it returns rows; the answer is then an array.
        returns_row: Whether what it returns has columns; the answer then has objects.
        returns_void: Whether it returns nothing.
        read_only: Whether it is called in a read-only transaction.
        arguments: Its inputs, in order.
    """

    returns_set: bool
    returns_row: bool
    returns_void: bool
    read_only: bool
    arguments: tuple[Argument, ...]

    def takes(self, names: Sequence[str]) -> bool:
        """True if it can be called with just these arguments."""
        known = {argument.name for argument in self.arguments}
        required = {argument.name for argument in self.arguments if argument.required}
        return required <= set(names) <= known


class Problem(Exception):  # noqa: N818 - the word of RFC 9457 for an error that a response describes
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        body: ``code``, ``details``, ``hint`` and ``message``.
    """

    def __init__(
        self, status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "details": details, "hint": hint, "message": message}


def status_of(sqlstate: str, message: str, *, anonymous: bool) -> int:
    """Return the HTTP status for an error of Postgres."""
    if sqlstate == "42501":
        return 401 if anonymous else 403
    if sqlstate == "22023" and message.startswith("role") and message.endswith("does not exist"):
        return 401
    if sqlstate.startswith("PT"):  # raised by a function that wants this very status
        return int(sqlstate[2:]) if sqlstate[2:].isdigit() else 500
    return _BY_STATE.get(sqlstate, _BY_CLASS.get(sqlstate[:2], 400))


def choose(name: str, functions: Sequence[Function], names: Sequence[str], *, posted: bool) -> Function:
    """Return the function that can be called with arguments of these names.

    Raises:
        Problem: there is none, or more than one.
    """
    fitting = [function for function in functions if function.takes(names)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        candidates = ", ".join(
            f"public.{name}({', '.join(f'{a.name} => {a.type}' for a in function.arguments)})"
            for function in fitting
        )
        hint = "Try renaming the parameters or the function itself in the database so function "
        raise Problem(
            300,
            "PGRST203",
            f"Could not choose the best candidate function between: {candidates}",
            hint=f"{hint}overloading can be resolved",
        )
    given = ", ".join(names)
    plural = "s" if len(names) > 1 else ""
    searched = f" with parameter{plural} {given}" if names else " without parameters"
    unnamed = " or with a single unnamed json/jsonb parameter" if posted else ""
    raise Problem(
        404,
        "PGRST202",
        f"Could not find the function public.{name}{f'({given})' if names else ' without parameters'}"
        " in the schema cache",
        details=f"Searched for the function public.{name}{searched}{unnamed},"
        " but no matches were found in the schema cache.",
    )


def call(name: str, function: Function, given: Mapping[str, Any]) -> sql.Composed:
    """Return the query for one call: a row with the answer's JSON text; its parameter is a JSON object."""
    arguments = [argument for argument in function.arguments if argument.name in given]
    passed = sql.SQL(", ").join(
        sql.SQL("{}{} => a.{}").format(
            sql.SQL("variadic " if argument.variadic else ""),
            sql.Identifier(argument.name),
            sql.Identifier(argument.name),
        )
        for argument in arguments
    )
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(argument.name), sql.SQL(argument.type))
        for argument in arguments
    )
    # As PostgREST does it: Postgres reads the values of the arguments out of the JSON.
    source = sql.SQL("(select %s::json as j) as given").format()
    if arguments:
        source = sql.SQL("{}, json_to_record(given.j) as a ({})").format(source, columns)
    called = sql.SQL("{}, lateral {}({})").format(source, sql.Identifier("public", name), passed)
    if function.returns_row:
        rows = sql.SQL("(select r.* from {} as r) as v").format(called)
    else:
        rows = sql.SQL("(select r.v from {} as r (v)) as row (v)").format(called)
    answer = "coalesce(json_agg(v), '[]')" if function.returns_set else "coalesce(json_agg(v) -> 0, 'null')"
    return sql.SQL("select {}::text from {}").format(sql.SQL(answer), rows)
