"""The wiring: every stage, who owns it, and how the process starts and stops.

    capture ──Event──▶ pipeline ──Change──▶ authorization ──Effect──▶ fanout ──Frame──▶ connection

Only this module, ``pipeline``, ``publishing`` and ``upstream`` know more than one stage.  It starts listening
at once (clients are told that upstream is down), then waits for the project for as long as it takes.
"""

import asyncio
import gc
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import msgspec
import structlog
from starlette.routing import BaseRoute

from bridge import metrics
from bridge.authorization import Authorizer, PlanSet, Roster, Users, compile_catalog, load
from bridge.backoff import Backoff
from bridge.client import DIST
from bridge.clock import Clock
from bridge.config import Config
from bridge.connection import ProjectKeys, Server, Verifier
from bridge.connection import Settings as ConnectionSettings
from bridge.descriptors import OpenFiles, needed_files, raise_limit
from bridge.events import Principal, RowEvent, View
from bridge.fanout import EventEncoder, Flusher, History, Hub
from bridge.logs import log_unhandled, without_secrets
from bridge.minting import SECRET_BYTES, is_of_another_secret
from bridge.pipeline import Pipeline
from bridge.process import STOPPED
from bridge.pruning import prune_journal
from bridge.publishing import HubAudience
from bridge.rpc import ProjectRpc
from bridge.supervisor import LISTENS, LIVE, Supervisor
from bridge.tracing import Tracing
from bridge.trouble import Trouble
from bridge.upstream import Known, Source, open_upstream

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CATALOG_INTERVAL_S = 2.0
"""Time after which a changed policy has been noticed; asking costs the database a few milliseconds."""

COLLECT_EVERY = 50_000
"""Objects after which cycles are looked for that are garbage: closed connections, some megabytes of them."""

MAX_WHY = 600
"""Characters of what is said of why the worker is not ready; the log has all of it."""

MAX_WAITING = 5_000
"""Changes that may wait before the worker calls itself not ready: it lags behind."""


class Addresses(msgspec.Struct, frozen=True):
    """Where the worker listens."""

    host: str
    port: int
    admin_host: str
    admin_port: int


async def serve(
    config: Config,
    *,
    stop: asyncio.Event,
    clock: Clock,
    on_ready: Callable[[Addresses], None] | None = None,
    routes: Sequence[BaseRoute] = (),
    supervisor: Supervisor | None = None,
    tracing: Tracing | None = None,
    shares_ports: bool = False,
) -> None:
    """Run the worker until ``stop``.

    Args:
        config: The settings.
        stop: Set it to drain and return.
        clock: Source of time.
        on_ready: Called once changes flow for the first time.
        routes: Further routes of the public port.
        supervisor: Is told how the worker fares.
        tracing: Is told of each change's way.
        shares_ports: Other workers may listen on the same ports.

    Raises:
        ConfigError: a watched table does not exist or cannot be watched.
        OSError: a port is taken.
    """
    if config.jwt_secret is not None and len(config.jwt_secret.encode()) < SECRET_BYTES:
        hint = f"whoever has a token can guess it and sign others: take one of {SECRET_BYTES} bytes or more"
        log.warning("jwt_secret_short", bytes=len(config.jwt_secret.encode()), hint=hint)
    if config.jwt_secret is not None and is_of_another_secret(config.service_role_key, config.jwt_secret):
        hint = "users' tokens will be refused: take SUPABASE_JWT_SECRET and the key from the same project"
        log.warning("jwt_secret_mismatch", hint=hint)
    asyncio.get_running_loop().set_exception_handler(log_unhandled)
    raise_limit(needed_files(config.max_connections))
    worker = _Worker(config, clock, routes, tracing, shares_ports=shares_ports)
    worker.server.open()
    supervisor = supervisor or Supervisor()

    def live(addresses: Addresses) -> None:
        supervisor.tell(LIVE)
        if on_ready is not None:
            on_ready(addresses)

    # Ready is who listens: how long the project is away is nothing that a restart would mend.
    supervisor.tell(LISTENS, "STATUS=listening; /readyz says whether changes flow")
    rpc = await ProjectRpc.connect(config.supabase_url, config.service_role_key, api_key=config.gateway_key)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.server.run(), name="server")
            relaying = tasks.create_task(worker.relay(rpc, live), name="relay")
            reassuring = tasks.create_task(supervisor.reassure(), name="supervisor")
            looking = tasks.create_task(worker.open_files.watch(), name="open-files")
            await stop.wait()
            supervisor.tell("STOPPING=1", "STATUS=draining")
            log.info("drain_started", timeout_s=config.drain_timeout_s)
            worker.server.stop_accepting()
            await worker.server.drain(config.drain_timeout_s)
            relaying.cancel()  # the source last: until here everybody gets their events
            worker.server.close()
            reassuring.cancel()
            looking.cancel()
    finally:
        await rpc.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
    log.info("service_stopped")


def cut_short() -> NoReturn:
    """End the process without draining any further: somebody insists."""
    log.warning("drain_cut_short", connections=metrics.connected())
    os._exit(STOPPED)


class _Worker:
    """The stages of one process."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        routes: Sequence[BaseRoute],
        tracing: Tracing | None,
        *,
        shares_ports: bool,
    ) -> None:
        self._config = config
        self._tracing = tracing
        self._clock = clock
        self._pipeline: Pipeline | None = None
        self._source: Source | None = None
        self._opening = Trouble(clock)
        self.open_files = OpenFiles(clock)
        self._roster = Roster(linger_s=config.history_s, clock=clock)
        self._encoder = EventEncoder(dialog_table=config.dialogs, message_table=config.messages)
        self._flusher = Flusher(asyncio.get_running_loop(), clock)
        self._hub = Hub(
            history=History(keep_s=config.history_s, clock=clock, audience=self._audience),
            encoder=self._encoder,
            decide=self._decide,
            roster=self._roster,
            flusher=self._flusher,
        )
        self._verifier = Verifier(
            clock=clock,
            secret=config.jwt_secret,
            keys=ProjectKeys(config.supabase_url, clock=clock),
            issuer=config.jwt_issuer,
        )
        self.server = Server(
            _connection_settings(config, shares_ports=shares_ports),
            hub=self._hub,
            flusher=self._flusher,
            verifier=self._verifier,
            clock=clock,
            readiness=self._readiness,
            routes=routes,
        )

    async def relay(self, rpc: ProjectRpc, on_ready: Callable[[Addresses], None]) -> None:
        """Relay changes for ever."""
        known = Known()
        upstream = await open_upstream(
            self._config, rpc, clock=self._clock, known=known, trouble=self._opening
        )
        settings, source = upstream.settings, upstream.source
        self._encoder.name_tables(
            dialog_table=upstream.names.dialog_table, message_table=upstream.names.message_table
        )
        self._source = source
        metrics.CHANGES_WAITING.set_function(lambda: source.waiting)

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
            # What is loaded stays: to walk over it for every few changes would take a tenth of the time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(COLLECT_EVERY, 10, 10)
            log.info("service_ready", port=addresses.port, admin_port=addresses.admin_port)
            on_ready(addresses)

        pipeline = self._pipeline = Pipeline(
            source=source,
            load=load_again,
            compile_again=compile_again,
            database=rpc,
            audience=HubAudience(self._hub, self._flusher),
            tables=upstream.tables,
            clock=self._clock,
            backoff=_backoff(),
            on_first_live=first_live,
            tracing=self._tracing,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run(), name="capture")
            tasks.create_task(pipeline.run(), name="pipeline")
            tasks.create_task(pipeline.catalog.run(CATALOG_INTERVAL_S), name="catalog")
            if source.keeps_past:
                tasks.create_task(prune_journal(rpc, self._config.journal_keep_s), name="pruning")
            tasks.create_task(pipeline.reminders.run(), name="reminders")

    async def _decide(self, principal: Principal, events: Sequence[RowEvent]) -> Sequence[View | None]:
        return (
            [None] * len(events) if self._pipeline is None else await self._pipeline.decide(principal, events)
        )

    def _audience(self, event: RowEvent) -> Mapping[str, Users] | None:
        return None if self._pipeline is None else self._pipeline.audience(event)

    def _readiness(self) -> list[str]:
        if self.open_files.are_exhausted:
            return ["no further file can be opened: clients are closed at once"]
        if self._pipeline is None or self._source is None:
            return [_because("upstream is not live", self._opening.reason)]
        pipeline = self._pipeline
        if pipeline.certainty.is_lost:
            says = f"the policies could not be checked for {pipeline.certainty.unchecked_s:.0f} s"
            return [_because(says, pipeline.catalog.trouble.reason)]
        if pipeline.state != "live":
            return [_because("upstream is not live", pipeline.trouble)]
        waiting = self._source.waiting
        return [f"{waiting} changes wait"] if waiting > MAX_WAITING else []


def _connection_settings(config: Config, *, shares_ports: bool) -> ConnectionSettings:
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
        shares_ports=shares_ports,
        compression=config.compression,
        client=DIST,
    )


def _because(says: str, reason: str) -> str:
    return f"{says}: {without_secrets(reason)}"[:MAX_WHY] if reason else says


def _backoff() -> Backoff:
    return Backoff(base_s=0.2, cap_s=5.0, random=random.random)
