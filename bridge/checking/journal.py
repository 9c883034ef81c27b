"""Whether the journal is there, has all it should have, and is pruned."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

from bridge.authorization.capturing import Capture
from bridge.authorization.catalog import Catalog, Table
from bridge.checking.report import Check, Status, bad, ok, told
from bridge.config import Config
from bridge.errors import RpcError
from bridge.journal import JournalPage
from bridge.minting import WORKER_ROLE, key_role

SPARE_S = 600.0
"""Rows may be so much older than they are kept: pruning comes once a minute, and deletes a part."""

_GRANTS = (
    "grant usage on schema bridge to service_role;\n"
    "grant select on bridge.journal, bridge.journal_pruned to service_role;\n"
    "grant execute on function public.bridge_journal_since(bigint, jsonb, integer),\n"
    "    public.bridge_journal_holes(bigint), public.bridge_journal_before(double precision),\n"
    "    public.bridge_prune_journal(double precision) to service_role;"
)


def check_journal(
    config: Config,
    capture: Capture,
    first: JournalPage | RpcError,
    now: dt.datetime,
    missing_fix: Callable[[str], str],
) -> Iterator[Check]:
    """Judge the journal by its first row.

    Args:
        config: The settings.
        capture: How changes arrive.
        first: A page of one row, of the beginning; or why there is none.
        now: The time.
        missing_fix: Returns the command that applies a migration.
    """
    if isinstance(first, RpcError):
        yield _unread(config, capture, first, missing_fix)
        return
    age_s = max((now - _time(row.recorded_at)).total_seconds() for row in first.rows) if first.rows else 0.0
    kept_s = config.journal_keep_s
    if age_s <= kept_s + SPARE_S:
        says = (
            f"the oldest row is {_span(age_s)} old, and rows are kept for {_span(kept_s)}"
            if first.rows
            else "empty"
        )
        yield ok("journal", says)
        return
    says = f"not pruned: the oldest row is {_span(age_s)} old, and rows are kept for {_span(kept_s)}"
    fix = f"select public.bridge_prune_journal({kept_s:.0f});   -- the worker does it every minute"
    yield bad("journal", says, fix, "sql", status="warning")


def _unread(config: Config, capture: Capture, error: RpcError, missing_fix: Callable[[str], str]) -> Check:
    if error.answer in ("PGRST202", "42883"):
        if capture == "journal" or config.upstream == "wal":
            return bad(
                "journal", "it is not installed, and the settings want it", missing_fix("journal"), "shell"
            )
        says = "it is not installed: what changes while the worker or Realtime is away is lost to clients"
        return bad("journal", says, missing_fix("journal"), "shell", status="warning")
    status: Status = "fail" if capture == "journal" else "warning"
    if error.answer == "42P01":
        return bad("journal", "its table is gone, its functions are not", missing_fix("journal"), "shell")
    if error.answer == "42501" and key_role(config.service_role_key) == WORKER_ROLE:
        says = f"{WORKER_ROLE} may not read it"
        return bad("journal", says, missing_fix("worker_role"), "shell", status=status)
    if error.answer == "42501":
        return bad("journal", "service_role may not read it", _GRANTS, "sql", status=status)
    return told("journal", str(error), status=status)


def check_choice(
    config: Config, capture: Capture, watched: Sequence[Table], *, to_watch: str | None
) -> Check:
    """Judge what is captured; ``to_watch`` has those journalled that are not, where that is better."""
    travel = "logical replication" if config.upstream == "wal" else "Supabase Realtime"
    if capture == "journal":
        return ok("capture", f"the journal, over {travel}")
    lossy = "after an interruption clients read again"
    if to_watch is None:
        return ok("capture", f"the tables themselves, over {travel}: {lossy}")
    names = [table.qualified for table in watched if not table.journalled]
    are = "is" if len(names) == 1 else "are"
    says = f"the tables themselves ({lossy}), because {', '.join(names)} {are} not in the journal"
    status: Status = "fail" if config.upstream == "wal" else "warning"
    return bad("capture", says, to_watch, "sql", status=status)


def check_names(catalog: Catalog, capture: Capture) -> Iterator[Check]:
    """Judge whether the database says which table a name means."""
    if capture == "journal" and all(table.oid is None for table in catalog.tables):
        says = (
            "the SQL is older than this version: a table that is given another one's name is judged by the "
            "other one's policies for up to three seconds"
        )
        yield bad("journal", says, "bridge migrate up --reapply", "shell", status="warning")


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _span(seconds: float) -> str:
    for name, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
