"""Whether the journal is there, has all it should have, and is pruned."""

import datetime as dt
from collections.abc import Iterator, Sequence

from bridge.authorization.catalog import Catalog
from bridge.authorization.composition import Capture, unheard
from bridge.checking.report import Check, Status, bad, ok, told
from bridge.config import Config
from bridge.errors import RpcError
from bridge.journal import JournalPage

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
    config: Config, capture: Capture, first: JournalPage | RpcError, now: dt.datetime, missing_fix: str
) -> Iterator[Check]:
    """Judge the journal by its first row.

    Args:
        config: The settings.
        capture: How changes arrive.
        first: A page of one row, of the beginning; or why there is none.
        now: The time.
        missing_fix: The command that makes it.
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


def _unread(config: Config, capture: Capture, error: RpcError, missing_fix: str) -> Check:
    if error.answer in ("PGRST202", "42883"):
        if capture == "journal" or config.upstream == "wal":
            return bad("journal", "it is not installed, and the settings want it", missing_fix, "shell")
        says = "it is not installed: what changes while the worker or Realtime is away is lost to clients"
        return bad("journal", says, missing_fix, "shell", status="warning")
    status: Status = "fail" if capture == "journal" else "warning"
    if error.answer == "42501":
        return bad("journal", "service_role may not read it", _GRANTS, "sql", status=status)
    return told("journal", str(error), status=status)


def check_choice(catalog: Catalog, config: Config, capture: Capture, *, installed: bool) -> Check:
    """Judge what is captured, where the settings leave it open."""
    travel = "logical replication" if config.upstream == "wal" else "Supabase Realtime"
    if capture == "journal":
        return ok("capture", f"the journal, over {travel}")
    if config.capture == "tables" or not installed:
        return ok(
            "capture", f"the tables themselves, over {travel}: after an interruption clients read again"
        )
    missing = _missing(catalog, config.tables)
    are = "is" if len(missing) == 1 else "are"
    says = f"the tables themselves, because {', '.join(missing)} {are} not in the journal"
    watch = [f"select public.bridge_watch('{_literal(catalog, name)}');" for name in missing]
    status: Status = "fail" if config.upstream == "wal" else "warning"
    return bad("capture", says, "\n".join(watch), "sql", status=status)


def _missing(catalog: Catalog, names: Sequence[str]) -> list[str]:
    found = [(name, catalog.by_name.get(name)) for name in names]
    return [name for name, table in found if table is not None and unheard(table, "journal") is not None]


def _literal(catalog: Catalog, name: str) -> str:
    return catalog.by_name[name].quoted.replace("'", "''")


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _span(seconds: float) -> str:
    for name, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
