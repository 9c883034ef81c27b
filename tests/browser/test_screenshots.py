"""What the demo's chat looks like; into docs/images where UPDATE_SCREENSHOTS is set."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from bridge.demo.seed import seed
from bridge.local.stack import LocalStack
from tests.support.chat import chat_worker, free_port, open_window
from tests.support.stack import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_screenshots(browser: Browser, stack: LocalStack, scheme: Any, tmp_path: Path):
    """Both panes, wide and on a phone, in both colors; nothing moves or hides while they are taken."""
    folder = ROOT / "docs" / "images" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    folder.mkdir(exist_ok=True)
    await seed(stack.database_url)
    port = free_port()
    async with chat_worker(stack, port):
        looks: dict[str, Any] = {"color_scheme": scheme, "timezone_id": "UTC", "locale": "en-GB"}
        bob = await open_window(
            browser, f"http://127.0.0.1:{port}", "Bob", viewport={"width": 1100, "height": 640}, **looks
        )
        body = f"In {scheme} too: written here, seen there."
        await bob.write(body)
        await bob.shows(body)
        await bob.page.screenshot(path=folder / f"chat-desktop-{scheme}.png", animations="disabled")
        ann = await open_window(
            browser, f"http://127.0.0.1:{port}", "Ann", viewport={"width": 375, "height": 640}, **looks
        )
        await ann.page.screenshot(path=folder / f"chat-phone-dialogs-{scheme}.png", animations="disabled")
        await ann.page.get_by_role("button", name="Weekend hike").click()
        await ann.shows(body)
        await ann.page.screenshot(path=folder / f"chat-phone-{scheme}.png", animations="disabled")
        assert all(shot.stat().st_size > 5_000 for shot in folder.glob(f"chat-*-{scheme}.png"))
