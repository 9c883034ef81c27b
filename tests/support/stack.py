"""A local stack, or only its Postgres, for a module of tests: started once, stopped by its fixture."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bridge.local.postgres import EmbeddedPostgres
from bridge.local.realtime import Timing
from bridge.local.stack import LocalStack

ROOT = Path(__file__).resolve().parent.parent.parent
MIGRATIONS = sorted((ROOT / "sql" / "migrations").glob("*.sql"))

QUICK = Timing(poll_s=0.03, refused_join_s=0.2, refused_apikey_s=0.1, refresh_s=0.1)
"""As a real Realtime, but with less waiting."""


@contextmanager
def local_stack(*, timing: Timing = QUICK, migrations: bool = True) -> Iterator[LocalStack]:
    """Run a stack; with the reference schema and the worker's functions unless told otherwise."""
    stack = LocalStack(timing=timing)
    asyncio.run(stack.start())
    try:
        if migrations:
            asyncio.run(stack.apply_sql(MIGRATIONS))
        yield stack
    finally:
        asyncio.run(stack.stop())


@contextmanager
def embedded_postgres() -> Iterator[EmbeddedPostgres]:
    """Run a Postgres with Supabase's roles and auth schema, without the migrations."""
    server = EmbeddedPostgres()
    server.start()
    try:
        server.bootstrap()
        yield server
    finally:
        server.stop()


def migrate(connection: psycopg.Connection[Any]) -> None:
    """Apply all migrations."""
    for path in MIGRATIONS:
        connection.execute(path.read_bytes())


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended may wait to be collected)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False  # it ended meanwhile
