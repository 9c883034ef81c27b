"""ops/prometheus and ops/runbook: alerts that fire when they should, each with a page that is true."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import uuid
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from bridge import metrics
from bridge.config import variables
from bridge.local.stack import LocalStack
from tests.support.prometheus import promtool
from tests.support.stack import MIGRATIONS, ROOT

FOLDER = ROOT / "ops" / "prometheus"
ALERTS = (FOLDER / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)
PAGES = sorted(p for p in (ROOT / "ops" / "runbook").glob("*.md") if p.name != "README.md")


async def test_promtool_finds_nothing_wrong_with_the_alerts() -> None:
    """`promtool check rules`."""
    assert f"{len(NAMES)} rules found" in await promtool("check", "rules", str(FOLDER / "alerts.yml"))


async def test_every_alert_fires_for_the_worker_that_is_ill_and_for_no_other() -> None:
    """`promtool test rules`, and there is a case for each."""
    assert "SUCCESS" in await promtool("test", "rules", str(FOLDER / "alerts_test.yml"))
    cases = (FOLDER / "alerts_test.yml").read_text()
    assert {name for name in NAMES if f'{{alertname="{name}",instance="ill"}}' not in cases} == set()


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    """Named in the alert itself, and listed in the runbook's index."""
    assert sorted(NAMES) == [page.stem for page in PAGES]
    assert re.findall(r"runbook: (\S+)", ALERTS) == [f"ops/runbook/{name}.md" for name in NAMES]
    index = (ROOT / "ops" / "runbook" / "README.md").read_text()
    assert sorted(re.findall(r"\[(\w+)\]\(\1\.md\)", index)) == sorted(NAMES)
    documented = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"see (Bridge\w+)", documented)) <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_says_what_to_do(page: Path) -> None:
    """What it means, what users see, where to look (commands to paste), what to do; only names that there are."""
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["What users see", "Look", "Do"]
    assert 20 <= len(text.splitlines()) <= 40
    assert "```sh" in text.partition("## Look")[2].partition("## Do")[0]
    settings = {name for names in variables().values() for name in names}
    assert set(re.findall(r"\b(?:BRIDGE|SUPABASE)_[A-Z_]+\b", text)) <= settings
    sql = "".join(path.read_text() for path in MIGRATIONS)
    families = {family.name for family in metrics.REGISTRY.collect()}
    for name in re.findall(r"(?<!\^)\bbridge_[a-z_]+\b", text):
        assert (
            name in sql or name.removesuffix("_total").removesuffix("_") in families or name in _PATTERNS
        ), name
    assert set(re.findall(r"\bBridge[A-Z]\w+", text)) <= set(NAMES)
    documented = (ROOT / "docs" / "errors.md").read_text()
    for group in re.findall(r"journalctl -u bridge[^|]*\| grep (?:-E )?'([a-z_|]+)'", text):
        for event in group.split("|"):
            assert f"`{event}" in documented, event


_PATTERNS = {"bridge_connections"}
"""Beginnings of names, in what is given to grep."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_ones_of_a_shell(page: Path) -> None:
    """`bash -n` takes each block; what follows in brackets is meant to be read."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, (block, checked.stderr)


async def test_the_queries_of_the_pages_run(stack: LocalStack) -> None:
    """On a database with the migrations; all but those of an extension that it may not have."""
    lines = [
        shlex.split(line, comments=True)
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if 'psql "$SUPABASE_DB_URL"' in line
    ]
    assert len(lines) > 6
    somebody = str(uuid.uuid4())
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        for words in lines:
            for query in (after for before, after in pairwise(words) if before in ("-c", "-Atc")):
                if "pg_stat_statements" not in query:
                    await connection.execute(query.replace("UUID", somebody).encode())


async def test_the_plan_that_a_page_asks_for_is_that_of_a_user(stack: LocalStack) -> None:
    """Explained as the owner it would have no policy in it."""
    page = (ROOT / "ops" / "runbook" / "BridgeQuestionsSlow.md").read_text()
    command = re.search(r'psql "\$SUPABASE_DB_URL" -c "begin".*?"rollback"', page, re.DOTALL)
    assert command is not None
    process = await asyncio.create_subprocess_shell(
        command[0].replace("UUID", str(uuid.uuid4())).replace("psql", str(stack.postgres.binary("psql")), 1),
        env=os.environ | {"SUPABASE_DB_URL": stack.database_url},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert "dialog_participants" in out.decode()


def test_the_pages_of_the_runbook_read_metrics_that_a_worker_shows() -> None:
    """The patterns that they give to grep find something in the metrics of a worker."""
    if shutil.which("grep") is None:
        pytest.skip("grep is not installed")
    metrics.expect_tables(["public.messages"])
    metrics.RPC_DURATION.labels("bridge_visible")
    metrics.DELIVERIES.expect("new_message")
    shown = metrics.exposition().decode()
    patterns = [
        pattern
        for page in PAGES
        for pattern in re.findall(r"/metrics \| grep (?:-E )?'([^']+)'", page.read_text())
    ]
    assert len(patterns) > 10
    for pattern in patterns:
        assert (
            subprocess.run(["grep", "-qE", pattern], input=shown, text=True, check=False).returncode == 0
        ), pattern
