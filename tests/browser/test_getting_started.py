"""docs/getting-started.md, typed in behind a gateway that knows two keys; its page in Chromium shows the first event."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bridge.config import variables
from bridge.local.stack import LocalStack
from tests.support.gateway import gateway
from tests.support.stack import ROOT, local_stack
from tests.support.terminal import Terminal, checkout, commands

GUIDE = ROOT / "docs" / "getting-started.md"
EXAMPLES = ROOT / "docs" / "examples"
WAIT_MS = 20_000


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """A new project."""
    with local_stack(migrations=False) as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("curl")), reason="bash or curl is not installed"
)
async def test_the_guide_leads_to_the_first_event(browser: Browser, project: LocalStack, tmp_path: Path):
    """Each command, with what it prints; the page says `live`, then shows what the last ones did."""
    environ = checkout(tmp_path, project)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs" / "examples").mkdir(parents=True)
    async with gateway(project.url, {}, keys=(project.anon_key, project.service_role_key)) as url:
        terminal = Terminal(tmp_path, environ | {"SUPABASE_URL": url, "SUPABASE_ANON_KEY": project.anon_key})
        page_text = terminal.here((EXAMPLES / "first-event.html").read_text())
        (tmp_path / "docs" / "examples" / "first-event.html").write_text(page_text)
        try:
            guide = GUIDE.read_text()
            before, opening, after = guide.partition("Open that address.")
            assert opening
            assert await asyncio.to_thread(terminal.follow, before) > 7
            # The last command of the part prints the address; a token of its own is as good.
            address = (await asyncio.to_thread(terminal.type, list(commands(before))[-1][0])).strip()
            page = await (await browser.new_context()).new_page()
            await page.goto(address)
            await expect(page.locator("#status")).to_have_text("live", timeout=WAIT_MS)
            await asyncio.to_thread(terminal.follow, after)
            events = page.locator("#events li")
            await expect(events).to_have_text(
                [re.compile(r'^dialog_update .*"First"'), re.compile(r'^new_message .*"It works"')],
                timeout=WAIT_MS,
            )
        finally:
            await asyncio.to_thread(terminal.close)


def test_the_compose_file_for_self_hosting_is_like_that_of_ops():
    """Only settings that there are, from names of Supabase's own .env; as locked up as ops/docker/compose.yaml."""
    text = (EXAMPLES / "compose.self-hosted.yaml").read_text()
    given = dict(re.findall(r"^      ([A-Z_]+): (\S+)", text, re.MULTILINE))
    assert given.keys() <= {name for names in variables().values() for name in names}
    assert set(re.findall(r"\$\{(\w+)", text)) == {
        *("ANON_KEY", "JWT_SECRET"),  # of Supabase
        *("BRIDGE_CHECKOUT", "BRIDGE_WORKER_KEY"),  # of the guide
    }
    ours = (ROOT / "ops" / "docker" / "compose.yaml").read_text()
    for line in re.findall(r"^    (\w+: .*?)(?:\s+#.*)?$", text, re.MULTILINE):
        assert f"    {line}" in ours, line
