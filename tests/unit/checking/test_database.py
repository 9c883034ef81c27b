"""What the database says of its own limits, triggers and migrations."""

import re

import pytest

from bridge.checking.database import (
    Facts,
    Watched,
    check_database,
    check_triggers,
    check_wal,
    judge_migrations,
    missing_fix,
)
from bridge.migration.state import Standing


def facts(**changes: object) -> Facts:
    known = {
        "now_s": 0.0,
        "wal_level": "logical",
        "max_slots": 10,
        "slots": 2,
        "idle_slots": [],
        "retained_bytes": 0.0,
        "kept_mb": 4096,
        "marker": "m",
        "watched": [],
    }
    return Facts(**(known | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "over_wal", "check", "status", "fix"),
    [
        ({}, True, "slots", "ok", ""),
        ({"wal_level": "replica"}, False, "wal_level", "fail", "alter system set wal_level = 'logical';"),
        ({"slots": 10}, False, "slots", "warning", "alter system set max_replication_slots = 20;"),
        ({"slots": 10, "idle_slots": ["a"]}, False, "slots", "warning", "pg_drop_replication_slot('a')"),
        (
            {"retained_bytes": 3e9, "idle_slots": ["a"]},
            False,
            "slots",
            "warning",
            "pg_drop_replication_slot('a')",
        ),
        ({"kept_mb": -1}, True, "wal_kept", "warning", "set max_slot_wal_keep_size = '4GB'"),
        ({"kept_mb": -1}, False, "wal_kept", "ok", ""),
        ({"kept_mb": 64}, True, "wal_kept", "warning", "set max_slot_wal_keep_size = '4GB'"),
        ({"kept_mb": None}, True, "wal_kept", "not_checked", ""),
    ],
)
def test_the_limits_of_replication(
    changes: dict[str, object], over_wal: object, check: str, status: str, fix: str
) -> None:
    """Each with the SQL that raises it, or frees what nobody reads."""
    found = next(one for one in check_wal(facts(**changes), over_wal=bool(over_wal)) if one.check == check)
    assert (found.status, fix in found.fix) == (status, True), found


def test_another_database_is_told_by_its_catalog() -> None:
    """Also one without the functions; where the project did not answer, nothing is known."""
    assert check_database(facts(), "m").status == "ok"
    assert check_database(facts(), "n").status == "fail"
    assert check_database(facts(marker=None), "n").status == "fail"
    assert check_database(facts(marker=""), "n").status == "ok"
    assert check_database(facts(), None).status == "ok"


def test_triggers_are_judged_by_table() -> None:
    """A disabled one loses changes, a missing one for TRUNCATE only those."""
    tables = [
        Watched("public.a", off=True, skips_replicas=False, untold=False),
        Watched("public.b", off=False, skips_replicas=False, untold=True),
    ]
    assert [(c.subject, c.status) for c in check_triggers(facts(watched=tables))] == [
        ("public.a", "fail"),
        ("public.b", "warning"),
    ]
    assert [
        c.status
        for c in check_triggers(
            facts(watched=[Watched("public.a", off=False, skips_replicas=False, untold=False)])
        )
    ] == ["ok"]


@pytest.mark.parametrize(
    ("states", "status", "fix"),
    [
        (["applied", "applied"], "ok", ""),
        (["pending", "pending"], "not_checked", ""),
        (["applied", "pending"], "fail", "bridge migrate"),
        (["applied", "changed"], "warning", "bridge migrate up --reapply"),
        (["applied", "newer"], "warning", "git pull"),
    ],
)
def test_migrations_are_judged_by_their_record(states: list[str], status: str, fix: str) -> None:
    """Without a record psql may have applied them."""
    found = judge_migrations([Standing(str(n), "x", state) for n, state in enumerate(states)])  # type: ignore[arg-type]
    assert (found.status, fix in found.fix) == (status, True)


def test_what_is_recorded_and_missing_is_made_by_its_file() -> None:
    """`bridge migrate` would leave it alone; what is new has to be granted to bridge_worker again."""
    assert missing_fix("journal", recorded=False) == "bridge migrate"
    both = r"psql .* -f \S+_journal\.sql -f \S+_worker_role\.sql"
    assert re.fullmatch(both, missing_fix("journal", recorded=True))
    assert missing_fix("worker_role", recorded=True).count("-f ") == 1
