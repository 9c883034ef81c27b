"""The HTTP side of the public port, and the admin port."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bridge import metrics
from bridge.connection.files import file_routes
from bridge.connection.origins import Origins
from bridge.connection.poll import Polls, failure

Readiness = Callable[[], Sequence[str]]
"""Returns why the process is not ready to serve; nothing if it is."""


def public_application(
    polls: Polls, origins: Origins, *, client: Path | None, routes: Sequence[BaseRoute]
) -> Starlette:
    """Return what the public port serves beside the WebSocket.

    Args:
        polls: Long polling.
        origins: Which pages may ask.
        client: Folder with the built browser client; None where there is none.
        routes: Further routes.
    """

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def websocket(_request: Request) -> Response:
        advice = "send the upgrade request of a WebSocket; a proxy has to pass Upgrade and Connection on"
        error = {"code": "malformed", "message": f"/ws is for WebSockets: {advice}"}
        return JSONResponse({"error": error}, status_code=426, headers={"Upgrade": "websocket"})

    served: list[BaseRoute] = [
        Route("/poll", polls.answer),
        Route("/healthz", healthz),
        Route("/ws", websocket),
    ]
    if client is not None:
        served += file_routes(client)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"] if origins.any else list(origins.allowed),
        allow_methods=["GET"],
        allow_headers=["Authorization"],
        max_age=600,
    )
    application = _application([*served, *routes], [cors])
    # A redirect would name http, behind a proxy that speaks https to the client: 404 is the better answer.
    application.router.redirect_slashes = False
    return application


def admin_application(readiness: Readiness, connections: Callable[[], list[dict[str, Any]]]) -> Starlette:
    """Return what the admin port serves.

    Args:
        readiness: Says what keeps the process from being ready.
        connections: Describes the connections.
    """

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        reasons = list(readiness())
        body = {"ready": not reasons, "reasons": reasons}
        return JSONResponse(body, status_code=503 if reasons else 200)

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def show_connections(_request: Request) -> Response:
        return JSONResponse(connections())

    return _application(
        [
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
            Route("/connections", show_connections),
        ]
    )


def _application(routes: Sequence[BaseRoute], middleware: Sequence[Middleware] = ()) -> Starlette:
    async def failed(_request: Request, error: Exception) -> Response:
        return failure(error)

    return Starlette(routes=routes, middleware=middleware, exception_handlers={Exception: failed})
