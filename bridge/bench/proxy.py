"""A TCP proxy that misbehaves on demand, for Postgres and WebSocket alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Passes bytes between whoever connects and one server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        delay_s: How long each chunk (up to 64 KiB) is held back: latency, and a bound on throughput.
        refusing: While True, new connections are closed at once.
        connections: Number of connections that were accepted so far.
        passed_bytes: Bytes that went from the server to the clients.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.delay_s = 0.0
        self.refusing = False
        self.connections = 0
        self.passed_bytes = 0
        self._server = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()

    def freeze(self) -> None:
        """Pass no more bytes; sockets stay open: no FIN, no RST.  New connections are accepted and frozen."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass bytes again, those that were held back first."""
        self._flowing.set()

    def cut(self) -> None:
        """End all connections, on both sides; what was on its way is lost.  New ones are accepted."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends; owns the two tasks that pass its bytes."""
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._flowing.wait()
                there_reader, there = await asyncio.open_connection(*self._target())
                await self._between(reader, writer, there_reader, there)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def _target(self) -> tuple[str, int]:
        return self._server

    async def _between(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> None:
        self._open.add(there)
        try:
            async with asyncio.TaskGroup() as ways:
                up = ways.create_task(self._pass(reader, there))
                down = ways.create_task(self._pass(there_reader, writer, counts=True))
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                up.cancel()
                down.cancel()
        finally:
            self._open.discard(there)
            there.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
                self.passed_bytes += len(chunk) if counts else 0
        await self._flowing.wait()  # nor does the other side hear of an end


@contextlib.asynccontextmanager
async def tcp_proxy(host: str, port: int, kind: type[TcpProxy] = TcpProxy) -> AsyncIterator[TcpProxy]:
    """Run a proxy before ``host``:``port``; its connections are cut at the end."""
    proxy = kind(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.thaw()
        proxy.cut()
        # The handlers belong to the server, which does not tell when they end.
        while proxy._open:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.001)
