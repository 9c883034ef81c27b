"""A Postgres with the journal, a proxy before it and a connection to it, for the tests of the WAL transport."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from bridge.bench.proxy import TcpProxy, tcp_proxy
from bridge.local.postgres import EmbeddedPostgres
from tests.support.wal import journal_postgres


@pytest.fixture(scope="module")
def journal_server() -> Iterator[EmbeddedPostgres]:
    """A Postgres with the journal, shared by the tests of this module."""
    with journal_postgres() as running:
        yield running


@pytest.fixture
async def proxy(journal_server: EmbeddedPostgres) -> AsyncIterator[TcpProxy]:
    """A proxy before it."""
    async with tcp_proxy("127.0.0.1", journal_server.port) as running:
        yield running


@pytest.fixture
async def database(journal_server: EmbeddedPostgres) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection to write with."""
    async with await psycopg.AsyncConnection.connect(journal_server.url(), autocommit=True) as connection:
        yield connection
