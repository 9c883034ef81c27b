"""What the database says of its own limits and triggers."""

import pytest

from bridge.checking.database import (
    Facts,
    Watched,
    check_database,
    check_triggers,
    check_wal,
)


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
