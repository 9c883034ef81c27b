"""Resident memory of an idle connection: server in one process, clients in another.

    python -m tests.bench.idle_memory --connections 5000

Every client has authenticated and subscribed.  Prints bytes per connection: the growth of the server's
resident memory over their number.
"""

import argparse
import asyncio
import json

from tests.bench.server import connect, raise_limits, resident_bytes, started, token

PER_ADDRESS = 20_000
"""Connections from one source address: a port each."""


async def measure(connections: int) -> None:
    """Connect and print what it cost the server."""
    server, port = await started()
    opened = []

    async def open_some(first: int, count: int) -> None:
        for n in range(first, first + count):
            opened.append(await connect(port, f"127.0.0.{2 + n // PER_ADDRESS}", token(n // 4)))  # noqa: PERF401

    await open_some(0, 200)  # what the first ones make the server load is not theirs
    before = resident_bytes(server.pid)
    await open_some(200, connections)
    await asyncio.sleep(3)
    after = resident_bytes(server.pid)
    figures = {
        "connections": connections,
        "server_rss_mb": round(after / 1e6, 1),
        "bytes_per_connection": round((after - before) / connections),
    }
    print(json.dumps(figures))
    assert server.stdin is not None
    server.stdin.close()
    await server.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    options = parser.parse_args()
    raise_limits()
    asyncio.run(measure(options.connections))
