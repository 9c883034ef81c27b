"""What the demo's chat looks like, and what axe says of it; into docs/images where UPDATE_SCREENSHOTS is set."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from bridge.demo.seed import seed
from bridge.listening import free_port
from bridge.local.stack import LocalStack
from tests.support.chat import chat_worker, open_window
from tests.support.node import INSTALL_TIMEOUT_S, client_packages
from tests.support.stack import ROOT

pytestmark = pytest.mark.slow


def axe() -> Path:
    """Return the script that looks for what keeps people out."""
    return client_packages() / "node_modules" / "axe-core" / "axe.min.js"


async def shoot(page: Page, path: Path) -> None:
    """Take a picture, and let axe judge what is in it: names, roles, order, contrast."""
    await page.screenshot(path=path, animations="disabled")
    await page.add_script_tag(path=await asyncio.to_thread(axe))
    # The second time only colors are others.
    only = {"runOnly": ["color-contrast"]} if "dark" in path.name else {}
    found = await page.evaluate("(only) => axe.run({resultTypes: ['violations'], ...only})", only)
    wrong = [
        (violation["id"], violation["help"], node["target"])
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
    assert wrong == [], path.name


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
async def test_screenshots(browser: Browser, stack: LocalStack, tmp_path: Path):
    """Both panes, wide and on a phone, in both colors; nothing moves while they are taken, and axe finds nothing."""
    folder = ROOT / "docs" / "images" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    await seed(stack.database_url)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with chat_worker(stack, port):
        for scheme in ("light", "dark"):
            looks: dict[str, Any] = {"color_scheme": scheme, "timezone_id": "UTC", "locale": "en-GB"}
            wide, narrow = {"width": 1100, "height": 640}, {"width": 375, "height": 640}
            ann = await open_window(browser, url, "Ann", viewport=narrow, **looks)
            bob = await open_window(browser, url, "Bob", viewport=wide, **looks)
            body = f"In {scheme} too: written here, seen there."
            await bob.write(body)
            await bob.shows(body)
            await expect(ann.page.locator("#latency")).to_contain_text("ms")
            await shoot(bob.page, folder / f"chat-desktop-{scheme}.png")
            await shoot(ann.page, folder / f"chat-phone-dialogs-{scheme}.png")
            await ann.page.get_by_role("button", name="Weekend hike").click()
            await ann.shows(body)
            await shoot(ann.page, folder / f"chat-phone-{scheme}.png")
            await ann.page.get_by_role("button", name="Back to the dialogs").click()
            await ann.page.get_by_role("button", name="Sign out").click()
            await expect(ann.page.get_by_role("heading", name="Who are you?")).to_be_visible()
            await shoot(ann.page, tmp_path / f"sign-in-{scheme}.png")
