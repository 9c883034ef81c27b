"""The process that stands for Supabase's API: Realtime and RPC on one port.

``python -m bridge.local.api`` with its settings as JSON on the first line of standard input.  It ends
when standard input does, so it never outlives the process that started it.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from typing_extensions import override

from bridge import logs
from bridge.clock import SystemClock
from bridge.local.realtime import Realtime, Timing
from bridge.local.rest import Rest


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told.

    Attributes:
        port: Port on 127.0.0.1.
        database_url: Superuser's connection string.
        secret: The project's JWT secret.
        timing: How long things take.
    """

    port: int
    database_url: str
    secret: str
    timing: Timing = Timing()


def application(settings: Settings, realtime: Realtime) -> Starlette:
    """Return the routes that the bridge needs of a Supabase project."""
    rest = Rest(database_url=settings.database_url, secret=settings.secret, clock=SystemClock())
    return Starlette(
        routes=[
            WebSocketRoute("/realtime/v1/websocket", realtime.serve),
            WebSocketRoute("/socket/websocket", realtime.serve),
            Route("/rest/v1/rpc/{function}", rest.call, methods=["GET", "POST"]),
            Route("/rest/v1/", _empty),
            Route("/auth/v1/.well-known/jwks.json", _no_keys),
        ]
    )


async def _empty(_request: Request) -> Response:
    return JSONResponse({})


async def _no_keys(_request: Request) -> Response:
    return JSONResponse({"keys": []})


class _Server(uvicorn.Server):
    """Leaves signals alone: the process ends with its standard input, and a signal ends it at once."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def main() -> None:
    """Serve until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    settings = msgspec.json.decode(await reader.readline(), type=Settings)
    realtime = Realtime(
        database_url=settings.database_url,
        secret=settings.secret,
        clock=SystemClock(),
        timing=settings.timing,
    )
    server = _Server(
        uvicorn.Config(
            application(settings, realtime),
            host="127.0.0.1",
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=2**24,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
    )
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(realtime.run(), name="realtime-poll")
        http = tasks.create_task(server.serve(), name="api")
        await reader.read()
        server.should_exit = True
        await http
        poll.cancel()


if __name__ == "__main__":
    logs.configure(log_format="console", level="warning")
    asyncio.run(main())
