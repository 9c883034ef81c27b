"""Why a database does not replicate, and what to do about it.  Never quotes a password."""

import re

import msgspec
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from bridge.errors import SourceError
from bridge.events import GapReason
from bridge.identifiers import quoted

POOLER = (
    "a connection pooler cannot replicate: set SUPABASE_DB_URL to the direct connection"
    " (Supabase dashboard, Connect, Direct connection: db.<project>.supabase.co, port 5432)"
)
ROLE = "let the role replicate (alter role <name> with replication), or use Supabase's postgres role"
RUNNING = "are host and port of SUPABASE_DB_URL right, and does Postgres run?"

_ADVICE: tuple[tuple[str, str], ...] = (
    # Supavisor ignores replication=database, and gives an ordinary connection that knows no such command.
    (r"unsupported startup parameter|syntax error at or near \"CREATE_REPLICATION_SLOT", POOLER),
    (r"tenant or user not found|tenant/user", POOLER),
    (r"permission denied to start wal sender|superuser or replication role|replication attribute", ROLE),
    (r"wal_level", "set wal_level = logical and restart Postgres; hosted Supabase has it so"),
    (
        r"all replication slots are in use",
        "raise max_replication_slots, or drop slots that nobody reads (select * from pg_replication_slots)",
    ),
    (
        r"max_wal_senders",
        "raise max_wal_senders, or end replication that nobody needs (select * from pg_stat_replication)",
    ),
    (r"too many (clients|connections)|remaining connection slots", "raise max_connections, or connect less"),
    (r"password authentication failed|no password supplied", "set SUPABASE_DB_URL with the right password"),
    (
        r"pg_hba\.conf",
        "allow this host in pg_hba.conf (or Supabase's network restrictions), or use sslmode=require",
    ),
    (r"(role|database) .*does not exist", "name a role and a database that exist in SUPABASE_DB_URL"),
    (
        r"network is unreachable|no route to host|address family",
        "Supabase's direct connection has an IPv6 address only: use a host with IPv6, or the IPv4 add-on",
    ),
    (
        r"resolve host|translate host name|name or service not known",
        "name a host that exists in SUPABASE_DB_URL",
    ),
    (r"ssl|certificate", "set sslmode in SUPABASE_DB_URL as the server wants it"),
    (r"starting up|shutting down|not yet accepting|recovery mode", "wait: Postgres is starting or stopping"),
    (
        r"closed the connection|connection reset|broken pipe",
        "see the log of Postgres, and the network, if it lasts",
    ),
    (
        r"publication .* does not exist",
        "apply sql/migrations/20261127100000_journal.sql again, which makes the publication",
    ),
    (
        r"can no longer (get|access) changes|invalidated|terminating process .* to release replication slot",
        "the worker was too slow for max_slot_wal_keep_size: raise it, or give the worker more CPU",
    ),
)


class ReplicationError(SourceError):
    """There is no replication, or no more.

    Attributes:
        reason: What is so.
        advice: What to do about it.
        gap: What it is called in a :class:`~bridge.events.Gap`.
    """

    def __init__(self, reason: str, advice: str, gap: GapReason = "upstream_disconnected") -> None:
        self.reason, self.advice, self.gap = reason, advice, gap
        super().__init__(f"{reason}: {advice}")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be known of a database before a slot is made; None where there is no such thing."""

    wal_level: str
    publishes_inserts: bool | None
    published: bool
    journal: bool
    wal_sender_timeout_s: float


def judge(facts: Facts, *, publication: str, table: str) -> None:
    """Accept a database.

    Raises:
        ReplicationError: it cannot give us the journal.
    """
    if facts.wal_level != "logical":
        raise _refused(f"wal_level is {facts.wal_level}, not logical")
    if not facts.journal:
        raise ReplicationError(f"there is no table {table}", "apply sql/migrations (bridge migrate up)")
    if facts.publishes_inserts is None:
        raise ReplicationError(
            f"publication {publication} does not exist",
            f"create publication {quoted(publication)} for table {table} with (publish = 'insert')",
        )
    if not facts.published:
        raise ReplicationError(
            f"publication {publication} does not have {table}",
            f"alter publication {quoted(publication)} add table {table}",
        )
    if not facts.publishes_inserts:
        raise ReplicationError(
            f"publication {publication} does not publish inserts",
            f"alter publication {quoted(publication)} set (publish = 'insert')",
        )


def explain(message: str, *, sqlstate: str | None = None) -> ReplicationError:
    """Return what an error of libpq or of the server means."""
    reason = " ".join(message.split())[:300]
    gap: GapReason = "upstream_restarted" if (sqlstate or "").startswith("57P") else "upstream_disconnected"
    return _refused(reason, gap)


def _refused(reason: str, gap: GapReason = "upstream_disconnected") -> ReplicationError:
    for pattern, advice in _ADVICE:
        if re.search(pattern, reason, re.IGNORECASE):
            return ReplicationError(reason, advice, gap)
    return ReplicationError(reason, RUNNING, gap)


def redacted(text: str, database_url: str) -> str:
    """Return ``text`` without the password of ``database_url``, should anybody have quoted it."""
    try:
        password = conninfo_to_dict(database_url).get("password")
    except ProgrammingError:
        return text
    return text.replace(str(password), "[redacted]") if password else text
