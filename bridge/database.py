"""Connections to the project's database itself, by ``SUPABASE_DB_URL``; no message shows its password."""

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bridge.errors import ConfigError, SourceError

CONNECT_TIMEOUT_S = 10

_MALFORMED = (
    "SUPABASE_DB_URL is no connection string: write postgresql://user:password@host:5432/name, with special "
    "characters of the password percent-encoded (%40 for @, %2F for / and %3A for :)"
)

_ADVICE = (
    ("password authentication failed", "the password is wrong, or a special character in it is not encoded"),
    ("Tenant or user not found", "the pooler wants the user postgres.<ref> and its region's host"),
    ("no pg_hba.conf entry", "the server does not let this user in from here; try ?sslmode=require"),
    ("SSL", "try another sslmode, like ?sslmode=require"),
    ("unreachable", "take the session pooler's string, since a direct connection needs IPv6"),
    ("resolve host", "correct the host; where there is no IPv6, take the session pooler's string"),
    ("translate host name", "correct the host; where there is no IPv6, take the session pooler's string"),
    ("too many", "the server takes no more connections: close some, or connect over the pooler"),
    ("does not exist", "the user or the database is not there; in a Supabase project both are postgres"),
)  # fmt: skip


def database_url(text: str) -> str:
    """Return a connection string that was given as ``SUPABASE_DB_URL``.

    Raises:
        ConfigError: there is none.
    """
    url = text.strip()
    if not url:
        raise ConfigError(
            "SUPABASE_DB_URL is not set: give the database's connection string, of a role like postgres"
        )
    return url


def parameters(url: str) -> dict[str, Any]:
    """Return the connection parameters of a connection string.

    Raises:
        ConfigError: it is none; what libpq says of it is not told, because it may quote the password.
    """
    try:
        known = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError(_MALFORMED) from None
    # An unescaped @, / or : of a password ends up in one of these, and from there in an error's message.
    numbers = [str(known.get(name) or "0") for name in ("port", "connect_timeout")]
    if any("@" in str(known.get(name) or "") for name in ("host", "dbname")) or not all(
        re.fullmatch(r"[\d,]+", number) for number in numbers
    ):
        raise ConfigError(_MALFORMED)
    return known


async def connect(url: str, *, autocommit: bool = False) -> psycopg.AsyncConnection[Any]:
    """Connect to the database; the caller closes the connection.

    Prepares no statements, so that a pooler in transaction mode will do.

    Raises:
        ConfigError: it is no connection string.
        SourceError: the database cannot be reached, or lets nobody in with this.
    """
    timeout_s = int(parameters(url).get("connect_timeout", CONNECT_TIMEOUT_S) or 0)
    try:
        return await psycopg.AsyncConnection.connect(
            url, autocommit=autocommit, prepare_threshold=None, connect_timeout=timeout_s
        )
    except psycopg.OperationalError as error:
        said = first_line(error)
        advice = next((advice for words, advice in _ADVICE if words in said), "check host and port in it")
        raise SourceError(f"the database of SUPABASE_DB_URL cannot be reached ({said}): {advice}") from None


def first_line(error: psycopg.Error) -> str:
    """Return the first line of what Postgres said."""
    return str(error).strip().partition("\n")[0][:200]
