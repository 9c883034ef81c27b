"""Changes a second that the upstream side takes: from the socket to the values that the pipeline gets.

Over WAL from a real Postgres, whose journal is filled meanwhile on another core; over Realtime from a small
server that sends frames as fast as they are taken, as a real one delivers fewer.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from websockets.asyncio.server import ServerConnection, serve

from bridge.bench.arena import World, arena
from bridge.bench.cores import pinned, server_core
from bridge.bench.wire import record_text
from bridge.bench.worker import python
from bridge.capture import JournalSource, RealtimeSource, WalSource
from bridge.clock import SystemClock
from bridge.errors import SourceError
from bridge.events import Change
from bridge.journal import JOURNAL, JournalHoles, JournalPage

AT_ONCE = 1000
"""Rows of one transaction."""

START_S = 20.0
STALL_S = 20.0

_FILL = (
    "insert into bridge.journal (relation, action, record)"
    " select 'public.messages', 'INSERT', %s from generate_series(1, %s)"
)


class Row(msgspec.Struct, frozen=True):
    """One line of the table."""

    upstream: str
    changes: int
    changes_per_s: int
    changes_per_cpu_s: int


class _EmptyJournal:
    """Finds nothing that the stream has lost."""

    async def journal_since(
        self, _after: int, _holes: Sequence[tuple[int, int]], _max_rows: int
    ) -> JournalPage:
        return JournalPage(epoch="1", xmin="1000", xmax="1000", pruned=0, more=False, rows=[])

    async def journal_holes(self, after: int) -> JournalHoles:
        return JournalHoles(last=after, holes=[])

    async def journal_before(self, _age_s: float) -> int:
        return 0


async def capture(*, changes: int) -> list[Row]:
    """Measure both.

    Raises:
        SourceError: not every change arrived.
    """
    async with arena(World(1, [[0]])) as place:
        with pinned(server_core()):  # the sources run here
            return [await _wal(place.stack.database_url, changes), await _realtime(changes)]


async def _wal(database_url: str, changes: int) -> Row:
    clock = SystemClock()
    stream = WalSource(database_url=database_url, clock=clock, random=lambda: 0.5)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        found: Any = await connection.execute("select coalesce(max(id), 0) from bridge.journal")
        (last_id,) = await found.fetchone()

        async def fill() -> None:
            for _ in range(changes // AT_ONCE):
                await connection.execute(_FILL, (record_text(1, "d"), AT_ONCE))

        return await _taken("wal", stream, changes // AT_ONCE * AT_ONCE, last_id, fill())


async def _realtime(changes: int) -> Row:
    process = await asyncio.create_subprocess_exec(
        *python("bridge.bench.capturing"), str(changes), stdout=asyncio.subprocess.PIPE
    )
    try:
        port = int(await process.stdout.readline()) if process.stdout else 0
        stream = RealtimeSource(
            url=f"http://127.0.0.1:{port}",
            token=lambda: "token",
            tables=(JOURNAL,),
            primary_key=lambda _table: ("id",),
            read_columns=lambda _table: (),
            read_row=_no_row,
            clock=SystemClock(),
            random=lambda: 0.5,
            queue_limit=changes + 1,
        )
        return await _taken("realtime", stream, changes, 0, None)
    finally:
        process.kill()
        await process.wait()


async def _taken(name: str, stream: WalSource | RealtimeSource, changes: int, last_id: int, fill: Any) -> Row:
    clock = SystemClock()
    source = JournalSource(
        stream=stream, reader=_EmptyJournal(), clock=clock, past_s=1.0, lossless=name == "wal"
    )
    source._journal.position.after = last_id  # noqa: SLF001 - what was there before is of no interest
    taken, started_s, cpu_s = 0, 0.0, 0.0
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(source.run(), name="capture")
        async with asyncio.timeout(START_S):
            while stream.state != "live":  # noqa: ASYNC110 - a source tells nobody
                await asyncio.sleep(0.01)
        filling = None if fill is None else tasks.create_task(fill, name="fill")
        try:
            while taken < changes:
                event = source.take()
                if event is None:
                    async with asyncio.timeout(STALL_S):
                        event = await source.next_event()
                if isinstance(event, Change):
                    if not taken:
                        started_s, cpu_s = time.perf_counter(), time.process_time()
                    taken += 1
                    if taken % AT_ONCE == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            raise SourceError(f"{taken} of {changes} changes arrived over {name}") from None
        took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        if filling is not None:
            await filling
        running.cancel()
    return Row(name, changes, round(changes / took_s), round(changes / cpu_s))


async def _no_row(_table: str, _key: Any) -> None:
    """No row has to be read again."""


def frames(changes: int) -> list[str]:
    """Return what Realtime sends for rows of the journal."""
    columns = [
        {"name": name, "type": kind}
        for name, kind in (
            ("id", "int8"), ("txid", "xid8"), ("relation", "text"), ("action", "text"),
            ("record", "text"), ("old_record", "text"), ("recorded_at", "timestamptz"),
        )
    ]  # fmt: skip
    found = []
    for id_ in range(1, changes + 1):
        record = {
            "id": id_,
            "txid": str(1000 + id_),
            "relation": "public.messages",
            "action": "INSERT",
            "record": record_text(id_, "d"),
            "old_record": None,
            "recorded_at": "2026-01-01T10:00:00.123456+00:00",
        }
        data = {
            "schema": "bridge",
            "table": "journal",
            "type": "INSERT",
            "columns": columns,
            "commit_timestamp": "2026-01-01T10:00:00.123Z",
            "errors": None,
            "record": record,
        }
        payload = {"ids": [1], "data": data}
        message = {"event": "postgres_changes", "payload": payload, "ref": None, "topic": "realtime:bridge"}
        found.append(json.dumps(message))
    return found


async def send(changes: int) -> None:
    """Be a Realtime that answers a join, and sends ``changes`` frames."""
    ready = frames(changes)

    async def on_connection(socket: ServerConnection) -> None:
        async for text in socket:
            asked = json.loads(text)
            if asked["event"] != "phx_join":
                continue
            bindings = asked["payload"]["config"]["postgres_changes"]
            response = {"postgres_changes": [{"id": n, **one} for n, one in enumerate(bindings)]}
            reply = {"event": "phx_reply", "payload": {"response": response, "status": "ok"}}
            await socket.send(json.dumps({**reply, "ref": asked["ref"], "topic": asked["topic"]}))
            system = {
                "channel": "bridge",
                "extension": "postgres_changes",
                "message": "Subscribed to PostgreSQL",
                "status": "ok",
            }
            about = {"event": "system", "payload": system, "ref": None, "topic": asked["topic"]}
            await socket.send(json.dumps(about))
            await asyncio.sleep(0.5)  # until the reader has looked at what it may have missed
            for frame in ready:
                await socket.send(frame)

    async with serve(on_connection, "127.0.0.1", 0, compression=None) as server:
        sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {server_core()} or {0})
    asyncio.run(send(int(sys.argv[1])))
