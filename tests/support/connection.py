"""A WebSocket connection with a clock, a loop and a transport that the test moves."""

import json
import uuid
from collections.abc import Coroutine
from typing import Any

from bridge.clock import ManualClock
from bridge.connection import Verifier
from bridge.connection.handshake import request_of
from bridge.connection.limits import Connections
from bridge.connection.origins import Origins
from bridge.connection.ports import Context
from bridge.connection.sweeper import Sweeper
from bridge.connection.websocket import WebSocketConnection
from bridge.fanout import Flusher, Frame
from bridge.minting import mint_token
from tests.support.events import Everybody, make_hub
from tests.support.transport import Transport

SECRET = "a secret of at least thirty-two bytes"
ANN = str(uuid.UUID(int=1))
BIG = Frame(b"x" * 300, b"x" * 300)


class Loop:
    """Runs what is called soon when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class World:
    """A connection and everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.loop, self.roster = ManualClock(), Loop(), Everybody()
        flusher = Flusher(self.loop, self.clock)  # type: ignore[arg-type]
        self.hub = make_hub(roster=self.roster, flusher=flusher)
        self.work: list[Coroutine[Any, Any, None]] = []
        self.context = Context(
            **{
                "hub": self.hub,
                "flusher": flusher,
                "verifier": Verifier(clock=self.clock, secret=SECRET, keys=None),
                "origins": Origins(()),
                "connections": Connections(limit=9, limit_per_user=9),
                "sweeper": Sweeper(interval_s=25.0, clock=self.clock),
                "clock": self.clock,
                "spawn": self.work.append,
                "loop": self.loop,
                "ping_interval_s": 25.0,
                "outbox_limit_bytes": 800,
                "allow_token_in_url": False,
            }
            | settings
        )
        self.transport = Transport()
        self.connection = WebSocketConnection(self.context)
        self.connection.connection_made(self.transport)

    def token(self, user: str = ANN, ttl_s: int = 60) -> str:
        return mint_token(SECRET, user_id=user, role="authenticated", ttl_s=ttl_s, now=self.clock.now())

    def shake_hands(self, *, token: str | None = None, origin: str | None = None, path: str = "/ws") -> None:
        headers = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"Sec-WebSocket-Version", b"13"),
            *([] if token is None else [(b"Sec-WebSocket-Protocol", f"bridge.v1, bearer.{token}".encode())]),
            *([] if origin is None else [(b"Origin", origin.encode())]),
        ]
        self.connection.open(request_of(b"GET", path.encode(), headers))

    def receive(self, payload: bytes, *, first: int = 0x81) -> None:
        size = (
            bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        )
        self.connection.data_received(bytes((first,)) + size + bytes(4) + payload)

    async def do_work(self) -> None:
        work, self.work[:] = list(self.work), []
        for piece in work:
            await piece

    async def opened(self, **settings: Any) -> "World":
        self.shake_hands(token=self.token(**settings))
        await self.do_work()
        self.receive(b'{"type":"subscribe"}')
        await self.do_work()
        self.loop.turn()
        return self

    @property
    def heard(self) -> list[dict[str, Any]]:
        """Messages that were written, decoded."""
        text = self.transport.written.partition(b"\r\n\r\n")[2]
        found, decoder = [], json.JSONDecoder()
        start = text.find(b"{")
        while start >= 0:
            value, end = decoder.raw_decode(text[start:].decode("latin-1"))
            found.append(value)
            start = text.find(b"{", start + end)
        return found

    @property
    def close_code(self) -> int | None:
        sent = self.connection._protocol.close_sent
        return None if sent is None else sent.code
