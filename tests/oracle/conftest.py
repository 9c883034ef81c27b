"""One Postgres for the whole run, with the project's own SQL functions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from tests.oracle.grammar import OWNER
from tests.oracle.world import SEEN
from tests.support.stack import embedded_postgres

FUNCTIONS = Path(__file__).parents[2] / "sql" / "migrations" / "20261123100200_bridge_functions.sql"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Policies in circles, missing grants: what is said of them is tested elsewhere."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="session")
def connection() -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection; what a test does it rolls back."""
    with embedded_postgres() as postgres, psycopg.connect(postgres.url(), autocommit=True) as superuser:
        superuser.execute(FUNCTIONS.read_bytes())
        superuser.execute(SEEN)
        superuser.execute(f"create role {OWNER}")
        # Its functions call auth.uid(), as those of Supabase's own roles may.
        superuser.execute(f"grant usage on schema auth to {OWNER}")
        yield superuser
