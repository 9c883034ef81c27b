"""Between the soak's clients and several workers: nginx, or a proxy of our own where there is none."""

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from bridge.bench.proxy import TcpProxy, tcp_proxy
from bridge.errors import SourceError
from bridge.listening import free_port

WORKER_HEADER = "X-Bridge-Worker"
"""Answers of nginx say in it which worker they are of."""

START_S = 10.0

TEMPORARY = """
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
"""
"""Where an nginx may write that is not the system's."""

# What matters of ops/nginx/bridge.conf, without TLS and without limits by address: all come from one.
_CONF = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    {temporary}
    map $http_upgrade $bridge_connection {{ default upgrade; '' ''; }}
    upstream bridge {{
        least_conn;
        {servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $bridge_connection;
        proxy_read_timeout 75s;
        proxy_send_timeout 75s;
        proxy_connect_timeout 5s;
        proxy_buffering off;
        proxy_request_buffering off;
        add_header {header} $upstream_addr always;
        location / {{ proxy_pass http://bridge; }}
    }}
}}
"""


class Balancer(Protocol):
    """Gives each connection, or request, to one of the workers.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    @property
    def port(self) -> int: ...

    async def use(self, ports: Sequence[int]) -> None:
        """Give what comes from now on to these workers only."""


class Nginx:
    """A running nginx: to a worker with few connections rather than to one with many."""

    def __init__(self, folder: Path, program: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, ports: Sequence[int]) -> None:
        """Start it before workers on these ports.

        Raises:
            SourceError: it does not listen.
        """
        self._configure(ports)
        log, conf = str(self._folder / "nginx.log"), str(self._folder / "nginx.conf")
        self._process = await asyncio.create_subprocess_exec(
            self._program, "-p", str(self._folder), "-e", log, "-c", conf, start_new_session=True
        )
        for _ in range(int(START_S / 0.05)):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
        raise SourceError(f"nginx does not listen after {START_S:g} s: see {log}")

    async def use(self, ports: Sequence[int]) -> None:
        """Have new processes take over; those before them keep the connections that they have."""
        if self._process is not None:
            self._configure(ports)
            before = self._children()
            self._process.send_signal(signal.SIGHUP)
            for _ in range(int(START_S / 0.05)):
                if not before >= self._children():
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)  # the former ones listen for another 0.1 s

    async def stop(self) -> None:
        """End it, and the connections."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def _children(self) -> set[str]:
        pid = 0 if self._process is None else self._process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def _configure(self, ports: Sequence[int]) -> None:
        text = _CONF.format(
            folder=self._folder,
            temporary=TEMPORARY.format(folder=self._folder),
            user="user root;" if os.geteuid() == 0 else "",  # its processes write there, too
            port=self.port,
            # As in ops/nginx/bridge.conf, which says why.
            servers=" ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports),
            header=WORKER_HEADER,
        )
        (self._folder / "nginx.conf").write_text(text)


class Spread(TcpProxy):
    """Gives each connection to the next worker."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._turns: Iterator[int] = itertools.repeat(port)

    async def use(self, ports: Sequence[int]) -> None:
        """Give what comes from now on to these workers only."""
        self._turns = itertools.cycle(ports)

    @override
    def _target(self) -> tuple[str, int]:
        return self._server[0], next(self._turns)


@asynccontextmanager
async def balancing(folder: Path, ports: Sequence[int]) -> AsyncIterator[Balancer]:
    """Run a balancer before workers on these ports, on 127.0.0.1.

    Raises:
        SourceError: it did not start.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        async with tcp_proxy("127.0.0.1", ports[0], kind=Spread) as spread:
            assert isinstance(spread, Spread)  # noqa: S101 - it is of that kind
            await spread.use(ports)
            yield spread
        return
    nginx = Nginx(folder, program)
    try:
        await nginx.start(ports)
        yield nginx
    finally:
        await nginx.stop()
