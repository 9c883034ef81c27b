"""What one client that never reads costs the others, and the server.

    python -m tests.bench.slow_reader

100 clients read messages of 2 KB; then the same again with one more that does not.  Prints their latency
(publish to read, ms) and how far the server's resident memory grew, side by side.
"""

import asyncio
import json
import re
import time

from tests.bench.server import connect, resident_bytes, started, token

READERS = 100
MESSAGES = 3000
MESSAGE_BYTES = 2000
PAUSE_S = 0.002


async def _read(reader: asyncio.StreamReader, latencies_ms: list[float]) -> None:
    for _ in range(MESSAGES):
        text = await reader.readuntil(b'"errors":null}')
        at = re.search(rb'"at":([0-9.]+)', text)
        assert at is not None
        latencies_ms.append((time.monotonic() - float(at[1])) * 1000)


async def round_of(*, slow: int) -> dict[str, float]:
    """Run one round with so many clients that do not read."""
    server, port = await started()
    clients = [await connect(port, "127.0.0.2", token(n)) for n in range(READERS)]
    # Not read from: what the kernel takes is small, the rest is the server's to hold or to cut off.
    frozen = [await connect(port, "127.0.0.2", token(READERS + n)) for n in range(slow)]
    for _, writer in frozen:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
    before = resident_bytes(server.pid)
    latencies_ms: list[float] = []
    assert server.stdin is not None
    server.stdin.write(f"publish {MESSAGES} {MESSAGE_BYTES} {PAUSE_S}\n".encode())
    peak = before
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(_read(reader, latencies_ms)) for reader, _ in clients]
        while not all(task.done() for task in reading):
            await asyncio.sleep(0.1)
            peak = max(peak, resident_bytes(server.pid))
    latencies_ms.sort()
    server.stdin.close()
    await server.wait()
    return {
        "slow_readers": slow,
        "p50_ms": round(latencies_ms[len(latencies_ms) // 2], 2),
        "p99_ms": round(latencies_ms[int(len(latencies_ms) * 0.99)], 2),
        "server_grew_mb": round((peak - before) / 1e6, 1),
    }


async def main() -> None:
    """Both rounds, twice, so that one sees the noise."""
    for slow in (0, 1, 0, 1):
        print(json.dumps(await round_of(slow=slow)))


if __name__ == "__main__":
    asyncio.run(main())
