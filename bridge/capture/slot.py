"""One replication connection with its temporary slot, for as long as it lasts.

psycopg connects (without blocking, names resolved beside the loop); from then on we speak with libpq
ourselves, through ``psycopg.pq``: a cursor has no way to read a stream that both sides write (COPY_BOTH).
The walsender's session also takes ordinary SQL, so that what is missing is found before the slot is made.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from secrets import token_hex
from typing import Any

import psycopg
import structlog
from psycopg import pq

from bridge.capture.refusal import Facts, ReplicationError, explain, judge
from bridge.database import parameters
from bridge.identifiers import in_quotes, literal
from bridge.journal import JOURNAL, NAME, SCHEMA

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CONNECT_TIMEOUT_S = 20.0
"""Time for the connection and the questions before the slot."""

SLOT_TIMEOUT_S = 120.0
"""Time for the slot: Postgres makes it once every transaction that writes, as of now, has ended."""

WAITING_S = 5.0
"""After so long without a slot we say what we wait for."""

CANCEL_LIMIT_S = 1.0
"""Time for a cancel request: without one, a walsender would wait on for a slot whose reader has left."""

_OPEN_TRANSACTION = (
    "Postgres makes a slot when all transactions that write have ended: end the oldest one"
    " (select pid, xact_start, query from pg_stat_activity where backend_xid is not null order by xact_start)"
)

_DEFAULTS: dict[str, Any] = {
    "application_name": "supabase-realtime-bridge",
    "connect_timeout": 10,
    "gssencmode": "disable",
    # A dead peer is noticed also while we wait for the slot and nobody has to say anything.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

# Values are written as the session is set; a role's own time limits are not meant for a stream without end.
_SESSION = "set timezone = 'UTC'; set datestyle = 'ISO'; set lock_timeout = 0; set statement_timeout = 0"

_FACTS = f"""
select
    current_setting('wal_level'),
    (select p.pubinsert from pg_catalog.pg_publication as p where p.pubname = {{publication}}),
    exists (
        select from pg_catalog.pg_publication_tables as t
        where t.pubname = {{publication}} and t.schemaname = '{SCHEMA}' and t.tablename = '{NAME}'
    ),
    exists (
        select from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = '{SCHEMA}' and c.relname = '{NAME}' and c.relkind in ('r', 'p')
    ),
    (select s.setting from pg_catalog.pg_settings as s where s.name = 'wal_sender_timeout')
"""  # noqa: S608 - the names are constants, the publication is quoted


class Slot:
    """A slot that streams.  Methods raise :class:`ReplicationError` once there is nothing more to read.

    Args:
        pgconn: The connection, in COPY_BOTH.
        wal_sender_timeout_s: How long the server waits for a status; 0 for ever.

    Attributes:
        fileno: The socket, to wait on.  libpq closes it as soon as it fails: stop waiting before anybody
            opens another one, which gets the same number.
    """

    def __init__(self, pgconn: pq.abc.PGconn, wal_sender_timeout_s: float) -> None:
        self.wal_sender_timeout_s = wal_sender_timeout_s
        self.fileno = pgconn.socket
        self._pgconn = pgconn

    def receive(self) -> None:
        """Take what is in the socket, at most some 64 KiB unless a message is longer; never blocks."""
        with _explained():
            self._pgconn.consume_input()

    def message(self) -> memoryview | None:
        """Return the next message that has been received whole; None if there is none."""
        try:  # for every message, so without a context manager, which takes longer than all the rest
            size, message = self._pgconn.get_copy_data(1)
        except psycopg.Error as error:
            raise explain(str(error)) from None
        if size > 0:
            return message
        if size == 0:
            return None
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise _failure(result)
        # A walsender ends in order when its server is stopped, after all that was committed has been sent.
        raise ReplicationError(
            "the server ended the stream", "wait: Postgres is stopping", "upstream_restarted"
        )

    def send(self, message: bytes) -> None:
        """Send ``message``, or leave it to the next call if the network takes none; never blocks."""
        with _explained():
            self._pgconn.put_copy_data(message)
            self._pgconn.flush()


@contextlib.asynccontextmanager
async def open_slot(database_url: str, publication: str) -> AsyncIterator[Slot]:
    """Make a temporary slot and start it: what is committed from now on will be read.

    Raises:
        ReplicationError: it cannot be had.
    """
    connection = await _connect(database_url)
    try:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                facts = await _facts(connection.pgconn, publication)
        except TimeoutError:
            raise explain(f"no answer within {CONNECT_TIMEOUT_S:g} s") from None
        judge(facts, publication=publication, table=JOURNAL)
        await _start(connection, publication)
        yield Slot(connection.pgconn, facts.wal_sender_timeout_s)
    finally:
        await connection.close()


async def _connect(database_url: str) -> psycopg.AsyncConnection[Any]:
    wanted = {
        **_DEFAULTS,
        **parameters(database_url),
        "replication": "database",
        "client_encoding": "UTF8",
    }
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await psycopg.AsyncConnection.connect("", autocommit=True, **wanted)
    except TimeoutError:
        raise explain(f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
    except (psycopg.Error, OSError) as error:
        raise explain(str(error)) from None


async def _facts(pgconn: pq.abc.PGconn, publication: str) -> Facts:
    await _ask(pgconn, _SESSION)
    answer = await _ask(pgconn, _FACTS.format(publication=literal(publication)))
    cells = [answer.get_value(0, column) for column in range(5)]
    return Facts(
        wal_level=(cells[0] or b"").decode(),
        publishes_inserts=None if cells[1] is None else cells[1] == b"t",
        published=cells[2] == b"t",
        journal=cells[3] == b"t",
        wal_sender_timeout_s=int(cells[4] or 0) / 1000,  # the unit of the setting is ms
    )


async def _start(connection: psycopg.AsyncConnection[Any], publication: str) -> None:
    name = f"bridge_{token_hex(8)}"
    names = literal(in_quotes(publication))
    waiting = asyncio.get_running_loop().call_later(
        WAITING_S,
        lambda: log.warning("upstream_waiting", reason="there is no slot yet", advice=_OPEN_TRANSACTION),
    )
    try:
        async with asyncio.timeout(SLOT_TIMEOUT_S):
            await _ask(
                connection.pgconn,
                f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')",
            )
            await _ask(
                connection.pgconn,
                f"START_REPLICATION SLOT {name} LOGICAL 0/0 (proto_version '1', publication_names {names})",
            )
    except BaseException as error:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await connection.cancel_safe(timeout=CANCEL_LIMIT_S)
        if isinstance(error, TimeoutError):
            raise ReplicationError(f"no slot within {SLOT_TIMEOUT_S:g} s", _OPEN_TRANSACTION) from None
        raise
    finally:
        waiting.cancel()


async def _ask(pgconn: pq.abc.PGconn, command: str) -> pq.abc.PGresult:
    """Return the last result of ``command``, or the first that begins a stream."""
    last: pq.abc.PGresult | None = None
    with _explained():
        pgconn.send_query(command.encode())
        while pgconn.flush():
            await _wait(pgconn.socket, asyncio.get_running_loop().add_writer)
        while True:
            while pgconn.is_busy():
                await _wait(pgconn.socket, asyncio.get_running_loop().add_reader)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise _failure(result)
            last = result
            if result.status == pq.ExecStatus.COPY_BOTH:
                break
    if last is None:
        raise explain("the server gave no answer")
    return last


async def _wait(fileno: int, add: Callable[..., Any]) -> None:
    """Wait until the socket is ready for what ``add``, of the loop, waits for."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add(fileno, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fileno)
        loop.remove_writer(fileno)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise explain(str(error)) from None


def _failure(result: pq.abc.PGresult) -> ReplicationError:
    primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = primary or result.error_message
    return explain(message.decode(errors="replace"), sqlstate=(sqlstate or b"").decode())
