"""Where changes come from: found out from the settings and the database's catalog.

Knows capture, for the transports, and authorization, for the tables that policies read.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import structlog

from bridge.authorization import PlanSet, compile_catalog
from bridge.authorization import Settings as AuthorizationSettings
from bridge.backoff import Backoff
from bridge.capture import JournalSource, RealtimeSource, WalSource
from bridge.clock import Clock
from bridge.config import Config
from bridge.errors import ConfigError, SourceError
from bridge.minting import expires_at, mint_token
from bridge.rpc import ProjectRpc

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CLIENT_ROLES = ("authenticated", "anon")
"""Database roles that clients can have; plans are compiled for these."""

RENEWED_KEY_TTL_S = 3600

JOURNAL = "bridge.journal"

Source: TypeAlias = RealtimeSource | JournalSource


class Upstream(msgspec.Struct, frozen=True):
    """Where changes come from.

    Attributes:
        source: Tells them.
        tables: Those of which changes come.
        settings: What authorization has to know.
    """

    source: Source
    tables: tuple[str, ...]
    settings: AuthorizationSettings


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

    That is the service-role key; where it is about to expire and the JWT secret is known, a fresh one.
    """

    def current() -> str:
        expires_s = expires_at(config.service_role_key)
        now = clock.now()
        if expires_s is None or config.jwt_secret is None or expires_s - now.timestamp() > RENEWED_KEY_TTL_S:
            return config.service_role_key
        return mint_token(
            config.jwt_secret, user_id=None, role="service_role", ttl_s=RENEWED_KEY_TTL_S, now=now
        )

    return current


async def open_upstream(
    config: Config, rpc: ProjectRpc, *, clock: Clock, keys: dict[str, Sequence[str]] | None = None
) -> Upstream:
    """Return a source of the watched tables and those that their policies read.

    Compiles the catalog to find out which these are, and tries for as long as the project is away.

    Args:
        config: The settings.
        rpc: The project.
        clock: Source of time.
        keys: Is filled with the columns of each table's primary key; the caller keeps it up to date.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
    """
    settings = authorization_settings(config)
    planset = await _compiled(settings, rpc, clock)
    known: dict[str, Sequence[str]] = {} if keys is None else keys
    known.update(planset.upstream_keys)
    tables = planset.upstream_tables
    # The choice stays for as long as the worker runs, whatever happens to the journal.
    settings = msgspec.structs.replace(settings, capture=planset.capture)
    log.info("capture_chosen", capture=planset.capture, upstream=config.upstream, tables=tables)
    if planset.capture == "journal":
        return Upstream(_journal(config, rpc, clock), tables, settings)
    if config.upstream == "wal":
        raise ConfigError(
            "BRIDGE_UPSTREAM is wal, which brings the journal only, and not all watched tables are in it: "
            f"select public.bridge_watch(...) for each of {', '.join(config.tables)}"
        )
    return Upstream(
        _realtime(config, rpc, clock, tables, lambda table: known.get(table, ())), tables, settings
    )


def _journal(config: Config, rpc: ProjectRpc, clock: Clock) -> JournalSource:
    if config.upstream == "wal" and config.database_url is not None:
        wal = WalSource(database_url=config.database_url, clock=clock, random=random.random)
        return JournalSource(stream=wal, reader=rpc, clock=clock, past_s=config.history_s, lossless=True)
    realtime = _realtime(config, rpc, clock, (JOURNAL,), lambda _table: ("id",))
    return JournalSource(stream=realtime, reader=rpc, clock=clock, past_s=config.history_s)


def _realtime(
    config: Config,
    rpc: ProjectRpc,
    clock: Clock,
    tables: Sequence[str],
    primary_key: Callable[[str], Sequence[str]],
) -> RealtimeSource:
    return RealtimeSource(
        url=config.supabase_url,
        token=service_token(config, clock),
        tables=tables,
        primary_key=primary_key,
        read_row=rpc.row,
        clock=clock,
        random=random.random,
    )


async def _compiled(settings: AuthorizationSettings, rpc: ProjectRpc, clock: Clock) -> PlanSet:
    backoff = Backoff(base_s=0.2, cap_s=5.0, random=random.random)
    while True:
        try:
            return (await compile_catalog(rpc, settings, clock))[0]
        except SourceError as error:
            retry_in_s = backoff.next_s()
            log.error("project_unreachable", reason=str(error), retry_in_s=round(retry_in_s, 2))
            await asyncio.sleep(retry_in_s)
