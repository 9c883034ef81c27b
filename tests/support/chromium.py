"""A real Chromium, Debian's, driven by Playwright; and pages with the browser client in them."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from bridge.listening import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

QUICK = {
    "openMs": 500,
    "probeMs": 200,
    "probeCapMs": 400,
    "retryMs": 100,
    "retryCapMs": 400,
    "pongMs": 700,
    "pollMs": 5000,
}
"""The client's timings, so that a test need not wait for minutes."""

_START = """async ({timings, shared, dialogs}) => {
  const {createBridgeClient} = await import('/client.js');
  window.BlockableSocket = class extends WebSocket {
    static blocked = false;
    static made = [];
    constructor(url, protocols) {
      super(BlockableSocket.blocked ? url.replace(/\\/ws$/, '/blocked') : url, protocols);
      BlockableSocket.made.push(this);
    }
  };
  window.heard = []; window.statuses = []; window.resyncs = []; window.renewals = 0;
  window.bridge = createBridgeClient({
    url: location.origin, getToken: () => window.mint(), timings, shared, WebSocket: BlockableSocket,
  });
  bridge.on('change', (event) => heard.push(event.new.id ?? event.old.id));
  bridge.on('status', (status) => statuses.push(status.state));
  bridge.on('resync', ({reason}) => { resyncs.push(reason); });
  bridge.on('authenticated', () => renewals++);
  bridge.subscribe(dialogs === null ? {} : {dialogs});
  bridge.connect();
}"""


class ClientPage:
    """A page with a client that subscribes to everything and keeps what it hears."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def heard(self) -> list[int]:
        """Return the ids of the rows that its changes were about, in order."""
        return list(await self.page.evaluate("heard"))

    async def statuses(self) -> list[str]:
        """Return the states that its status went through."""
        return list(await self.page.evaluate("statuses"))

    async def until(self, expression: str, *, timeout_s: float = 20) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        # As text it is not evaluated where the page's policy forbids eval; there is none.
        handle = await self.page.wait_for_function(expression, timeout=timeout_s * 1000, polling=10)
        return await handle.json_value()

    async def until_state(self, state: str, *, timeout_s: float = 20) -> None:
        """Wait until its status is this one."""
        await self.until(f"bridge.status.state === '{state}'", timeout_s=timeout_s)

    async def block(self, *, blocked: bool) -> None:
        """Let WebSockets fail at the handshake from now on, those that are open too; or let them through."""
        await self.page.evaluate(
            "(blocked) => { BlockableSocket.blocked = blocked;"
            " if (blocked) for (const socket of BlockableSocket.made) socket.close(); }",
            blocked,
        )


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser; skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"],  # tests may run as root
            ignore_default_args=["--disable-back-forward-cache"],
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def one_window() -> AsyncIterator[BrowserContext]:
    """Run a browser of one window, as people have it: a tab is hidden while another one is in front of it."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    port = free_port()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", f"--remote-debugging-port={port}"],
            ignore_default_args=[
                "--disable-background-timer-throttling",
                "--disable-backgrounding-occluded-windows",
                "--disable-renderer-backgrounding",
            ],
        )
        try:
            # Pages that Playwright has opened itself are made to believe that they are always visible.
            browser = await playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
            yield browser.contexts[0]
        finally:
            await started.close()


async def client_page(
    page: Page,
    url: str,
    mint: Callable[[], str | None],
    *,
    shared: bool = False,
    dialogs: Sequence[str] | None = None,
    **timings: int,
) -> ClientPage:
    """Open a page of the bridge at ``url`` and start a client in it that gets its tokens from ``mint``."""
    await page.expose_function("mint", mint)
    await page.goto(f"{url}/healthz")
    await page.evaluate(_START, {"timings": QUICK | timings, "shared": shared, "dialogs": dialogs})
    return ClientPage(page)
