"""A database that does not replicate: each refusal says how to end it."""

import asyncio
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from bridge.capture.refusal import POOLER, explain
from bridge.local import postgres as postgres_module
from bridge.local.postgres import EmbeddedPostgres
from tests.support.fake_realtime import eventually
from tests.support.wal import (
    journal_postgres,
    running,
)


async def reason(url: str, **settings: Any) -> tuple[str, str]:
    """What is logged of the first connection to fail, reason and advice."""
    with capture_logs() as logs:
        async with running(url, **settings) as source:
            await eventually(lambda: any(entry["event"] == "upstream_lost" for entry in logs), timeout_s=25)
            assert source.state == "down"
            assert source.waiting == 0
    assert "s3cret" not in str(logs)
    entry = next(entry for entry in logs if entry["event"] == "upstream_lost")
    return entry["reason"], entry["advice"]


async def test_what_is_missing_is_named_with_what_to_do(journal_server: EmbeddedPostgres, database: Any):
    """Each refusal says how to end it, and never shows the password."""
    await database.execute("create role reader login password 's3cret'")
    await database.execute("create publication empty")
    await database.execute("create publication deletes for table bridge.journal with (publish = 'delete')")
    at = f"127.0.0.1:{journal_server.port}"

    refusals = {
        "role": await reason(f"postgresql://reader:s3cret@{at}/postgres"),
        "absent": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication='o\'ther "x"'),
        "empty": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication="empty"),
        "deletes": await reason(f"postgresql://postgres:s3cret@{at}/postgres", publication="deletes"),
        "table": await reason(f"postgresql://postgres:s3cret@{at}/template1"),
        "database": await reason(f"postgresql://postgres:s3cret@{at}/nowhere"),
        "port": await reason("postgresql://postgres:s3cret@127.0.0.1:1/postgres"),
        "host": await reason("postgresql://postgres:s3cret@no.such.host.invalid/postgres"),
    }

    expected = {
        "role": ("permission denied to start WAL sender", "with replication"),
        "absent": ('publication o\'ther "x" does not exist', 'create publication "o\'ther ""x""" for table'),
        "empty": ("does not have bridge.journal", "alter publication empty add table bridge.journal"),
        "deletes": ("does not publish inserts", "alter publication deletes set"),
        "table": ("no table bridge.journal", "migrate"),
        "database": ("does not exist", "SUPABASE_DB_URL"),
        "port": ("refused", "does Postgres run"),
        "host": ("no.such.host.invalid", "name a host"),
    }
    for name, (what, todo) in expected.items():
        assert what in refusals[name][0], (name, refusals[name])
        assert todo in refusals[name][1], (name, refusals[name])
    await database.execute("drop role reader")


async def test_a_server_that_cannot_replicate_says_so(monkeypatch: pytest.MonkeyPatch):
    """No free slot, and then no logical WAL at all."""
    monkeypatch.setitem(postgres_module._SETTINGS, "max_replication_slots", "1")
    with journal_postgres() as own:
        async with await psycopg.AsyncConnection.connect(own.url(), autocommit=True) as connection:
            await connection.execute("select pg_create_physical_replication_slot('taken')")
            what, todo = await reason(own.url())
            assert "all replication slots are in use" in what
            assert "max_replication_slots" in todo
            await connection.execute("select pg_drop_replication_slot('taken')")
        monkeypatch.setitem(postgres_module._SETTINGS, "wal_level", "replica")
        await asyncio.to_thread(own.restart)
        assert await reason(own.url()) == (
            "wal_level is replica, not logical",
            "set wal_level = logical and restart Postgres; hosted Supabase has it so",
        )


async def test_a_pooler_that_ignores_replication_is_recognized(database: Any):
    """Supavisor gives an ordinary connection, to which our first command is a syntax error."""
    with pytest.raises(psycopg.errors.SyntaxError) as caught:
        await database.execute("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")

    assert explain(str(caught.value)).advice == POOLER
