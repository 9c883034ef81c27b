"""``/rest/v1/rpc/<function>`` as PostgREST answers it, under the role of the caller's token."""

import json
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.clock import Clock
from bridge.local.keys import TokenRefusedError, verify

_FUNCTIONS = """
select
    p.proretset,
    t.typname::text,
    coalesce(p.proargnames, '{}')::text[],
    (select coalesce(array_agg(format_type(a.oid, null) order by a.n), '{}')
     from unnest(p.proargtypes::oid[]) with ordinality as a (oid, n)),
    p.pronargdefaults
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_type t on t.oid = p.prorettype
where n.nspname = 'public' and p.proname = %s
"""


class Rest:
    """Calls functions of schema public.

    Args:
        database_url: Connection string of a role that may ``set role`` to any other.
        secret: The project's JWT secret.
        clock: Source of time.
    """

    def __init__(self, *, database_url: str, secret: str, clock: Clock) -> None:
        self._database_url = database_url
        self._secret = secret
        self._clock = clock

    async def call(self, request: Request) -> Response:
        """Answer one RPC."""
        try:
            claims = self._claims(request)
        except TokenRefusedError as error:
            return _error(401, "PGRST301", str(error))
        name = request.path_params["function"]
        arguments: dict[str, Any] = dict(request.query_params)
        if request.method == "POST":
            try:
                arguments = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
            except msgspec.MsgspecError:
                return _error(400, "PGRST102", "Empty or invalid json")
        try:
            async with await psycopg.AsyncConnection.connect(self._database_url) as connection:
                return await self._run(connection, name, arguments, claims)
        except psycopg.OperationalError:
            return _error(503, "PGRST000", "Could not connect with the database")
        except psycopg.Error as error:
            status = {"42501": 403, "42883": 404, "42P01": 404, "22023": 400}.get(error.sqlstate or "", 400)
            if error.sqlstate == "42501" and claims["role"] == "anon":
                status = 401
            diag = error.diag
            return _error(
                status,
                error.sqlstate or "XX000",
                diag.message_primary or "",
                diag.message_detail,
                diag.message_hint,
            )

    def _claims(self, request: Request) -> dict[str, Any]:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        token = token or request.headers.get("apikey", "")
        if not token:
            return {"role": "anon"}
        return dict(verify(token, self._secret, now=self._clock.now()))

    async def _run(
        self,
        connection: psycopg.AsyncConnection[Any],
        name: str,
        arguments: dict[str, Any],
        claims: dict[str, Any],
    ) -> Response:
        found = await (await connection.execute(_FUNCTIONS, (name,))).fetchall()
        fitting = [f for f in found if set(arguments) <= set(f[2]) and len(arguments) >= len(f[3]) - f[4]]
        if not fitting:
            given = ", ".join(sorted(arguments)) or "without parameters"
            return _error(
                404, "PGRST202", f"Could not find the function public.{name}({given}) in the schema cache"
            )
        returns_set, result_type, names, types, _defaults = fitting[0]
        known = dict(zip(names, types, strict=False))
        await connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(str(claims["role"]))))
        call = sql.SQL("{}({})").format(
            sql.Identifier("public", name),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(argument), _argument(value, known[argument]))
                for argument, value in arguments.items()
            ),
        )
        if returns_set:
            query = sql.SQL("select coalesce(jsonb_agg(to_jsonb(r)), '[]')::text from {} as r").format(call)
        elif result_type == "void":
            query = sql.SQL("select 'null' from {} as r").format(call)
        else:
            query = sql.SQL("select coalesce(to_jsonb({}), 'null')::text").format(call)
        row = await (await connection.execute(query)).fetchone()
        return Response(row[0] if row else "null", media_type="application/json")


def _argument(value: Any, type_: str) -> sql.Composed:
    if value is None:
        return sql.SQL("null::{}").format(sql.SQL(type_))
    if type_ in ("json", "jsonb") or isinstance(value, dict):
        value = json.dumps(value)
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_))


def _error(
    status: int, code: str, message: str, details: str | None = None, hint: str | None = None
) -> Response:
    body = {"code": code, "details": details, "hint": hint, "message": message}
    return JSONResponse(body, status_code=status)
