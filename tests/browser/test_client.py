"""The browser client in Chromium, against the real server; events are published by hand."""

import asyncio
from functools import cache

import pytest
from playwright.async_api import Browser

from bridge import metrics
from bridge.bench.proxy import tcp_proxy
from bridge.client import DIST
from tests.support.bridge import running_bridge, token
from tests.support.chromium import ClientPage, client_page, one_window

pytestmark = pytest.mark.slow


async def until_heard(client: ClientPage, count: int) -> list[int]:
    """Wait for so many events, and return all that were heard."""
    await client.until(f"heard.length >= {count}")
    return await client.heard()


@pytest.mark.parametrize("compression", ["off", "deflate"])
async def test_events_arrive_over_a_websocket(browser: Browser, compression: str):
    """In order, after the page was told to read its rows; compressed where that is on, as Chromium offers it."""
    before = metrics.COMPRESSION_SAVED.counts[()]
    async with running_bridge(client=DIST, compression=compression) as bridge:
        client = await client_page(await browser.new_page(), bridge.url, token)
        await client.until("resyncs.length === 1")
        bridge.publish(1, 2)
        bridge.publish(3, body="grüße 🐘 " * 1000)
        assert await until_heard(client, 3) == [1, 2, 3]
        assert await client.statuses() == ["connecting", "live", "live"]
    assert (metrics.COMPRESSION_SAVED.counts[()] > before) is (compression == "deflate")


async def test_a_blocked_websocket_costs_no_event_and_doubles_none(browser: Browser):
    """Blocked and let through three times while messages are published all the time."""
    async with running_bridge(client=DIST) as bridge, asyncio.TaskGroup() as tasks:
        client = await client_page(await browser.new_page(), bridge.url, token)
        await client.until("resyncs.length === 1")
        stop = asyncio.Event()
        publishing = tasks.create_task(bridge.publish_until(stop))
        for _ in range(3):
            await client.block(blocked=True)
            await client.until_state("polling")
            await asyncio.sleep(0.3)
            await client.block(blocked=False)
            await client.until_state("live")
            await asyncio.sleep(0.3)
        stop.set()
        count = await publishing
        assert await until_heard(client, count) == list(range(1, count + 1))
        assert await client.page.evaluate("resyncs") == ["subscribed"]


async def test_a_websocket_that_never_lasts_gives_way_to_polling(browser: Browser):
    """It opens and is cut, again and again: three times is enough, and once it lasts it is taken back."""
    async with running_bridge(client=DIST) as bridge, asyncio.TaskGroup() as tasks:
        client = await client_page(await browser.new_page(), bridge.url, token)
        await client.until("resyncs.length === 1")
        stop = asyncio.Event()
        publishing = tasks.create_task(bridge.publish_until(stop))
        await client.page.evaluate(
            "window.cut = () => { for (const socket of BlockableSocket.made) socket.close(); };"
            "window.lasts = bridge.on('status', ({state}) => { if (state === 'live') setTimeout(cut, 50); }); cut()"
        )
        await client.until_state("polling")
        assert await client.page.evaluate("bridge.status.reason") == "the WebSocket does not last"
        assert (await client.statuses()).count("waiting") <= 3
        await client.page.evaluate("lasts()")
        await client.until_state("live")
        stop.set()
        count = await publishing
        assert await until_heard(client, count) == list(range(1, count + 1))
        assert await client.page.evaluate("resyncs") == ["subscribed"]


async def test_a_page_that_starts_behind_a_blocking_proxy_polls(browser: Browser):
    """From the first moment on, and with everything that is published."""
    async with running_bridge(client=DIST) as bridge:
        page = await browser.new_page()
        await page.route_web_socket("**/ws", lambda _route: None)  # neither opens nor fails at the server
        client = await client_page(page, bridge.url, token)
        await client.page.evaluate("BlockableSocket.blocked = true")
        await client.until_state("polling")
        bridge.publish(1)
        assert await until_heard(client, 1) == [1]


async def test_a_network_that_swallows_everything_is_noticed(browser: Browser):
    """No FIN, no RST, only silence: a ping interval and an answer's time later the client says so, and comes back."""
    async with (
        running_bridge(client=DIST, ping_interval_s=1.0) as bridge,
        tcp_proxy("127.0.0.1", bridge.server.port) as proxy,
    ):
        client = await client_page(await browser.new_page(), f"http://127.0.0.1:{proxy.port}", token)
        await client.until("resyncs.length === 1")
        proxy.freeze()
        bridge.publish(1, 2)
        await client.until("bridge.status.state !== 'live'", timeout_s=5)
        proxy.thaw()
        await client.until_state("live")
        bridge.publish(3)
        assert await until_heard(client, 3) == [1, 2, 3]


async def test_a_token_is_renewed_before_it_expires(browser: Browser):
    """Tokens of four seconds, for longer than that: one connection, and nothing is missed."""
    async with running_bridge(client=DIST) as bridge:
        client = await client_page(await browser.new_page(), bridge.url, lambda: token(ttl_s=4))
        await client.until("resyncs.length === 1")
        for n in range(1, 4):
            bridge.publish(n)
            await client.until(f"renewals >= {n}")
        assert await until_heard(client, 3) == [1, 2, 3]
        assert await client.page.evaluate("BlockableSocket.made.length") == 1


async def test_a_page_that_cannot_renew_comes_back_when_it_can(browser: Browser):
    """The old token runs out, the server says so, and the next one counts: nothing is missed."""
    has_expired = asyncio.Event()

    @cache
    def expiring() -> str:
        return token(ttl_s=2)  # from when it is asked for: the page has been slow to open before

    def mint() -> str:
        return token() if has_expired.is_set() else expiring()

    async with running_bridge(client=DIST) as bridge:
        client = await client_page(await browser.new_page(), bridge.url, mint)
        await client.until("resyncs.length === 1")
        await client.until("statuses.includes('waiting')")
        has_expired.set()
        bridge.publish(1)
        assert await until_heard(client, 1) == [1]
        await client.until_state("live")


async def test_signing_out_closes(browser: Browser):
    """And connecting again after signing in goes on."""
    signed_in = True
    async with running_bridge(client=DIST) as bridge:
        client = await client_page(
            await browser.new_page(), bridge.url, lambda: token(ttl_s=3) if signed_in else None
        )
        await client.until("resyncs.length === 1")
        signed_in = False
        await client.until_state("closed")
        assert await client.page.evaluate("bridge.status.reason") == "signed out"
        signed_in = True
        bridge.publish(1)
        await client.page.evaluate("bridge.connect()")
        assert await until_heard(client, 1) == [1]


async def test_the_browser_says_that_it_is_offline(browser: Browser):
    """The status says so as well, and what was missed comes when it is online again."""
    async with running_bridge(client=DIST) as bridge:
        page = await browser.new_page()
        client = await client_page(page, bridge.url, token)
        await client.until("resyncs.length === 1")
        await page.context.set_offline(True)
        await client.block(blocked=True)  # what an unplugged network does to a connection, sooner or later
        await client.until("bridge.status.reason === 'offline' && bridge.status.state === 'waiting'")
        bridge.publish(1, 2)
        await client.page.evaluate("BlockableSocket.blocked = false")
        await page.context.set_offline(False)
        assert await until_heard(client, 2) == [1, 2]
        await client.until_state("live")


async def test_a_page_comes_back_out_of_the_back_forward_cache(browser: Browser):
    """As it was, with its client, and with what it missed meanwhile."""
    async with running_bridge(client=DIST) as bridge:
        page = await browser.new_page()
        client = await client_page(page, bridge.url, token)
        await client.until("resyncs.length === 1")
        await page.evaluate("addEventListener('pageshow', (event) => { window.wasKept = event.persisted; })")
        bridge.publish(1)
        await until_heard(client, 1)
        await page.goto(f"{bridge.url}/client.js")
        bridge.publish(2)
        await page.go_back(wait_until="commit")
        assert await client.until("window.wasKept")
        assert await until_heard(client, 2) == [1, 2]


async def test_a_hidden_tab_does_not_storm_and_is_there_when_it_is_looked_at():
    """Four times the pause while another tab is in front of it; at once when it is in front again."""
    async with (
        one_window() as window,
        running_bridge(client=DIST) as bridge,
        tcp_proxy("127.0.0.1", bridge.server.port) as proxy,
    ):
        page = await window.new_page()
        await page.add_init_script("Math.random = () => 0.9")
        client = await client_page(
            page, f"http://127.0.0.1:{proxy.port}", token, retryMs=2000, retryCapMs=30_000
        )
        await client.until("resyncs.length === 1")
        await (await window.new_page()).bring_to_front()
        await client.until("document.visibilityState === 'hidden'")
        proxy.refusing = True
        proxy.cut()
        await client.until("bridge.status.state === 'waiting'")
        assert await page.evaluate("bridge.status.retryAt - Date.now()") > 4_000  # in sight 1,800 at most
        bridge.publish(1)
        proxy.refusing = False
        await page.bring_to_front()
        await client.until_state("live", timeout_s=3)
        assert await until_heard(client, 1) == [1]


async def test_ten_thousand_messages_leave_no_memory_behind(browser: Browser):
    """What the client keeps is bounded: less than 4 MB more after the second ten thousand than after the first."""
    async with running_bridge(client=DIST) as bridge:
        page = await browser.new_page()
        client = await client_page(page, bridge.url, token)
        await client.until("resyncs.length === 1")
        await page.evaluate(
            "window.count = 0; void bridge.on('change', () => { count++; if (heard.length > 100) heard.splice(0, 50); })"
        )
        session = await page.context.new_cdp_session(page)
        used: list[float] = []
        for round_ in range(2):
            for start in range(0, 10_000, 100):
                bridge.publish(*range(round_ * 10_000 + start, round_ * 10_000 + start + 100), body="x" * 200)
                await asyncio.sleep(0.002)
            await client.until(f"window.count === {(round_ + 1) * 10_000}")
            await session.send("HeapProfiler.collectGarbage")
            used.append((await session.send("Runtime.getHeapUsage"))["usedSize"])
        assert used[1] - used[0] < 4 * 2**20
