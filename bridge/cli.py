"""The command line: ``bridge`` or ``python -m bridge``.

Each command reads its settings, then calls one function of another module.  Errors that the
bridge raises on purpose end with one line that says what to do, and exit code 2.
"""

import asyncio
import json
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import structlog

from bridge import __version__, logs
from bridge.bench.commands import bench
from bridge.clock import SystemClock
from bridge.config import Config, load_config
from bridge.duration import Duration
from bridge.errors import ConfigError
from bridge.minting import KEY_TTL_S, WORKER_ROLE, mint_key, mint_token
from bridge.process import fail, run_command, run_to_its_end

USER_TTL_S = 3600
PORT = click.IntRange(0, 65535)
SAMPLE = click.IntRange(1, 10_000)
MAX_WORKERS = 64


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bridge")
def main() -> None:
    """Relay Supabase Postgres changes to browsers, filtered exactly as row-level security would."""
    # PyJWT's warning about short secrets: the worker's log says it, once (jwt_secret_short).
    warnings.filterwarnings("ignore", message="The HMAC key is")


@main.command()
@click.option(
    "--workers",
    "count",
    default=1,
    type=click.IntRange(1, MAX_WORKERS),
    show_default=True,
    help="Processes that share BRIDGE_PORT; each has an admin port, BRIDGE_ADMIN_PORT and up.",
)
@click.option("--as-worker", type=(int, int), hidden=True, help="Number, and channel to who started it.")
def run(count: int, as_worker: tuple[int, int] | None) -> None:
    """Run the worker, configured by the environment (docs/configuration.md).

    SIGTERM, SIGINT and SIGHUP drain. With several workers SIGHUP replaces one after the other.
    """
    # `bridge token` should not load these.
    from bridge.supervisor import END_GRACE_S, Supervisor, stop_with  # noqa: PLC0415
    from bridge.workers import Workers  # noqa: PLC0415

    is_json = os.environ.get("BRIDGE_LOG_FORMAT", "").strip() != "console"
    is_logged = is_json and not sys.stderr.isatty()
    logs.configure(log_format="json" if is_json else "console", level="info")  # of wrong settings, too
    if as_worker is not None:
        structlog.contextvars.bind_contextvars(worker=as_worker[0])
    config = _config(is_logged=is_logged)
    logs.configure(log_format=config.log_format, level=config.log_level)
    supervisor = Supervisor.from_environment(os.environ)
    if count > 1:
        workers = Workers(config, count, supervisor=supervisor, environ=os.environ)
        run_command(workers.run, insisted=workers.kill, reload=workers.reload, is_logged=is_logged)
        sys.exit(workers.code)

    from bridge.service import cut_short, serve  # noqa: PLC0415 - as above; who starts workers needs no stage either
    from bridge.tracing import Tracing  # noqa: PLC0415 - as above

    tracing = Tracing.from_environment(os.environ, clock := SystemClock())
    if as_worker is None:
        run_command(
            lambda stop: serve(config, stop=stop, clock=clock, supervisor=supervisor, tracing=tracing),
            insisted=cut_short,
            is_logged=is_logged,
        )
        return
    channel = socket.socket(fileno=as_worker[1])
    told = Supervisor.over(channel, os.environ)

    async def work(stop: asyncio.Event) -> None:
        stop_with(channel, stop, limit_s=config.drain_timeout_s + END_GRACE_S)
        await serve(config, stop=stop, clock=clock, supervisor=told, tracing=tracing, shares_ports=True)

    # Who stops it once by a signal and once by the end of the channel does not insist.
    run_command(work, insisted=lambda: None, is_logged=is_logged)


@main.command()
@click.option("--port", default=3002, type=PORT, show_default=True, help="Public port; 0 takes a free one.")
@click.option(
    "--admin-port", default=None, type=PORT, help="Admin port  [default: 3003, or free with --port 0]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready.")
@click.option("--quiet", is_flag=True, help="Write no messages of its own now and then.")
def demo(port: int, admin_port: int | None, *, as_json: bool, quiet: bool) -> None:
    """Start Postgres, Realtime, the bridge and a chat page, from nothing.

    No setting of the environment counts.
    """
    with _local_parts():
        from bridge.demo import run_demo  # noqa: PLC0415 - see run

    logs.configure(log_format="console", level="warning")
    chosen = admin_port if admin_port is not None else (3003 if port else 0)
    run_command(lambda stop: run_demo(stop, port=port, admin_port=chosen, as_json=as_json, quiet=quiet))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of export lines.")
def local(*, as_json: bool) -> None:
    """Start only the local Supabase-compatible stack, with the demo's users and dialogs."""
    with _local_parts():
        from bridge.demo import run_local  # noqa: PLC0415 - see run

    logs.configure(log_format="console", level="warning")
    run_command(lambda stop: run_local(stop, as_json=as_json))


@main.command()
@click.option("--user", type=click.UUID, help="Whom the token speaks for (claim sub).")
@click.option(
    "--ttl",
    type=Duration(),
    help="How long it is valid  [default: 1h, and ten years for a key of bridge_worker]",
)
@click.option(
    "--role",
    type=click.Choice(["authenticated", "anon", WORKER_ROLE]),
    default="authenticated",
    show_default=True,
    help="Database role (claim role).",
)
def token(user: Any, ttl: int | None, role: str) -> None:
    """Mint a token for development, or the worker's key: --role bridge_worker (needs SUPABASE_JWT_SECRET)."""
    is_key = role == WORKER_ROLE
    if is_key and user is not None:
        fail(ConfigError(f"--user: role {role} is the worker's and no user's, leave it out"))
    if not is_key and user is None:
        fail(ConfigError("--user is missing: give the id of a user, a UUID"))
    secret = os.environ.get("SUPABASE_JWT_SECRET", "")
    if not secret:
        fail(
            ConfigError(
                "SUPABASE_JWT_SECRET is not set: take it from your project's settings, or from `bridge local`"
            )
        )
    now = SystemClock().now()
    if is_key:
        click.echo(mint_key(secret, role=role, now=now, ttl_s=ttl or KEY_TTL_S))
    else:
        click.echo(mint_token(secret, user_id=str(user), role=role, ttl_s=ttl or USER_TTL_S, now=now))


@main.command()
@click.option("--as", "user", type=click.UUID, help="Show what this user gets from a running bridge.")
@click.option(
    "--url", default=None, help="WebSocket URL of the bridge  [default: from BRIDGE_HOST and BRIDGE_PORT]"
)
def tail(user: Any, url: str | None) -> None:
    """Show the event stream: of one user, or (without --as) every change as the worker gets it.

    With the journal what it has kept comes first.
    """
    from bridge.tail import tail_as, tail_upstream  # noqa: PLC0415 - see run

    config = _config()
    logs.configure(log_format="console", level="warning")

    def show(line: dict[str, Any]) -> None:
        click.echo(json.dumps(line, default=str, ensure_ascii=False))

    if user is None:
        run_command(lambda stop: tail_upstream(config, stop=stop, show=show))
    else:
        address = url or f"ws://{config.host}:{config.port}/ws"
        run_command(lambda stop: tail_as(config, str(user), address, stop=stop, show=show))


@main.command()
@click.argument("table")
@click.option("--user", type=click.UUID, help="Decide for this user.")
@click.option(
    "--row",
    help="Decide about the row with this primary key: its value, values with commas between them, or a JSON "
    "object of columns and values.",
)
@click.option(
    "--role",
    type=click.Choice(["authenticated", "anon"]),
    default="authenticated",
    show_default=True,
    help="Whose plan.",
)
def explain(table: str, user: Any, row: str | None, role: str) -> None:
    """Say what the policies of TABLE mean, and why a user does or does not see a row."""
    from bridge.inspection.command import run_explain  # noqa: PLC0415 - see run

    logs.configure(log_format="console", level="error")
    user_id = None if user is None else str(user)
    run_to_its_end(
        lambda: run_explain(os.environ, table, role=role, user_id=user_id, row=row, show=click.echo)
    )


@main.command()
@click.argument("tables", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every table with row-level security.")
@click.option("--rows", default=200, type=SAMPLE, show_default=True, help="Rows of each table, at random.")
@click.option(
    "--users", default=10, type=SAMPLE, show_default=True, help="Users for each table; anon as well."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def verify(tables: tuple[str, ...], rows: int, users: int, *, everything: bool, as_json: bool) -> None:
    """Compare the bridge's decisions with what Postgres answers, on live rows (SUPABASE_DB_URL).

    TABLES are the watched ones unless given.  Changes nothing; exit 1 on any difference.
    """
    from bridge.inspection.command import run_verify  # noqa: PLC0415 - see run

    if everything and tables:
        fail(ConfigError(f"--all means every table: leave out {', '.join(tables)}, or --all"))
    logs.configure(log_format="console", level="error")
    names = None if everything else tables
    differ = False

    async def compare() -> None:
        nonlocal differ
        differ = await run_verify(os.environ, names, rows=rows, users=users, as_json=as_json)

    run_to_its_end(compare)
    if differ:
        sys.exit(1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of lines.")
@click.option(
    "--nginx-conf",
    type=click.Path(path_type=Path),
    help="Judge this configuration too, of the nginx before the bridge.",
)
def check(nginx_conf: Path | None, *, as_json: bool) -> None:
    """Find what keeps events from arriving, each with the command or SQL that mends it.

    Reads the settings that `bridge run` reads, and asks the project with them; SUPABASE_DB_URL, if set, tells
    more. Changes nothing. Exit 1 if anything fails.
    """
    from bridge.checking.command import run_check  # noqa: PLC0415 - see run
    from bridge.checking.report import as_json as json_of  # noqa: PLC0415 - see run
    from bridge.checking.report import failed, lines  # noqa: PLC0415 - see run

    logs.configure(log_format="console", level="critical")
    does_fail = True

    async def ask() -> None:
        nonlocal does_fail
        checks = await run_check(os.environ, clock=SystemClock(), nginx_conf=nginx_conf)
        for line in [json_of(checks)] if as_json else lines(checks):
            color = {"fail": "red", "warning": "yellow"}.get(line.partition(" ")[0])
            click.echo(click.style(line, fg=color) if color else line)
        does_fail = failed(checks)

    run_to_its_end(ask)
    if does_fail:
        sys.exit(1)


@main.command()
@click.argument("what", type=click.Choice(["up", "status", "dry-run"]), default="up")
@click.option(
    "--reapply", is_flag=True, help="Run files again that were changed since (safe: each can be run twice)."
)
def migrate(what: Any, *, reapply: bool) -> None:
    """Apply sql/migrations over SUPABASE_DB_URL, in the record of the Supabase CLI.

    `status` shows what is applied, `dry-run` runs the files and takes everything back.
    """
    from bridge.migration.command import run_migrate  # noqa: PLC0415 - see run

    run_to_its_end(lambda: run_migrate(os.environ, what, reapply=reapply, show=click.echo))


main.add_command(bench)


@contextmanager
def _local_parts() -> Iterator[None]:
    """Say what to install where the image, or a bare installation, is asked for the local stack."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(
            ConfigError(
                f"the local stack needs {error.name}, which is not installed: `make install` in a checkout "
                "installs it, and so does the extra `local`"
            )
        )


def _config(*, is_logged: bool = False) -> Config:
    try:
        return load_config(os.environ)
    except ConfigError as error:
        fail(error, is_logged=is_logged)
