"""``bridge explain`` and ``bridge verify``: from the environment to lines in the terminal."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table as RichTable

from bridge.authorization import temporal
from bridge.clock import SystemClock
from bridge.config import load_config
from bridge.database import database_url
from bridge.errors import ConfigError
from bridge.events import Principal
from bridge.identifiers import split_names
from bridge.inspection.database import DirectDatabase
from bridge.inspection.explain import Case, Deployment, Project, explain
from bridge.inspection.names import as_json
from bridge.inspection.verify import Report, Verified, verify
from bridge.rpc import ProjectRpc

DEFAULT_TABLES = "public.dialogs,public.messages"
SHOWN_DIFFERENCES = 20
UNBOUNDED = 100_000
"""Columns of what is no terminal."""


async def run_explain(
    environ: Mapping[str, str],
    table: str,
    *,
    role: str,
    user_id: str | None,
    row: str | None,
    show: Callable[[str], None],
) -> None:
    """Explain ``table``, read over ``SUPABASE_DB_URL`` if it is set, else over the REST endpoint.

    Raises:
        ConfigError: a setting is missing, or there is no such table or row.
        SourceError: the project did not answer.
    """
    clock = SystemClock()
    deployment = _deployment(environ)
    case = None
    if user_id is not None or row is not None:
        claims = {"role": role} if user_id is None else {"role": role, "sub": user_id}
        principal = Principal(
            role=role, user_id=user_id, claims_json=msgspec.json.encode(claims, order="sorted").decode()
        )
        case = Case(principal, row)

    async def lines(database: Project) -> None:
        found = await explain(
            database,
            table,
            role=role,
            case=case,
            now_us=lambda: temporal.from_datetime(clock.now()),
            deployment=deployment,
        )
        for line in found:
            show(line)

    url = environ.get("SUPABASE_DB_URL", "").strip()
    if url:
        async with DirectDatabase.open(url) as database:
            await lines(database)
        return
    config = load_config(environ)
    rpc = await ProjectRpc.connect(config.supabase_url, config.service_role_key, api_key=config.gateway_key)
    try:
        await lines(rpc)
    finally:
        await rpc.close()


def _deployment(environ: Mapping[str, str]) -> Deployment:
    """Return what the settings say, without those that only the worker needs."""
    capture = environ.get("BRIDGE_CAPTURE", "").strip() or "auto"
    try:
        return msgspec.convert(
            {"tables": split_names(environ.get("BRIDGE_TABLES", "")), "capture": capture}, Deployment
        )
    except msgspec.ValidationError:
        raise ConfigError(
            f"BRIDGE_CAPTURE={capture!r} is not valid: choose auto or tables or journal"
        ) from None


async def run_verify(
    environ: Mapping[str, str], names: Sequence[str] | None, *, rows: int, users: int, as_json: bool
) -> bool:
    """Compare and print; True if there is a difference.

    Args:
        environ: Holds ``SUPABASE_DB_URL``, and ``BRIDGE_TABLES`` where no names are given.
        names: Qualified names of tables; none means the watched ones, None every table with RLS.
        rows: Rows of each table.
        users: Users for each table.
        as_json: Print the report as one JSON object.

    Raises:
        ConfigError: a setting is missing, or there is no such table.
        SourceError: the database did not answer.
    """
    url = database_url(environ.get("SUPABASE_DB_URL", ""))
    if names is not None and not names:
        names = split_names(environ.get("BRIDGE_TABLES", "").strip() or DEFAULT_TABLES)
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = UNBOUNDED  # what reads a pipe wants whole names, a line for each table
    async with DirectDatabase.open(url) as database:
        with console.status("comparing") as status:

            def on_table(done: Verified) -> None:
                status.update(f"comparing: {done.table} done, {done.decisions:,} decisions")

            report = await verify(database, names or (), rows=rows, users=users, on_table=on_table)
    if as_json:
        print(msgspec.json.encode(report).decode())  # noqa: T201 - the command's output
    else:
        _print(console, report)
    return any(table.differences for table in report.tables)


def _print(console: Console, report: Report) -> None:
    grid = RichTable()
    grid.add_column("table", overflow="fold")
    for heading in ("rows", "users", "decisions", "visible", "asked", "differences"):
        grid.add_column(heading, justify="right")
    for table in report.tables:
        counts = (
            table.rows,
            table.users,
            table.decisions,
            table.visible,
            table.asked,
            len(table.differences),
        )
        grid.add_row(table.table, *(f"{count:,}" for count in counts))
    console.print(grid)
    for table in report.tables:
        for reason in table.opaque:
            console.print(f"asks Postgres: {reason}", soft_wrap=True, markup=False)
        if table.skipped:
            console.print(
                f"skipped: {len(table.skipped)} users that rows of {table.table} lead to, like "
                f"{table.skipped[0]!r}, are no uuids, and the worker refuses tokens of such users",
                soft_wrap=True,
                markup=False,
            )
    for difference in [d for table in report.tables for d in table.differences][:SHOWN_DIFFERENCES]:
        who = "anon" if difference.user_id is None else f"user {difference.user_id}"
        said = ["no", "yes"]
        console.print(
            f"{difference.table} {as_json(difference.row)} for {who}: the bridge says "
            f"{said[difference.bridge]} ({difference.direction}), Postgres {said[difference.postgres]}",
            soft_wrap=True,
            markup=False,
        )
    decisions = sum(table.decisions for table in report.tables)
    differences = sum(len(table.differences) for table in report.tables)
    share = 100 * report.compiled / report.policies if report.policies else 100.0
    console.print(
        f"verified {decisions:,} decisions on {len(report.tables)} tables: {differences} differences; "
        f"{report.compiled} of {report.policies} policies ({share:.0f} %) are decided in memory",
        soft_wrap=True,
    )
