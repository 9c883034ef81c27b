"""A proxy before Realtime that doubles and reorders what it sends: change frames, and nothing else."""

import asyncio
import contextlib
import random

from typing_extensions import override

from bridge.bench.proxy import TcpProxy

CHANGE = b'"event":"postgres_changes"'

BURST_S = 0.05
"""Frames that come so close together change places."""


class DisorderingProxy(TcpProxy):
    """Passes HTTP as it is, and a WebSocket's change frames in disorder, some twice, some with a later burst.

    Attributes:
        doubled: Frames that were sent once more.
        overtaken: Frames that were sent after one that came later.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.doubled = self.overtaken = 0
        self._random = random.Random(1)

    @override
    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if not counts:  # what the client asks for: frames that are not compressed
                head = head.replace(b"\r\nSec-WebSocket-Extensions:", b"\r\nX-Unwanted:")
            writer.write(head)
            if head.startswith(b"HTTP/1.1 101"):
                async with asyncio.TaskGroup() as tasks:
                    frames: asyncio.Queue[bytes | None] = asyncio.Queue(10_000)
                    tasks.create_task(self._shuffle(frames, writer))
                    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                        while True:
                            await frames.put(await _frame(reader))
                    await frames.put(None)
        await super()._pass(reader, writer, counts=counts)

    async def _shuffle(self, frames: asyncio.Queue[bytes | None], writer: asyncio.StreamWriter) -> None:
        burst: list[bytes] = []
        while True:
            frame: bytes | None = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BURST_S if burst else None):
                    frame = await frames.get()
            if frame is None:
                return
            if CHANGE in frame:
                burst.append(frame)
            elif frame:
                writer.write(frame)
            else:
                burst = self._send(burst, writer)

    def _send(self, burst: list[bytes], writer: asyncio.StreamWriter) -> list[bytes]:
        """Send a burst; return what stays for the next one."""
        places = list(range(len(burst)))
        self._random.shuffle(places)
        last, kept = -1, []
        for place in places:
            if len(burst) > 1 and self._random.random() < 0.1:
                kept.append(burst[place])
                continue
            self.overtaken += place < last
            last = max(last, place)
            again = self._random.random() < 0.3
            self.doubled += again
            writer.write(burst[place] * (1 + again))
        return kept


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame of a server, which masks none (RFC 6455, section 5.2)."""
    head = await reader.readexactly(2)
    size = head[1] & 0x7F
    if size >= 126:
        extended = await reader.readexactly(2 if size == 126 else 8)
        head, size = head + extended, int.from_bytes(extended, "big")
    return head + await reader.readexactly(size)
