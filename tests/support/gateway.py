"""A gateway before the local stack that passes some paths on and answers others by itself."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Collection, Mapping
from urllib.parse import parse_qs, urlsplit


@contextlib.asynccontextmanager
async def gateway(
    target: str, answers: Mapping[str, str], *, keys: Collection[str] | None = None
) -> AsyncIterator[str]:
    """Yield the URL of a gateway to ``target``.

    Args:
        target: Base URL of what stands behind it.
        answers: Status lines, like ``404 Not Found``, by the beginning of the paths that get them.
        keys: Values of ``apikey``, in a header or the query, that are let through; None lets everything.
    """
    address = urlsplit(target)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            status = next((line for start, line in answers.items() if path.startswith(start)), None)
            if status is None and keys is not None and _apikey(head, path) not in keys:
                status = "401 Unauthorized"
            if status is not None:
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            upstream_reader, upstream = await asyncio.open_connection(address.hostname, address.port)
            # One request for each connection, so that each path is seen; an upgrade is the last one anyway.
            upstream.write(re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass(reader, upstream))
                tasks.create_task(_pass(upstream_reader, writer))
        except (asyncio.IncompleteReadError, OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _apikey(head: bytes, path: str) -> str:
    header = re.search(rb"(?i)\r\napikey: *([^\r]*)", head)
    return header[1].decode() if header else parse_qs(urlsplit(path).query).get("apikey", [""])[0]


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
        writer.close()
