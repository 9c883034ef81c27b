"""Joins as the worker does, and says what kept it from being live."""

import asyncio
import re

from psycopg.conninfo import conninfo_to_dict

from bridge.capture import RealtimeSource, WalSource
from bridge.checking.keys import project_ref, refused_fix
from bridge.checking.report import Check, bad, divided, ok, pasted
from bridge.config import Config
from bridge.identifiers import literal, quoted

SLOT_WAIT_S = 15.0
"""A slot takes milliseconds, unless transactions that write are open."""

_OPEN = (
    "select pid, xact_start, state from pg_stat_activity where backend_xid is not null order by xact_start;"
    "   -- then select pg_terminate_backend(<pid>);"
)


async def check_stream(config: Config, source: RealtimeSource | WalSource, idle_slots: list[str]) -> Check:
    """Join once and leave.

    Args:
        config: The settings.
        source: Not running.
        idle_slots: Slots that nobody reads, where that is known.
    """
    try:
        async with asyncio.timeout(SLOT_WAIT_S if isinstance(source, WalSource) else None):
            reason = await source.try_join()
    except TimeoutError:
        says = f"no slot within {SLOT_WAIT_S:g} s: a transaction that writes is open, end the oldest one"
        return bad("wal", says, _OPEN, "sql", status="warning")
    if isinstance(source, WalSource):
        user = conninfo_to_dict(config.database_url or "").get("user") if reason else None
        return judge_slot(reason, idle_slots, user=str(user or ""))
    return judge_realtime(config, reason, source.tables)


def judge_realtime(config: Config, reason: str | None, tables: tuple[str, ...]) -> Check:
    """Judge why Realtime gave no stream of ``tables``; None where it gave one."""
    if reason is None:
        return ok("realtime", f"joined, and changes of {', '.join(tables)} would arrive")
    ref = project_ref(config.supabase_url)
    settings = f"https://supabase.com/dashboard/project/{ref or '<ref>'}/realtime/settings"
    if "Please check Realtime is enabled for the given connect parameters" in reason:
        named = re.search(r"schema: ([^,\]]+), table: ([^,\]]+)", reason)
        table = f"{named[1]}.{named[2]}" if named else tables[0]
        named_table = ".".join(map(quoted, table.split(".", 1)))
        says = f"{table} is not in publication supabase_realtime, so its changes never arrive"
        return bad("realtime", says, f"select public.bridge_publish({literal(named_table)});", "sql")
    no_role = re.search(r'role "([^"]+)" does not exist', reason)
    if no_role is not None:
        return bad("realtime", f"there is no role {no_role[1]}, whose key this is", "bridge migrate", "shell")
    if "PrivateOnly" in reason:
        return bad("realtime", "only private channels are allowed", f'{settings} : "Allow public access"')
    if "RealtimeDisabled" in reason:
        return bad(
            "realtime", "Realtime is disabled for the project", f'{settings} : "Enable Realtime service"'
        )
    if re.search(r"HTTP 40[13]|Jwt|JWT|TenantNotFound", reason):
        says = f"Realtime refuses the key ({_short(reason)})"
        return bad("realtime", says, refused_fix(config, by_gateway="HTTP 40" in reason), "shell")
    fix = (
        f"{settings} : is it enabled?"
        if ref
        else "docker compose up -d realtime   # and does the gateway pass /realtime/v1/websocket on?"
    )
    return bad("realtime", f"Realtime does not answer ({_short(reason)})", fix, "" if ref else "shell")


def judge_slot(reason: str | None, idle_slots: list[str], *, user: str = "") -> Check:
    """Judge why Postgres gave no slot to ``user``; None where it gave one."""
    if reason is None:
        return ok("wal", "a replication slot was made, and changes of the journal would arrive")
    says, fix = divided(reason)
    if "replication slots are in use" in says and idle_slots:
        fix = "\n".join(f"select pg_drop_replication_slot('{name}');" for name in idle_slots)
        return bad("wal", f"{says}; nobody reads {', '.join(idle_slots)}", fix, "sql")
    if "REPLICATION attribute" in says and user:
        return bad(
            "wal", f"role {user} may not replicate", f"alter role {quoted(user)} with replication;", "sql"
        )
    paste = pasted(fix)
    return bad("wal", says, f"{fix};" if paste == "sql" else fix, paste)


def _short(reason: str) -> str:
    return divided(reason)[0].removeprefix("upstream_restarted: ")[:160]
