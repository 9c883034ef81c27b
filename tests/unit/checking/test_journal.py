"""Whether the journal is there and pruned."""

import datetime as dt

import msgspec
import pytest

from bridge.checking.journal import check_journal, check_names
from bridge.clock import ManualClock
from bridge.config import Config
from bridge.errors import RpcError
from bridge.journal import JournalPage, JournalRow
from tests.support.catalogs import catalog, table

NOW = ManualClock().now()
CONFIG = Config(supabase_url="https://abc.supabase.co", service_role_key="k")


def page(*ages_s: float) -> JournalPage:
    times = [(NOW - dt.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.000Z") for age in ages_s]
    rows = [
        JournalRow(n, "public.t", "INSERT", '{"a": "canary"}', None, time) for n, time in enumerate(times)
    ]
    return JournalPage("e", "1", "2", 0, more=False, rows=rows)


@pytest.mark.parametrize(
    ("first", "capture", "status", "fix"),
    [
        (page(), "journal", "ok", ""),
        (page(3600), "journal", "ok", ""),
        (page(86_400 + 300), "journal", "ok", ""),
        (page(3 * 86_400), "journal", "warning", "select public.bridge_prune_journal(86400);"),
        (RpcError("x: y", answer="PGRST202"), "tables", "warning", "bridge migrate"),
        (RpcError("x: y", answer="PGRST202"), "journal", "fail", "bridge migrate"),
        (RpcError("x: y", answer="42501"), "journal", "fail", "grant select on bridge.journal"),
        (RpcError("it is away: wait"), "tables", "warning", "wait"),
    ],
)
def test_the_journal_is_judged_by_its_first_row(
    first: JournalPage | RpcError, capture: str, status: str, fix: str
) -> None:
    """There or not, readable or not, pruned or not; what its rows hold is not told."""
    (found,) = check_journal(CONFIG, capture, first, NOW, lambda _name: "bridge migrate")  # type: ignore[arg-type]
    assert (found.status, fix in found.fix) == (status, True), found
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("oid", "capture", "count"), [(None, "journal", 1), (7, "journal", 0), (None, "tables", 0)]
)
def test_sql_that_is_older_is_to_be_applied_again(oid: int | None, capture: str, count: int) -> None:
    """It works all the same, but for tables that are given another one's name."""
    rooms = msgspec.structs.replace(table("rooms"), oid=oid)
    found = list(check_names(catalog(rooms), capture))  # type: ignore[arg-type]
    assert [check.fix for check in found] == ["bridge migrate up --reapply"] * count
