"""Where changes come from: found out from the settings and the database's catalog.

Knows capture, for the transports, and authorization, for the tables that policies read.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import msgspec
import structlog

from bridge.authorization import Capture, PlanSet, chosen, compile_catalog, journal_advice
from bridge.authorization import Settings as AuthorizationSettings
from bridge.backoff import Backoff
from bridge.capture import JournalSource, RealtimeSource, WalSource
from bridge.clock import Clock
from bridge.config import Config
from bridge.database import parameters
from bridge.errors import ConfigError, SourceError
from bridge.journal import JOURNAL
from bridge.minting import expires_at, key_role, mint_token
from bridge.rpc import ProjectRpc
from bridge.trouble import Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CLIENT_ROLES = ("authenticated", "anon")
"""Database roles that clients can have; plans are compiled for these."""

RENEWED_KEY_TTL_S = 3600

Source: TypeAlias = RealtimeSource | JournalSource


class Upstream(msgspec.Struct, frozen=True):
    """Where changes come from.

    Attributes:
        source: Tells them.
        tables: Those of which changes come.
        settings: What authorization has to know.
        names: The same, with the names that the catalog has.
    """

    source: Source
    tables: tuple[str, ...]
    settings: AuthorizationSettings
    names: AuthorizationSettings


class Known:
    """What the source has to know of the captured tables, as of the last time the catalog was read."""

    def __init__(self) -> None:
        self._keys: dict[str, Sequence[str]] = {}
        self._read: dict[str, Collection[str]] = {}

    def learn(self, planset: PlanSet) -> None:
        """Take what ``planset`` knows."""
        self._keys.update(planset.upstream_keys)
        self._read.update(planset.read_columns)

    def primary_key(self, table: str) -> Sequence[str]:
        """Return the columns of the primary key."""
        return self._keys.get(table, ())

    def read_columns(self, table: str) -> Collection[str]:
        """Return the columns that policies read."""
        return self._read.get(table, ())


def authorization_settings(config: Config) -> AuthorizationSettings:
    """Return what authorization has to know of the settings."""
    return AuthorizationSettings(
        tables=config.tables,
        dialog_table=config.dialogs,
        message_table=config.messages,
        dialog_column=config.dialog_column,
        roles=CLIENT_ROLES,
        remembered_rows=config.remembered_rows,
        capture=config.capture,
    )


def service_token(config: Config, clock: Clock) -> Callable[[], str]:
    """Return a function that returns the key to join upstream with.

    That is the worker's; where it is about to expire and the JWT secret is known, a fresh one of its role.
    """

    def current() -> str:
        expires_s = expires_at(config.service_role_key)
        now = clock.now()
        if expires_s is None or config.jwt_secret is None or expires_s - now.timestamp() > RENEWED_KEY_TTL_S:
            return config.service_role_key
        role = key_role(config.service_role_key)
        return mint_token(config.jwt_secret, user_id=None, role=role, ttl_s=RENEWED_KEY_TTL_S, now=now)

    return current


async def open_upstream(
    config: Config,
    rpc: ProjectRpc,
    *,
    clock: Clock,
    known: Known | None = None,
    trouble: Trouble | None = None,
) -> Upstream:
    """Return a source of the watched tables and those that their policies read.

    Compiles the catalog to find out which these are, and tries for as long as the project is away.

    Args:
        config: The settings.
        rpc: The project.
        clock: Source of time.
        known: Is told of the tables; the caller keeps it up to date.
        trouble: Is told why the project does not answer.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched, or the database's URL is none.
    """
    if config.upstream == "wal":
        parameters(config.database_url or "")  # what is no URL will not become one by trying again
    settings = authorization_settings(config)
    planset = await _compiled(settings, rpc, clock, trouble or Trouble(clock))
    known = Known() if known is None else known
    known.learn(planset)
    tables = planset.upstream_tables
    catalog = planset.catalog
    names = settings.of(catalog)
    # What has been chosen stays for as long as the worker runs, whatever happens to the journal, and so does
    # what a name means.
    settings = msgspec.structs.replace(
        settings,
        kept=planset.capture,
        tables=tuple(catalog.by_name[name].quoted for name in names.tables),
        dialog_table=catalog.by_name[names.dialog_table].quoted,
        message_table=catalog.by_name[names.message_table].quoted,
    )
    wanting = chosen(catalog, planset.watched, config.capture).wanting or ()
    advice = journal_advice(catalog, wanting)
    hint = {"hint": advice} if advice else {}
    log.info("capture_chosen", capture=planset.capture, upstream=config.upstream, tables=tables, **hint)
    refuse_travel(config, planset.capture, advice)
    stream = open_stream(config, rpc, clock, capture=planset.capture, tables=tables, known=known)
    if isinstance(stream, RealtimeSource) and planset.capture == "tables":
        return Upstream(stream, tables, settings, names)
    lossless = isinstance(stream, WalSource)
    source = JournalSource(stream=stream, reader=rpc, clock=clock, past_s=config.history_s, lossless=lossless)
    return Upstream(source, tables, settings, names)


def refuse_travel(config: Config, capture: Capture, advice: str) -> None:
    """Refuse what is captured where it cannot travel as set.

    Args:
        config: The settings.
        capture: What is captured.
        advice: What puts all watched tables into the journal; empty if there is none.

    Raises:
        ConfigError: it cannot.
    """
    if capture == "tables" and config.upstream == "wal":
        raise ConfigError(
            "BRIDGE_UPSTREAM is wal, which brings the journal only, and not all watched tables are in it: "
            + (advice or "apply sql/migrations (bridge migrate up)")
        )


def open_stream(
    config: Config, rpc: ProjectRpc, clock: Clock, *, capture: Capture, tables: Sequence[str], known: Known
) -> RealtimeSource | WalSource:
    """Return what brings changes, of the journal or of ``tables``, as they are committed."""
    if capture == "journal" and config.upstream == "wal" and config.database_url is not None:
        return WalSource(database_url=config.database_url, clock=clock, random=random.random)
    of_journal = capture == "journal"
    return RealtimeSource(
        url=config.supabase_url,
        token=service_token(config, clock),
        api_key=config.gateway_key,
        tables=(JOURNAL,) if of_journal else tables,
        primary_key=(lambda _table: ("id",)) if of_journal else known.primary_key,
        # The journal's rows are texts, which arrive as they are.
        read_columns=(lambda _table: ()) if of_journal else known.read_columns,
        read_row=rpc.row,
        clock=clock,
        random=random.random,
    )


async def _compiled(
    settings: AuthorizationSettings, rpc: ProjectRpc, clock: Clock, trouble: Trouble
) -> PlanSet:
    backoff = Backoff(base_s=0.2, cap_s=5.0, random=random.random)
    while True:
        try:
            return (await compile_catalog(rpc, settings, clock))[0]
        except SourceError as error:
            retry_in_s = backoff.next_s()
            if trouble.note(str(error), attempt=backoff.attempt):
                log.error(
                    "project_unreachable",
                    reason=str(error),
                    attempt=backoff.attempt,
                    retry_in_s=round(retry_in_s, 2),
                )
            await asyncio.sleep(retry_in_s)
