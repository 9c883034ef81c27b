"""The wiring: every stage, who owns it, and how the process starts and stops.

    capture ──Event──▶ pipeline ──Change──▶ authorization ──Effect──▶ fanout ──Frame──▶ connection

Only this module and ``pipeline`` know more than one stage.  It starts listening at once (clients are
told that upstream is down), then waits for the project for as long as it takes.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Collection, Sequence

import msgspec
import structlog
from starlette.routing import BaseRoute

from bridge.authorization import Authorizer, Deliver, Effect, PlanSet, Roster, compile_catalog, load
from bridge.authorization import Settings as AuthorizationSettings
from bridge.backoff import Backoff
from bridge.capture import RealtimeSource
from bridge.clock import Clock
from bridge.config import Config
from bridge.connection import ProjectKeys, Server, Verifier
from bridge.connection import Settings as ConnectionSettings
from bridge.errors import SourceError
from bridge.events import Principal, RowEvent, UpstreamState, View
from bridge.fanout import EventEncoder, Flusher, History, Hub
from bridge.minting import expires_at, is_of_another_secret, mint_token
from bridge.pipeline import Pipeline
from bridge.rpc import ProjectRpc

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CLIENT_ROLES = ("authenticated", "anon")
"""Database roles that clients can have; plans are compiled for these."""

RENEWED_KEY_TTL_S = 3600
CATALOG_INTERVAL_S = 2.0
"""Time after which a changed policy has been noticed; asking costs the database a few milliseconds."""

MAX_WAITING = 5_000
"""Changes that may wait before the worker calls itself not ready: it lags behind."""


class Addresses(msgspec.Struct, frozen=True):
    """Where the worker listens."""

    host: str
    port: int
    admin_host: str
    admin_port: int


class _HubAudience:
    """Gives the pipeline's effects to the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def deliver(self, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            self._hub.publish(effect.event, effect.deliveries)
        else:
            self._hub.resync(effect.principals, "visibility_changed")

    def announce_status(self, state: UpstreamState) -> None:
        self._hub.announce_status(state)

    def announce_gap(self, reason: str) -> None:
        self._hub.resync(None, reason)

    def forget_history(self) -> None:
        self._hub.forget_history()


def authorization_settings(config: Config) -> AuthorizationSettings:
    """Return what authorization has to know of the settings."""
    return AuthorizationSettings(
        tables=config.tables,
        dialog_table=config.dialogs,
        message_table=config.messages,
        dialog_column=config.dialog_column,
        roles=CLIENT_ROLES,
        remembered_rows=config.remembered_rows,
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


async def serve(
    config: Config,
    *,
    stop: asyncio.Event,
    clock: Clock,
    on_ready: Callable[[Addresses], None] | None = None,
    routes: Sequence[BaseRoute] = (),
) -> None:
    """Run the worker until ``stop``.

    Args:
        config: The settings.
        stop: Set it to drain and return.
        clock: Source of time.
        on_ready: Called once changes flow for the first time.
        routes: Further routes of the public port.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
        OSError: a port is taken.
    """
    if config.jwt_secret is not None and is_of_another_secret(config.service_role_key, config.jwt_secret):
        hint = "users' tokens will be refused: take SUPABASE_JWT_SECRET and the key from the same project"
        log.warning("jwt_secret_mismatch", hint=hint)
    worker = _Worker(config, clock, routes)
    worker.server.open()
    rpc = await ProjectRpc.connect(config.supabase_url, config.service_role_key)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.server.run(), name="server")
            relaying = tasks.create_task(worker.relay(rpc, on_ready), name="relay")
            await stop.wait()
            log.info("drain_started", timeout_s=config.drain_timeout_s)
            worker.server.stop_accepting()
            await worker.server.drain(config.drain_timeout_s)
            relaying.cancel()  # the source last: until here everybody gets their events
            worker.server.close()
    finally:
        await rpc.close()
    log.info("service_stopped")


class _Worker:
    """The stages of one process."""

    def __init__(self, config: Config, clock: Clock, routes: Sequence[BaseRoute]) -> None:
        self._config = config
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self._source: RealtimeSource | None = None
        self._roster = Roster(linger_s=config.history_s, clock=clock)
        self._hub = Hub(
            history=History(keep_s=config.history_s, epoch=secrets.token_hex(4), clock=clock),
            encoder=EventEncoder(dialog_table=config.dialogs, message_table=config.messages),
            decide=self._decide,
            roster=self._roster,
        )
        self._verifier = Verifier(
            clock=clock,
            secret=config.jwt_secret,
            keys=ProjectKeys(config.supabase_url, clock=clock),
            issuer=config.jwt_issuer,
        )
        self.server = Server(
            _connection_settings(config),
            hub=self._hub,
            flusher=Flusher(asyncio.get_running_loop()),
            verifier=self._verifier,
            clock=clock,
            readiness=self._readiness,
            routes=routes,
        )

    async def relay(self, rpc: ProjectRpc, on_ready: Callable[[Addresses], None] | None) -> None:
        """Relay changes for ever."""
        settings = authorization_settings(self._config)
        known = Known()
        source = self._source = await open_source(self._config, rpc, clock=self._clock, known=known)

        async def load_again() -> Authorizer:
            authorizer = await load(rpc, settings, self._roster, self._clock)
            known.learn(authorizer.planset)  # policies may read other tables by now
            if self._verifier.keep(authorizer.planset.catalog.volatile_claims):
                # Who is here was let in without a claim that decides by now.
                log.info("claims_kept", claims=sorted(authorizer.planset.catalog.volatile_claims))
                self._hub.send_reconnect()
            return authorizer

        async def compile_again() -> PlanSet:
            return (await compile_catalog(rpc, settings, self._clock))[0]

        def first_live() -> None:
            where = self._config
            addresses = Addresses(where.host, self.server.port, where.admin_host, self.server.admin_port)
            log.info("service_ready", port=addresses.port, admin_port=addresses.admin_port)
            if on_ready is not None:
                on_ready(addresses)

        pipeline = self._pipeline = Pipeline(
            source=source,
            load=load_again,
            compile_again=compile_again,
            database=rpc,
            audience=_HubAudience(self._hub),
            tables=source.tables,
            clock=self._clock,
            backoff=_backoff(),
            on_first_live=first_live,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run(), name="capture")
            tasks.create_task(pipeline.run(), name="pipeline")
            tasks.create_task(pipeline.watch_catalog(CATALOG_INTERVAL_S), name="catalog")

    async def _decide(self, principal: Principal, events: Sequence[RowEvent]) -> Sequence[View | None]:
        return (
            [None] * len(events) if self._pipeline is None else await self._pipeline.decide(principal, events)
        )

    def _readiness(self) -> list[str]:
        if self._pipeline is None or self._source is None or self._pipeline.state != "live":
            return ["upstream is not live"]
        waiting = self._source.waiting
        return [f"{waiting} changes wait"] if waiting > MAX_WAITING else []


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


async def open_source(
    config: Config, rpc: ProjectRpc, *, clock: Clock, known: Known | None = None
) -> RealtimeSource:
    """Return a source of the watched tables and those that their policies read.

    Compiles the catalog to find out which these are, and tries for as long as the project is away.

    Args:
        config: The settings.
        rpc: The project.
        clock: Source of time.
        known: Is told of the tables; the caller keeps it up to date.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
    """
    planset = await _compiled(config, rpc, clock)
    known = Known() if known is None else known
    known.learn(planset)
    return RealtimeSource(
        url=config.supabase_url,
        token=service_token(config, clock),
        tables=planset.upstream_tables,
        primary_key=known.primary_key,
        read_columns=known.read_columns,
        read_row=rpc.row,
        clock=clock,
        random=random.random,
    )


async def _compiled(config: Config, rpc: ProjectRpc, clock: Clock) -> PlanSet:
    backoff = _backoff()
    while True:
        try:
            return (await compile_catalog(rpc, authorization_settings(config), clock))[0]
        except SourceError as error:
            retry_in_s = backoff.next_s()
            log.error("project_unreachable", reason=str(error), retry_in_s=round(retry_in_s, 2))
            await asyncio.sleep(retry_in_s)


def _connection_settings(config: Config) -> ConnectionSettings:
    return ConnectionSettings(
        host=config.host,
        port=config.port,
        admin_host=config.admin_host,
        admin_port=config.admin_port,
        allowed_origins=config.allowed_origins,
        allow_token_in_url=config.allow_token_in_url,
        max_connections=config.max_connections,
        max_connections_per_user=config.max_connections_per_user,
        outbox_limit_bytes=config.outbox_limit_bytes,
        ping_interval_s=config.ping_interval_s,
    )


def _backoff() -> Backoff:
    return Backoff(base_s=0.2, cap_s=5.0, random=random.random)
