"""Listens on the public and the admin port, and leaves in order."""

import asyncio
import contextlib
import random
import socket
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from typing_extensions import override

from bridge import metrics
from bridge.clock import Clock
from bridge.connection.compression import DeflateFactory
from bridge.connection.entrance import Entrance
from bridge.connection.http import Readiness, admin_application, public_application
from bridge.connection.http_protocol import BoundedHttpProtocol
from bridge.connection.limits import Connections
from bridge.connection.origins import Origins
from bridge.connection.poll import Polls
from bridge.connection.ports import Context, Flusher, Hub
from bridge.connection.sweeper import Sweeper
from bridge.connection.tokens import Verifier
from bridge.connection.websocket import WebSocketConnection
from bridge.listening import BACKLOG, bind

DRAIN_STEP_S = 0.05


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to serve; docs/configuration.md has the reasons."""

    host: str
    port: int
    admin_host: str
    admin_port: int
    allowed_origins: tuple[str, ...]
    allow_token_in_url: bool
    max_connections: int
    max_connections_per_user: int
    outbox_limit_bytes: int
    ping_interval_s: float
    shares_ports: bool = False
    """Other workers may listen on the same ports (``bridge run --workers``)."""
    compression: Literal["off", "deflate"] = "off"
    client: Path | None = None


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process, which has more than this server to stop."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Both ports.

    ``open`` binds them, ``run`` serves until ``close``; ``drain`` says goodbye to the clients first.

    Args:
        settings: Where and how to serve.
        hub: Fan-out.
        flusher: Writes outboxes out.
        verifier: Verifies tokens.
        clock: Source of time.
        readiness: Says what keeps the process from being ready.
        routes: Further routes of the public port.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hub: Hub,
        flusher: Flusher,
        verifier: Verifier,
        clock: Clock,
        readiness: Readiness,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self._settings = settings
        self._readiness = readiness
        self._draining = False
        self._tasks: asyncio.TaskGroup | None = None
        self._sockets: tuple[socket.socket, ...] = ()
        self._sweeper = Sweeper(interval_s=settings.ping_interval_s, clock=clock)
        self._context = Context(
            hub=hub,
            flusher=flusher,
            verifier=verifier,
            origins=Origins(settings.allowed_origins),
            connections=Connections(
                limit=settings.max_connections, limit_per_user=settings.max_connections_per_user
            ),
            sweeper=self._sweeper,
            clock=clock,
            spawn=self._spawn,
            loop=asyncio.get_running_loop(),
            ping_interval_s=settings.ping_interval_s,
            outbox_limit_bytes=settings.outbox_limit_bytes,
            allow_token_in_url=settings.allow_token_in_url,
            extensions=() if settings.compression == "off" else (DeflateFactory(),),
        )
        self._polls = Polls(self._context)
        public = public_application(self._polls, self._context.origins, client=settings.client, routes=routes)
        self.port, self.admin_port = settings.port, settings.admin_port
        """Where it listens, once it is open; stays when it is closed."""
        self._servers = (
            _Uvicorn(_config(public, http=Entrance, ws=self._make_connection)),
            _Uvicorn(_config(admin_application(self._not_ready, self._connections))),
        )
        metrics.CONNECTIONS_LIMIT.set(settings.max_connections)
        metrics.CONNECTIONS.labels("websocket").set_function(lambda: len(self._sweeper))

    def open(self) -> None:
        """Bind both ports.

        Raises:
            OSError: a port is taken.
        """
        settings, shared = self._settings, self._settings.shares_ports
        public = bind(settings.host, settings.port, shared=shared)
        try:
            self._sockets = (public, bind(settings.admin_host, settings.admin_port, shared=shared))
        except OSError:
            public.close()
            raise
        self.port, self.admin_port = (int(one.getsockname()[1]) for one in self._sockets)

    async def run(self) -> None:
        """Serve until ``close``."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            sweeper = tasks.create_task(self._sweeper.run(), name="sweeper")
            serving = [
                tasks.create_task(server.serve(sockets=[bound]), name="http")
                for server, bound in zip(self._servers, self._sockets, strict=True)
            ]
            await asyncio.wait(serving)
            sweeper.cancel()
        for place in range(len(self._servers)):  # a server that was stopped while it started has not
            self._stop_listening(place)

    def stop_accepting(self) -> None:
        """Take no further clients: not ready, and the public port refuses.

        Where ports are shared, the admin port does as well: whoever asks it is answered by the successor.
        """
        self._draining = True
        for place, server in enumerate(self._servers if self._settings.shares_ports else self._servers[:1]):
            if server.started:
                self._stop_listening(place)
            else:  # asked to stop while it was starting
                server.should_exit = True

    def _stop_listening(self, place: int) -> None:
        for listening in getattr(self._servers[place], "servers", ()):
            listening.close()
        self._sockets[place].close()

    async def drain(self, timeout_s: float) -> None:
        """Ask every client to come back later, spread over most of ``timeout_s``, and close with 1012."""
        self._context.hub.leave()  # whoever waits for this worker to catch up, on either transport
        self._polls.drain()
        waiting = [c for c in self._sweeper if isinstance(c, WebSocketConnection)]
        steps = max(1, int(0.8 * timeout_s / DRAIN_STEP_S))
        size = max(1, -(-len(waiting) // steps))
        for start in range(0, len(waiting), size):
            for connection in waiting[start : start + size]:
                connection.send_reconnect(random.randrange(1000))  # noqa: S311 - spreads clients
            await asyncio.sleep(DRAIN_STEP_S)
        for _ in range(int(timeout_s / DRAIN_STEP_S)):
            for late in self._sweeper:  # who was in the middle of the handshake; others are closing
                if isinstance(late, WebSocketConnection):
                    late.send_reconnect(random.randrange(1000))  # noqa: S311 - spreads clients
            if not len(self._sweeper) and not len(self._polls):
                return
            await asyncio.sleep(DRAIN_STEP_S)

    def close(self) -> None:
        """Stop serving; ``run`` returns soon."""
        for server in self._servers:
            server.should_exit = True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(work, name="connection-work")

    def _make_connection(self, **_uvicorn: object) -> asyncio.Protocol:
        return WebSocketConnection(self._context)

    def _not_ready(self) -> Sequence[str]:
        return [*self._readiness(), *(["draining"] if self._draining else [])]

    def _connections(self) -> list[dict[str, Any]]:
        sockets = [c.facts() for c in self._sweeper if isinstance(c, WebSocketConnection)]
        return [*sockets, *self._polls.facts()]


def _config(application: Starlette, http: Any = BoundedHttpProtocol, ws: Any = "none") -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=http,
        ws=ws,
        lifespan="off",
        log_config=None,
        access_log=False,  # URLs may hold cursors, and tokens where that is allowed
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
