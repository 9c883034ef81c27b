"""The real server, hub and flusher in this process, without upstream: tests publish by hand."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from bridge.clock import SystemClock
from bridge.connection import Server, Settings, Verifier
from bridge.events import Delivery, Principal, RowEvent, View
from bridge.fanout import EventEncoder, Flusher, History
from bridge.minting import mint_token
from bridge.position import Position
from tests.support.events import CountingHub, Everybody, all_visible, message

SECRET = "a secret of at least thirty-two bytes"
ANN, BOB = (str(uuid.UUID(int=0x0F000000_0000_4000_8000_000000000000 + n)) for n in (1, 2))


class Bridge:
    """A running bridge.

    Attributes:
        server: Both ports.
        hub: Fan-out; publish through it, or with ``publish``.
        roster: Who is here.
        decide: Answers when a client resumes; replace it to make it slow.
        readiness: What keeps it from being ready.
    """

    def __init__(self, **settings: Any) -> None:
        clock = SystemClock()
        self.roster = Everybody()
        self.readiness: list[str] = []
        self.decide: Any = all_visible
        flusher = Flusher(asyncio.get_running_loop(), clock)
        self.hub = CountingHub(
            history=History(keep_s=300, clock=clock),
            encoder=EventEncoder(dialog_table="public.dialogs", message_table="public.messages"),
            decide=self._decide,
            roster=self.roster,
            flusher=flusher,
        )
        self.hub.begin(f"t{uuid.uuid4().hex[:8]}", Position(0))
        self.hub.open()
        self.hub.upstream = "live"
        defaults = {
            "host": "127.0.0.1",
            "port": 0,
            "admin_host": "127.0.0.1",
            "admin_port": 0,
            "allowed_origins": (),
            "allow_token_in_url": False,
            "max_connections": 1000,
            "max_connections_per_user": 1000,
            "outbox_limit_bytes": 1_048_576,
            "ping_interval_s": 25.0,
        }
        self.server = Server(
            Settings(**(defaults | settings)),
            hub=self.hub,
            flusher=flusher,
            verifier=Verifier(clock=clock, secret=SECRET, keys=None),
            clock=clock,
            readiness=lambda: self.readiness,
        )
        self.server.open()

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/ws"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.server.admin_port}"

    def publish(self, *numbers: int, user: str = ANN, dialog: str = "d1", body: str = "hi") -> None:
        """Publish messages that ``user`` sees."""
        for n in numbers:
            seeing = [p for p in self.roster.here if p.user_id == user]
            self.hub.publish(
                message(n, dialog=dialog, body=body),
                [Delivery(view=View(action="INSERT"), principals=seeing)],
            )

    async def publish_until(self, stop: asyncio.Event) -> int:
        """Publish a message every few milliseconds until told to stop; return how many."""
        count = 0
        while not stop.is_set():
            count += 1
            self.publish(count)
            await asyncio.sleep(0.005)
        return count

    async def _decide(self, principal: Principal, events: Sequence[RowEvent]) -> Any:
        return await self.decide(principal, events)


def token(user: str | None = ANN, *, ttl_s: float = 60, **claims: Any) -> str:
    """Return a token of the bridge's project."""
    role = "anon" if user is None else "authenticated"
    return mint_token(SECRET, user_id=user, role=role, ttl_s=ttl_s, now=SystemClock().now(), **claims)


@contextlib.asynccontextmanager
async def running_bridge(**settings: Any) -> AsyncIterator[Bridge]:
    """Run a bridge; stop it at the end, with whatever is connected."""
    bridge = Bridge(**settings)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(bridge.server.run(), name="bridge")
        try:
            yield bridge
        finally:
            bridge.server.stop_accepting()
            await bridge.server.drain(0.5)
            bridge.server.close()
            await serving
