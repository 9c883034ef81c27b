"""Connections are spread over those that are to be used, and only over those."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bridge.bench.balancer import WORKER_HEADER, Nginx, Spread, balancing


class _Answering:
    """A server that says which one it is."""

    def __init__(self) -> None:
        self.port = 0
        self.answered = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.answered += 1
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()


async def _ask(port: int) -> str:
    """Ask once; return what the header says, if anything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert "200 OK" in answer
    return next((line for line in answer.splitlines() if line.startswith(WORKER_HEADER)), "")


@pytest.mark.parametrize("has_nginx", [True, False])
async def test_only_the_workers_in_use_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_nginx: bool
):
    """By nginx, and by what stands in for it."""
    if not has_nginx:
        monkeypatch.setattr(shutil, "which", lambda *_args, **_more: None)
    elif not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")):
        pytest.skip("nginx is not installed")
    there = [_Answering(), _Answering()]
    async with asyncio.timeout(20):
        servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in there]
        ports = [int(server.sockets[0].getsockname()[1]) for server in servers]
        async with balancing(tmp_path, ports) as balancer:
            assert isinstance(balancer, Nginx if has_nginx else Spread)
            said = Counter([await _ask(balancer.port) for _ in range(8)])
            assert min(one.answered for one in there) >= 2
            assert len(said) == (2 if has_nginx else 1)
            await balancer.use(ports[1:])
            before = there[0].answered
            for _ in range(4):
                await _ask(balancer.port)
            assert there[0].answered == before
        for server in servers:
            server.close()
