"""The demo's page and the requests it makes: what a chat application's own backend would do.

Reading and writing run under the user's role and claims, so that row-level security decides.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.demo.seed import USERS


class NewMessage(msgspec.Struct, frozen=True):
    """Body of ``POST /demo/messages``."""

    dialog_id: str
    body: str
    id: str | None = None
    """Chosen by the page, so that it can send one again when it has not heard whether it arrived."""


class DemoPages:
    """Routes for the demo: the page, its users, their rows, and writing a message.

    Args:
        database_url: The demo's database.
        tokens: A token for each user id.
    """

    def __init__(self, *, database_url: str, tokens: Mapping[str, str]) -> None:
        self._database_url = database_url
        self._tokens = tokens
        self._users = {token: user_id for user_id, token in tokens.items()}

    def routes(self) -> Sequence[Route]:
        """Return what the public server has to serve besides its own routes."""
        return [
            Route("/", _file("page.html", "text/html")),
            Route("/demo/page.css", _file("page.css", "text/css")),
            Route("/demo/page.js", _file("page.js", "text/javascript")),
            Route("/demo/view.js", _file("view.js", "text/javascript")),
            Route("/demo/users", self._list_users),
            Route("/demo/rows", self._rows),
            Route("/demo/messages", self._write, methods=["POST"]),
        ]

    async def _list_users(self, _request: Request) -> Response:
        return JSONResponse(
            [{"id": u.id, "name": u.name, "email": u.email, "token": self._tokens[u.id]} for u in USERS],
            headers={"Cache-Control": "no-store"},
        )

    async def _rows(self, request: Request) -> Response:
        """Return the dialogs and the latest messages that the user may see."""
        user = self._user(request)
        if user is None:
            return _refusal()
        async with await self._as_user(user) as connection:
            dialogs = await self._select(connection, "select * from public.dialogs order by id")
            messages = await self._select(
                connection, "select * from public.messages order by created_at desc, id limit 200"
            )
        return Response(
            msgspec.json.encode({"dialogs": dialogs, "messages": messages}), media_type="application/json"
        )

    async def _write(self, request: Request) -> Response:
        user = self._user(request)
        if user is None:
            return _refusal()
        try:
            message = msgspec.json.decode(await request.body(), type=NewMessage)
        except msgspec.MsgspecError:
            return JSONResponse({"error": "send a JSON object with dialog_id and body"}, status_code=400)
        try:
            async with await self._as_user(user) as connection:
                await connection.execute(
                    "insert into public.messages (id, dialog_id, sender_id, body) "
                    "values (coalesce(%s, gen_random_uuid()), %s, %s, %s) on conflict (id) do nothing",
                    (message.id, message.dialog_id, user, message.body),
                )
        except psycopg.errors.InsufficientPrivilege:
            return JSONResponse({"error": "you may not write into this dialog"}, status_code=403)
        except psycopg.errors.DataError:
            advice = "dialog_id or id is no uuid: take one from /demo/rows"
            return JSONResponse({"error": advice}, status_code=400)
        return JSONResponse({}, status_code=201)

    def _user(self, request: Request) -> str | None:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        return self._users.get(token)

    async def _as_user(self, user: str) -> psycopg.AsyncConnection[dict[str, Any]]:
        connection = await psycopg.AsyncConnection.connect(self._database_url, row_factory=dict_row)
        claims = msgspec.json.encode({"sub": user, "role": "authenticated"}).decode()
        await connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        await connection.execute("set local role authenticated")
        return connection

    async def _select(
        self, connection: psycopg.AsyncConnection[dict[str, Any]], sql: str
    ) -> list[dict[str, Any]]:
        cursor = await connection.execute(sql.encode())
        return await cursor.fetchall()


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        text = (files("bridge.demo") / name).read_text("utf-8")
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return answer


def _refusal() -> Response:
    return JSONResponse({"error": "no such demo user: send the token from /demo/users"}, status_code=401)
