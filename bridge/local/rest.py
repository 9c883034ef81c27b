"""``/rest/v1/rpc/<function>``, run under the role of the caller's token, as PostgREST would."""

import json
from typing import Any

import jwt
import msgspec
import psycopg
from psycopg import sql
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.clock import Clock
from bridge.local.postgrest import Argument, Function, Problem, call, choose, status_of

_FUNCTIONS = """
select
    p.proretset,
    t.typtype = 'c' or coalesce(p.proargmodes && '{t,b,o}', false),
    t.oid = 'void'::regtype,
    p.provolatile <> 'v',
    coalesce((
        select jsonb_agg(
            jsonb_build_array(
                a.name, format_type(a.type, null), a.place <= p.pronargs - p.pronargdefaults, a.mode = 'v'
            )
            order by a.place
        )
        from (
            select
                coalesce(p.proargnames[i.n], '') as name, i.type, coalesce(p.proargmodes[i.n], 'i') as mode,
                row_number() over (order by i.n) as place
            from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as i (type, n)
            where coalesce(p.proargmodes[i.n], 'i') in ('i', 'b', 'v')
        ) as a
    ), '[]')::text
from pg_proc p
join pg_type t on t.oid = p.prorettype
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.proname = %s
"""

LOGIN = "authenticator"
"""Becomes the roles that are granted to it, and no others."""


class Rest:
    """Calls functions of schema public.

    Args:
        database_url: Connection string; sessions are those of PostgREST's login role.
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
            return await self._answer(request)
        except Problem as problem:
            headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None  # noqa: PLR2004
            return JSONResponse(problem.body, status_code=problem.status, headers=headers)

    async def _answer(self, request: Request) -> Response:
        claims = self._claims(request)
        arguments: dict[str, Any] = dict(request.query_params)
        if request.method == "POST":
            try:
                arguments = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise Problem(400, "PGRST102", "Empty or invalid json") from error
        try:
            async with await psycopg.AsyncConnection.connect(self._database_url, user=LOGIN) as connection:
                return await _run(
                    connection, request.path_params["function"], arguments, claims, method=request.method
                )
        except psycopg.Error as error:
            if error.sqlstate is None:
                raise Problem(503, "PGRST000", "Database connection error.") from error
            diag, message = error.diag, error.diag.message_primary or ""
            status = status_of(error.sqlstate, message, anonymous=claims["role"] == "anon")
            raise Problem(
                status, error.sqlstate, message, details=diag.message_detail, hint=diag.message_hint
            ) from error

    def _claims(self, request: Request) -> dict[str, Any]:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        token = token or request.headers.get("apikey", "")
        if not token:
            return {"role": "anon"}
        parts = token.count(".") + 1
        if parts != 3:  # noqa: PLR2004
            raise Problem(401, "PGRST301", f"Expected 3 parts in JWT; got {parts}")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError as error:
            raise Problem(
                401,
                "PGRST301",
                "No suitable key or wrong key type",
                details="None of the keys was able to decode the JWT",
            ) from error
        expires = claims.get("exp")
        if isinstance(expires, int | float) and self._clock.now().timestamp() >= expires:
            raise Problem(401, "PGRST303", "JWT expired")
        return {"role": "anon", **claims}


async def _run(
    connection: psycopg.AsyncConnection[Any],
    name: str,
    arguments: dict[str, Any],
    claims: dict[str, Any],
    *,
    method: str,
) -> Response:
    found = await (await connection.execute(_FUNCTIONS, (name,))).fetchall()
    functions = [
        Function(
            returns_set, returns_row, void, stable, msgspec.json.decode(inputs, type=tuple[Argument, ...])
        )
        for returns_set, returns_row, void, stable, inputs in found
    ]
    function = choose(name, functions, sorted(arguments), posted=method == "POST")
    if function.read_only or method == "GET":
        await connection.execute("set transaction read only")
    await connection.execute(
        "select set_config('request.jwt.claims', %s, true), set_config('request.method', %s, true),"
        " set_config('search_path', 'public, extensions', true)",
        (json.dumps(claims), method),
    )
    await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(str(claims["role"]))))
    row = await (
        await connection.execute(call(name, function, arguments), (json.dumps(arguments),))
    ).fetchone()
    if function.returns_void or row is None:
        return Response(status_code=204)
    return Response(row[0], media_type="application/json; charset=utf-8")
