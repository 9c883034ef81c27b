"""The record of the migrations, and what applies those that are missing."""

import re

import pytest

from bridge.checking.migrations import judge_migrations, missing_fix
from bridge.migration.state import Standing


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
