"""The demo's chat in windows of Chromium, served by a worker that can be restarted alone."""

import contextlib
import json
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from playwright.async_api import Browser, Page, expect

from bridge.clock import SystemClock
from bridge.demo.seed import USERS
from bridge.local.stack import LocalStack
from bridge.minting import mint_token
from tests.support.worker import Worker, running_worker

WAIT_MS = 45_000


class Window:
    """One user's window.

    Attributes:
        page: The page.
        seen: Each status that it showed, with the time in seconds since it was opened.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.status = page.locator("#status")

    async def write(self, body: str) -> None:
        """Type a message and send it with Enter."""
        await self.page.get_by_label("Message", exact=True).fill(body)
        await self.page.keyboard.press("Enter")

    async def shows(self, body: str) -> None:
        """Wait until a message is there, and not only as one that is being sent."""
        message = self.page.locator(".message:not(.pending)", has_text=body)
        await expect(message).to_have_count(1, timeout=WAIT_MS)

    async def is_(self, state: str, transport: str) -> None:
        """Wait until the status line says this."""
        await expect(self.status).to_have_attribute("data-state", state, timeout=WAIT_MS)
        await expect(self.page.locator("#transport")).to_have_text(transport)

    async def transcript(self) -> list[str]:
        """Return the messages that it shows."""
        return list(await self.page.locator(".message .text").all_inner_texts())


async def open_window(browser: Browser, url: str, name: str, **context: Any) -> Window:
    """Sign in as one of the demo's users, in a browser profile of their own."""
    page = await (await browser.new_context(**context)).new_page()
    await page.goto(url)
    await page.get_by_role("button", name=name).click()
    window = Window(page)
    await window.is_("live", "WebSocket")
    return window


@cache
def tokens(jwt_secret: str) -> str:
    """Return a token for each user, as JSON; the same ones for a worker that is started again."""
    now = SystemClock().now()
    return json.dumps(
        {u.id: mint_token(jwt_secret, user_id=u.id, role="authenticated", ttl_s=3600, now=now) for u in USERS}
    )


@contextlib.asynccontextmanager
async def chat_worker(stack: LocalStack, port: int) -> AsyncIterator[Worker]:
    """Run a worker with the demo's page, at this port."""
    async with running_worker(
        stack,
        command=["tests.support.chat_worker"],
        BRIDGE_PORT=str(port),
        CHAT_DATABASE_URL=stack.database_url,
        CHAT_TOKENS=tokens(stack.jwt_secret),
    ) as worker:
        yield worker
