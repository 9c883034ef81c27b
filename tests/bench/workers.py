"""What several workers cost that share a port, before any client is there: processor time and memory.

    python -m tests.bench.workers --workers 1 2 4

Each worker follows all changes, whatever clients it has; that is the part of the work that more workers do not
share.  A local stack, `bridge run --workers N` over both upstreams, single rows written by one connection;
printed are microseconds of processor time a change: of a worker, and of Postgres to send it (over WAL), all
senders together.
"""

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path

import httpx
import psycopg

from bridge.bench.stage import environment, until_ready
from bridge.bench.worker import Worker
from bridge.local.stack import LocalStack
from bridge.migration.state import files
from tests.bench.server import resident_bytes

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MEMBERS = 10

FOUND = """
with u as (select gen_random_uuid() as id from generate_series(1, %s)),
d as (insert into public.dialogs (owner_id, title) select min(id::text)::uuid, 'x' from u returning id)
insert into public.dialog_participants (dialog_id, user_id) select d.id, u.id from u, d
"""


def cpu_s(pid: int) -> float:
    """Return the processor time of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def received(worker: Worker) -> int:
    """Return how many messages the slowest process has received."""
    counts = []
    async with httpx.AsyncClient() as http:
        for port in worker.admin_ports:
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            lines = [x for x in text.splitlines() if x.startswith("bridge_changes_total") and "messages" in x]
            counts.append(int(sum(float(line.rpartition(" ")[2]) for line in lines)))
    return min(counts)


async def measure(stack: LocalStack, folder: Path, upstream: str, count: int, changes: int) -> None:
    """Run ``count`` workers, write, and print what it took."""
    settings = {"SUPABASE_URL": stack.url, "SUPABASE_DB_URL": stack.database_url, "BRIDGE_UPSTREAM": upstream}
    worker = Worker(environment(stack, settings), folder / f"{upstream}-{count}.log", processes=count)
    await worker.start()
    try:
        await until_ready([worker], folder)
        connecting = psycopg.AsyncConnection.connect(stack.database_url, autocommit=True)
        async with await connecting as connection:
            found = await connection.execute(
                "select pid from pg_stat_replication where application_name = 'supabase-realtime-bridge'"
            )
            senders = [pid for (pid,) in await found.fetchall()]
            first = await received(worker)
            pids = worker.children or [worker.pid]
            before = [cpu_s(pid) for pid in pids], sum(map(cpu_s, senders))
            insert = "insert into public.messages (dialog_id, sender_id, body) "
            for _ in range(changes):  # each a transaction
                await connection.execute(insert + "select id, owner_id, 'x' from public.dialogs")
            async with asyncio.timeout(120):
                while await received(worker) < first + changes:  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(0.2)
            used = [cpu_s(pid) - was for pid, was in zip(pids, before[0], strict=True)]
        print(
            json.dumps(
                {
                    "upstream": upstream,
                    "workers": count,
                    "us_per_change_worker": round(sum(used) / count / changes * 1e6),
                    "us_per_change_postgres": round((sum(map(cpu_s, senders)) - before[1]) / changes * 1e6),
                    "slots": len(senders),
                    "mb_worker_with_history": round(sum(map(resident_bytes, pids)) / count / 1e6),
                    "mb_supervisor": round(resident_bytes(worker.pid) / 1e6) if count > 1 else 0,
                }
            )
        )
    finally:
        await worker.end(15)


async def main(counts: list[int], changes: int) -> None:
    """Measure each of ``counts`` over both upstreams."""
    with tempfile.TemporaryDirectory() as folder:
        async with LocalStack() as stack:
            await stack.apply_sql(files())
            with psycopg.connect(stack.database_url, autocommit=True) as connection:
                connection.execute(FOUND, (MEMBERS,))
            for upstream in ("wal", "realtime"):
                for count in counts:
                    await measure(stack, Path(folder), upstream, count, changes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--changes", type=int, default=10_000)
    asked = parser.parse_args()
    asyncio.run(main(asked.workers, asked.changes))
