"""What this stage needs of others, declared by the one who needs it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec
from websockets.extensions import ServerExtensionFactory

from bridge.clock import Clock
from bridge.connection.limits import Connections
from bridge.connection.origins import Origins
from bridge.connection.tokens import Verifier
from bridge.events import Principal


class Frame(Protocol):
    """One server message, as JSON and as a WebSocket frame."""

    @property
    def payload(self) -> bytes: ...

    @property
    def wire(self) -> bytes: ...

    @property
    def cursor(self) -> str | None: ...

    @property
    def saved_bytes(self) -> int: ...

    def pack(self) -> "Frame": ...


class Subscriber(Protocol):
    """A client that the hub knows."""

    subscribed: bool


class Hub(Protocol):
    """Fan-out, as far as connections use it."""

    upstream: Any

    @property
    def cursor(self) -> str: ...

    @property
    def is_open(self) -> bool: ...

    def connect(self, principal: Principal, sink: Any) -> Any: ...

    def disconnect(self, subscriber: Any) -> None: ...

    def renew(self, subscriber: Any, principal: Principal) -> None: ...

    def leave(self) -> None: ...

    def status(self) -> Frame: ...

    async def subscribe(
        self,
        subscriber: Any,
        *,
        dialogs: frozenset[str] | None,
        since: str | None,
        wait_s: float | None = None,
    ) -> bool: ...

    def unsubscribe(self, subscriber: Any, *, dialogs: frozenset[str] | None) -> None: ...


class Flusher(Protocol):
    """Writes outboxes out, once per loop iteration."""

    def mark(self, outbox: Any) -> None: ...


class Sweeper(Protocol):
    """Visits connections."""

    def add(self, connection: Any) -> None: ...

    def remove(self, connection: Any) -> None: ...

    def visit_at(self, connection: Any, at_s: float) -> None: ...


class Context(msgspec.Struct, kw_only=True):
    """What all connections share.

    Attributes:
        hub: Fan-out.
        flusher: Writes outboxes out.
        verifier: Verifies tokens.
        origins: Which pages may connect.
        connections: Counts connections.
        sweeper: Visits connections.
        clock: Source of time.
        spawn: Starts a task that the server owns.
        loop: The loop of all connections.
        ping_interval_s: Seconds between pings.
        outbox_limit_bytes: Bytes that may wait for one client.
        allow_token_in_url: Accept ``?token=``.
        extensions: What a WebSocket may negotiate.
    """

    hub: Hub
    flusher: Flusher
    verifier: Verifier
    origins: Origins
    connections: Connections
    sweeper: Sweeper
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    loop: asyncio.AbstractEventLoop
    ping_interval_s: float
    outbox_limit_bytes: int
    allow_token_in_url: bool
    extensions: Sequence[ServerExtensionFactory] = ()
