"""docs/example-existing-project.md, typed in: each command runs, and prints what is written there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.stack import ROOT, local_stack
from tests.support.terminal import Terminal, checkout, commands

GUIDE = ROOT / "docs" / "example-existing-project.md"
EXAMPLE = ROOT / "docs" / "examples" / "existing-project"

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="the guide's commands need bash and curl"
)


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """The project as it is before anybody thinks of the bridge."""
    with local_stack(migrations=False) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            for name in ("schema.sql", "rows.sql"):
                connection.execute((EXAMPLE / name).read_bytes())
        yield stack


@pytest.fixture
def terminal(project: LocalStack, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in a checkout, with the project's settings exported."""
    opened = Terminal(
        tmp_path, checkout(tmp_path, project) | {"SUPABASE_SERVICE_ROLE_KEY": project.service_role_key}
    )
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_guide_does_what_it_says(terminal: Terminal):
    """From an existing project to events in the hands of those who may see them, and back."""
    assert terminal.follow(GUIDE.read_text()) > 15


def test_the_guide_takes_less_than_ten_minutes():
    """Every word of it read, at 200 a minute, and each command pasted or typed in 5 s."""
    text = GUIDE.read_text()
    assert len(text.split()) / 200 + len(list(commands(text))) * 5 / 60 < 10
