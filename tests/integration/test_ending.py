"""How `bridge run` ends before its time, or does not even start: what its log says then."""

import asyncio
import signal

import pytest

from bridge.local.stack import LocalStack
from tests.support.worker import running_worker

RUN = ("bridge", "run")
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(("command", "left"), [(RUN, "connections"), ((*RUN, "--workers", "2"), "workers")])
async def test_who_insists_is_told_what_was_left(stack: LocalStack, command: tuple[str, ...], left: str):
    """A second SIGTERM ends everything at once; the last line counts who was still there."""
    async with running_worker(stack, command=command, BRIDGE_DRAIN_TIMEOUT_S="60") as worker:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(UPGRADE)  # and nothing more: it answers no close
        await reader.readuntil(b"\r\n\r\n")
        worker.process.send_signal(signal.SIGTERM)
        await worker.logged("drain_started", count=1 if command == RUN else 2)
        worker.process.send_signal(signal.SIGTERM)
        said = await worker.logged("drain_cut_short")
        async with asyncio.timeout(20):
            assert await worker.process.wait() == 130
        writer.close()
    assert 1 <= said[left] <= 2
    assert said["level"] == "warning"
    assert [line["event"] for line in worker.log][-1] == "drain_cut_short"
