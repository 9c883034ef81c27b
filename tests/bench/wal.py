"""What the WAL transport takes: rows captured a second, and milliseconds from commit to event.

``python -m tests.bench.wal [ROWS] [BYTES]`` starts a Postgres of its own on this machine, so that both share its cores;
the line "one core" counts only our own CPU time.
"""

import asyncio
import datetime as dt
import statistics
import sys
import time
from typing import Any

import psycopg
import uvloop

from bridge.capture import WalSource
from bridge.clock import SystemClock
from bridge.events import Live
from tests.support.wal import journal_postgres

PUBLICATION = "bridge_journal"
FILL = (
    "insert into bridge.journal (relation, action, record, old_record)"
    " select 'public.t', 'UPDATE', repeat('x', %s), repeat('y', %s) from generate_series(1, %s)"
)


async def throughput(source: WalSource, database: Any, rows: int, size: int) -> None:
    """Take a backlog of ``rows`` rows, a thousand to a transaction."""
    begun_s = time.perf_counter()
    for _ in range(rows // 1000):
        await database.execute(FILL, (size // 2, size // 2, 1000))
    written_s = time.perf_counter()
    # The time of the writes is spent above; of what follows, only what we read is ours.
    waiting, cpu_s = source.waiting, time.process_time()
    started_s = time.perf_counter()
    for n in range(rows // 1000 * 1000):
        await source.next_or_woken()
        if n % 500 == 0:
            await asyncio.sleep(0)  # as a pipeline gives way
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    print(
        f"{rows} rows of {size} bytes written in {written_s - begun_s:.2f} s, {waiting} of them read meanwhile"
    )
    left = rows - waiting
    print(
        f"the other {left}: {left / wall_s:,.0f} rows/s as they come, {left / cpu_s:,.0f} rows/s of one core"
    )


async def latency(source: WalSource, database: Any, count: int) -> None:
    """Write single rows, 200 a second, and see when they arrive."""
    whole_ms, after_ms = [], []
    for _ in range(count):
        sent_s = time.perf_counter()
        await database.execute(FILL, (200, 200, 1))
        row: Any = await source.next_or_woken()
        now = dt.datetime.now(dt.UTC)
        whole_ms.append((time.perf_counter() - sent_s) * 1000)
        recorded = dt.datetime.fromisoformat(row.recorded_at)
        after_ms.append((now - recorded) / dt.timedelta(milliseconds=1))
        await asyncio.sleep(0.005)
    for name, values in (("INSERT sent to event", whole_ms), ("commit to event", after_ms)):
        values.sort()
        print(f"{name}: p50 {statistics.median(values):.2f} ms, p99 {values[int(len(values) * 0.99)]:.2f} ms")


async def main(url: str, rows: int, size: int) -> None:
    """Run both."""
    source = WalSource(
        database_url=url,
        clock=SystemClock(),
        random=lambda: 0.5,
        publication=PUBLICATION,
        queue_limit=50_000,
    )
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as database,
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(source.run())
        assert await source.next_or_woken() == Live()
        await latency(source, database, 1000)
        await throughput(source, database, rows, size)
        running.cancel()


if __name__ == "__main__":
    with journal_postgres() as server:
        arguments = [int(argument) for argument in sys.argv[1:]]
        uvloop.run(main(server.url(), *(arguments + [200_000, 600][len(arguments) :])))
