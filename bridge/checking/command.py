"""``bridge check``: asks everybody, in an order in which one answer explains the next."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import httpx
import msgspec

from bridge.authorization import temporal
from bridge.authorization.capturing import PUBLICATION, Capturing, chosen, unheard
from bridge.authorization.catalog import Catalog, decode_catalog
from bridge.checking import database as own
from bridge.checking import journal, keys, migrations, policies, project, tables
from bridge.checking.machine import check_machine
from bridge.checking.nginx import check_nginx
from bridge.checking.privileges import check_role
from bridge.checking.report import Check, Status, bad, divided, told, unchecked
from bridge.checking.settings import check_settings
from bridge.checking.stream import check_stream
from bridge.clock import Clock
from bridge.config import Config
from bridge.errors import BridgeError, ConfigError, RpcError, SourceError
from bridge.journal import JournalPage
from bridge.minting import SERVICE_ROLE, key_role
from bridge.rpc import ProjectRpc
from bridge.upstream import CLIENT_ROLES, Known, authorization_settings, open_stream

_OF_PROJECT = ("jwks", "functions", "realtime", "table", "policies", "journal")
_OF_DATABASE = ("database", "migrations", "role", "wal_level", "slots", "wal_kept", "triggers")


class Answers(msgspec.Struct, kw_only=True):
    """What the project answered to the key.

    Attributes:
        catalog: None where there was no answer.
        error: Why there was none.
        marker: The marker of the catalog.
        first: The beginning of the journal, or why it cannot be read.
    """

    catalog: Catalog | None = None
    error: SourceError | None = None
    marker: str | None = None
    first: JournalPage | RpcError


class Direct(msgspec.Struct, kw_only=True):
    """What ``SUPABASE_DB_URL`` leads to.

    Attributes:
        checks: What was found there.
        idle_slots: Slots that nobody reads.
        recorded: All migrations are recorded as applied.
    """

    checks: list[Check]
    idle_slots: list[str] = []
    recorded: bool = False


async def run_check(
    environ: Mapping[str, str], *, clock: Clock, nginx_conf: Path | None = None
) -> list[Check]:
    """Return everything that was found; changes nothing, but for a slot that is there for a moment.

    Args:
        environ: The settings, as the worker reads them.
        clock: Ours, which others are compared with.
        nginx_conf: nginx's configuration, if one stands before the bridge.
    """
    config, checks = check_settings(environ)
    if config is None:
        says = "no project and key are set, so nothing else can be known"
        return [*checks, *(unchecked(name, says) for name in ("url", "key", *_OF_PROJECT))]
    checks += await check_machine(config)
    if nginx_conf is not None:
        checks += _nginx(nginx_conf, config)
    checks += [keys.check_key(config, clock.now()), keys.check_secret(config), keys.check_issuer(config)]
    async with httpx.AsyncClient(timeout=project.TIMEOUT_S) as http:
        reached = await project.reach(http, config.supabase_url)
        checks.append(project.check_url(config, reached))
        if not reached.error:
            theirs = project.http_date(reached.date)
            checks.append(project.check_clock("project", theirs, clock.now()))
            checks.append(await project.check_jwks(http, config))
    if reached.error:
        checks += [unchecked(name, "SUPABASE_URL does not answer") for name in _OF_PROJECT]
        return [*checks, *(await _of_database(config, None, clock)).checks]
    rpc = await ProjectRpc.connect(config.supabase_url, config.service_role_key, api_key=config.gateway_key)
    try:
        answers = await _ask(rpc)
        direct = await _of_database(config, answers.marker, clock)
        missing_fix = partial(migrations.missing_fix, recorded=direct.recorded)
        checks.append(project.check_answer(config, answers.error, missing_fix))
        checks += await _of_project(config, rpc, answers, direct, clock)
    finally:
        await rpc.close()
    return [*checks, *direct.checks]


def _nginx(path: Path, config: Config) -> list[Check]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        says = f"{path} cannot be read ({type(error).__name__})"
        return [bad("nginx", says, "bridge check --nginx-conf /etc/nginx/conf.d/bridge.conf", "shell")]
    return check_nginx(
        text, ping_interval_s=config.ping_interval_s, port=config.port, admin_port=config.admin_port
    )


async def _ask(rpc: ProjectRpc) -> Answers:
    first: JournalPage | RpcError
    try:
        first = await rpc.journal_since(0, [], 1)
    except RpcError as error:
        first = error
    answers = Answers(first=first)
    try:
        answers.marker = await rpc.catalog_marker()
        answers.catalog = decode_catalog(await rpc.catalog())
    except SourceError as error:
        answers.error = error
    return answers


async def _of_database(config: Config, marker: str | None, clock: Clock) -> Direct:
    url = config.database_url
    if url is None:
        says = "SUPABASE_DB_URL is not set, and only the database itself tells"
        return Direct(checks=[unchecked(name, says) for name in _OF_DATABASE])
    try:
        facts = await own.read_facts(url)
    except BridgeError as error:
        says = "the database of SUPABASE_DB_URL does not answer"
        # What is no connection string stops the start, whatever it would have been used for.
        is_needed = config.upstream == "wal" or isinstance(error, ConfigError)
        status: Status = "fail" if is_needed else "warning"
        others = [unchecked(name, says) for name in _OF_DATABASE[1:]]
        return Direct(checks=[told("database", str(error), status=status), *others])
    applied = await migrations.check_migrations(url)
    over_wal = config.upstream == "wal"
    publication = own.SLOT_PUBLICATION if over_wal else PUBLICATION
    checks = [
        own.check_database(facts, marker),
        project.check_clock("database", own.when(facts), clock.now()),
        applied,
        *await check_role(url, _worker_role(config)),
        *(own.check_published(facts, publication=publication) if config.capture != "tables" else ()),
        *own.check_wal(facts, over_wal=over_wal),
        *own.check_triggers(facts),
    ]
    return Direct(checks=checks, idle_slots=facts.idle_slots, recorded=applied.status in ("ok", "warning"))


async def _of_project(
    config: Config, rpc: ProjectRpc, answers: Answers, direct: Direct, clock: Clock
) -> list[Check]:
    catalog = answers.catalog
    if catalog is None:
        # Whether Realtime answers to the key is worth knowing before the functions are there.
        source = open_stream(config, rpc, clock, capture="tables", tables=config.tables, known=Known())
        says = "the bridge's functions do not answer"
        others = [unchecked(name, says) for name in ("table", "policies", "journal")]
        return [await check_stream(config, source, direct.idle_slots), *others]
    try:
        names = authorization_settings(config).of(catalog)
    except ConfigError as error:
        return [bad("table", *divided(str(error)))]
    config = msgspec.structs.replace(
        config, tables=names.tables, dialog_table=names.dialog_table, message_table=names.message_table
    )
    watched, checks = tables.existing(catalog, config)
    # What cannot be watched is said of itself: it is not to have others mended that are as they should be.
    fit = tables.watchable(watched)
    capturing = chosen(catalog, [table.qualified for table in fit] or config.tables, config.capture)
    capture = capturing.capture
    sights = policies.sights_of(catalog, watched, capturing)
    looked_into = policies.looked_into(catalog, sights, watched)
    role = _worker_role(config)
    # The worker takes the journal once it has all tables: better than to publish those that it lacks.
    to_watch = None
    if capturing.wanting is not None and isinstance(answers.first, JournalPage):
        to_watch = tables.watch_fix(catalog, [*capturing.wanting, *policies.to_be_read(catalog, watched)])
    checks.append(journal.check_choice(config, capture, fit, to_watch=to_watch))
    for table in [*watched, *looked_into]:
        checks += tables.check_table(catalog, table, capture, role=role, to_watch=to_watch)
        if table in watched and not tables.is_anothers(table):
            now_us = partial(_now_us, clock)
            checks += policies.check_policies(catalog, table, sights, now_us, to_watch=to_watch)
    if len(watched) == len(config.tables) and {config.dialogs, config.messages} <= set(config.tables):
        checks.append(tables.check_dialogs(catalog, config))
    missing_fix = partial(migrations.missing_fix, recorded=direct.recorded)
    checks += journal.check_journal(config, capture, answers.first, clock.now(), missing_fix)
    checks += journal.check_names(catalog, capture)
    if capture == "tables" and config.upstream == "wal":
        return [*checks, unchecked("wal", "logical replication brings the journal only, see capture")]
    heard = [t for t in [*watched, *looked_into] if unheard(catalog, t, Capturing(capture="tables")) is None]
    if to_watch is not None and not heard:
        capture = "journal"  # which the worker takes as soon as it can
    # Without those that are known to be refused, if others are left.
    captured = tuple(t.qualified for t in (capture == "tables" and heard) or [*watched, *looked_into])
    if not captured:
        return [*checks, unchecked("realtime", "there is no table to join for")]
    source = open_stream(config, rpc, clock, capture=capture, tables=captured, known=Known())
    return [*checks, await check_stream(config, source, direct.idle_slots)]


def _worker_role(config: Config) -> str:
    """Return the role that the worker has, or should have: the wrong key is said; users are given nothing."""
    role = key_role(config.service_role_key)
    return SERVICE_ROLE if role in CLIENT_ROLES else role


def _now_us(clock: Clock) -> int:
    return temporal.from_datetime(clock.now())
