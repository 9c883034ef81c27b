"""The browser client's files, as routes of the public port: read once, told apart by a hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES = {".js": "text/javascript", ".ts": "application/typescript"}

# Ask each time, and mostly hear that nothing is new: a page gets the client that its bridge was tested with.
CACHE_CONTROL = "no-cache"


def file_routes(folder: Path) -> Sequence[Route]:
    """Return a route for each module and each file of types in ``folder``."""
    return [_route(path) for path in sorted(folder.iterdir()) if path.suffix in MEDIA_TYPES]


def _route(path: Path) -> Route:
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": etag}

    async def answer(request: Request) -> Response:
        known = [
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        ]
        if etag in known or known == ["*"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=MEDIA_TYPES[path.suffix], headers=headers)

    return Route(f"/{path.name}", answer)
