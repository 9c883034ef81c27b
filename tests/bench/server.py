"""The real server (uvicorn, WebSocket protocol, hub) without upstream, for benches; and clients by hand.

``python -m tests.bench.server`` prints its port, then obeys lines on standard input: ``publish N BYTES PAUSE_S``
sends N messages to every subscriber, each with the time it was published; the end of input ends it.
"""

import asyncio
import os
import sys
import time
import uuid
from pathlib import Path

import uvloop

from bridge.clock import SystemClock
from bridge.connection import Server, Settings, Verifier
from bridge.events import Delivery, Principal, RowEvent, View
from bridge.fanout import EventEncoder, Flusher, History, Hub
from bridge.minting import mint_token

SECRET = "s" * 32


class _Everybody:
    """Who is connected."""

    def __init__(self) -> None:
        self.known: set[Principal] = set()

    def add(self, principal: Principal) -> None:
        self.known.add(principal)

    def remove(self, principal: Principal) -> None:
        self.known.discard(principal)


async def publish(hub: Hub, principals: set[Principal], count: int, size: int, pause_s: float) -> None:
    """Send ``count`` messages of about ``size`` bytes to everybody."""
    for n in range(count):
        event = RowEvent(
            table="public.messages",
            new={"id": n, "at": time.monotonic(), "body": "x" * size},
            old=None,
            key={"id": n},
            dialog_id="d",
            commit_timestamp="2026-01-01T00:00:00.000Z",
            received_s=0.0,
        )
        hub.publish(event, [Delivery(view=View(action="INSERT"), principals=tuple(principals))])
        await asyncio.sleep(pause_s)


def resident_bytes(pid: int) -> int:
    """Return the resident set size of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def serve() -> None:
    """Run the server until standard input ends; print its port."""
    clock = SystemClock()
    roster = _Everybody()

    async def decide(_principal, events):
        return [None] * len(events)

    flusher = Flusher(asyncio.get_running_loop(), clock)
    hub = Hub(
        history=History(keep_s=300, clock=clock),
        encoder=EventEncoder(dialog_table="public.dialogs", message_table="public.messages"),
        decide=decide,
        roster=roster,
        flusher=flusher,
    )
    server = Server(
        Settings(
            host="0.0.0.0",  # noqa: S104 - several loopback addresses, so that ports suffice
            port=0,
            admin_host="127.0.0.1",
            admin_port=0,
            allowed_origins=(),
            allow_token_in_url=False,
            max_connections=100_000,
            max_connections_per_user=100_000,
            outbox_limit_bytes=1_048_576,
            ping_interval_s=25.0,
        ),
        hub=hub,
        flusher=flusher,
        verifier=Verifier(clock=clock, secret=SECRET, keys=None),
        clock=clock,
        readiness=list,
    )
    server.open()
    print(server.port, flush=True)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run())
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _, count, size, pause_s = line.split()
            await publish(hub, roster.known, int(count), int(size), float(pause_s))
        server.stop_accepting()
        server.close()
        os._exit(0)  # the clients are gone with their process; nobody to say goodbye to


async def connect(port: int, address: str, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one WebSocket by hand (a client library would need ten times the memory), and subscribe."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(
        (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: bridge.v1, bearer.{token}\r\n\r\n"
        ).encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b'"upstream":"down"}')
    payload = b'{"type":"subscribe"}'
    writer.write(bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
    await reader.readuntil(b'"recovered":true}')
    return reader, writer


def token(n: int) -> str:
    """Return the token of user ``n``."""
    user = str(uuid.UUID(int=n))
    return mint_token(SECRET, user_id=user, role="authenticated", ttl_s=3600, now=SystemClock().now())


async def started() -> tuple[asyncio.subprocess.Process, int]:
    """Start a server process; return it and its port."""
    root = Path(__file__).resolve().parents[2]  # noqa: ASYNC240
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.server",
        cwd=root,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


if __name__ == "__main__":
    uvloop.run(serve())
