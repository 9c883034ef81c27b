"""Several tabs of one browser share one connection."""

import asyncio

import httpx
import pytest
from playwright.async_api import Browser

from bridge.client import DIST
from tests.support.bridge import ANN, BOB, Bridge, running_bridge, token
from tests.support.chromium import ClientPage, client_page

pytestmark = pytest.mark.slow


async def connections(bridge: Bridge) -> int:
    """Return how many clients the server has."""
    async with httpx.AsyncClient() as http:
        return len((await http.get(f"{bridge.admin_url}/connections")).json())


async def tabs(browser: Browser, bridge: Bridge, count: int) -> list[ClientPage]:
    """Open tabs of the same browser profile; the first one is the leader."""
    context = await browser.new_context()
    opened: list[ClientPage] = []
    for _ in range(count):
        opened.append(await client_page(await context.new_page(), bridge.url, token, shared=True))
        await opened[-1].until("resyncs.length === 1")
        await opened[-1].until_state("live")
    return opened


async def test_three_tabs_have_one_connection_and_hear_the_same(browser: Browser):
    """Each tab is told to read its rows, and hears everything once."""
    async with running_bridge(client=DIST) as bridge:
        opened = await tabs(browser, bridge, 3)
        assert await connections(bridge) == 1
        bridge.publish(1, 2, 3)
        for tab in opened:
            await tab.until("heard.length >= 3")
            assert await tab.heard() == [1, 2, 3]
            assert await tab.page.evaluate("resyncs") == ["subscribed"]


@pytest.mark.parametrize("way", ["tab closed", "client closed", "navigated away"])
async def test_when_the_leader_goes_the_next_one_loses_and_doubles_nothing(browser: Browser, way: str):
    """While messages are published all the time; with one connection before and after."""
    async with running_bridge(client=DIST) as bridge, asyncio.TaskGroup() as tasks:
        leader, *others = await tabs(browser, bridge, 3)
        stop = asyncio.Event()
        publishing = tasks.create_task(bridge.publish_until(stop))
        await others[0].until("heard.length > 20")
        match way:
            case "tab closed":
                await leader.page.close()
            case "client closed":
                await leader.page.evaluate("bridge.close()")
            case _:
                await leader.page.goto(f"{bridge.url}/client.js")
        await asyncio.sleep(1)
        stop.set()
        count = await publishing
        for tab in others:
            await tab.until(f"heard.length >= {count}")
            assert await tab.heard() == list(range(1, count + 1))
            assert await tab.page.evaluate("resyncs") == ["subscribed"]
        assert await connections(bridge) == 1


async def test_tabs_of_different_users_share_nothing(browser: Browser):
    """In one browser profile, as where an application keeps its session per tab."""
    async with running_bridge(client=DIST) as bridge:
        context = await browser.new_context()
        ann = await client_page(await context.new_page(), bridge.url, lambda: token(ANN), shared=True)
        bob = await client_page(await context.new_page(), bridge.url, lambda: token(BOB), shared=True)
        for tab in (ann, bob):
            await tab.until("resyncs.length === 1")
        assert await connections(bridge) == 2
        bridge.publish(1, user=ANN)
        bridge.publish(2, user=BOB)
        await ann.until("heard.length >= 1")
        await bob.until("heard.length >= 1")
        assert (await ann.heard(), await bob.heard()) == ([1], [2])


async def test_the_leader_wants_what_all_tabs_want(browser: Browser):
    """A dialog that only another tab wants is heard, and no longer once that tab is gone, however it went."""
    async with running_bridge(client=DIST) as bridge:
        context = await browser.new_context()
        first, second = [
            await client_page(await context.new_page(), bridge.url, token, shared=True, dialogs=[dialog])
            for dialog in ("d1", "d2")
        ]
        await first.until("resyncs.length === 1")
        await second.until("resyncs.length === 1")
        bridge.publish(1, dialog="d1")
        bridge.publish(2, dialog="d2")
        await second.until("heard.length === 2")
        await first.page.evaluate("void bridge.once('unsubscribed', () => { window.isNarrower = true; })")
        await second.page.close()
        await first.until("window.isNarrower")
        bridge.publish(3, dialog="d2")
        bridge.publish(4, dialog="d1")
        await first.until("heard.length >= 3")
        assert await first.heard() == [1, 2, 4]


async def test_a_shared_tab_comes_back_out_of_the_back_forward_cache(browser: Browser):
    """It gives up lock and channel when it goes, and takes part again when it is back."""
    async with running_bridge(client=DIST) as bridge:
        first, second = await tabs(browser, bridge, 2)
        await first.page.evaluate(
            "addEventListener('pageshow', (event) => { window.wasKept = event.persisted; })"
        )
        await first.page.goto(f"{bridge.url}/client.js")
        bridge.publish(1)
        await second.until("heard.length === 1")
        await first.page.go_back(wait_until="commit")
        assert await first.until("window.wasKept")
        await first.until_state("live")
        await first.until("resyncs.length >= 2")  # nobody kept for it what it missed: its rows are read again
        bridge.publish(2)
        await first.until("heard.at(-1) === 2")
        await second.until("heard.length === 2")
        assert await connections(bridge) == 1


async def test_a_user_who_signs_in_after_another_hears_nothing_of_them(browser: Browser):
    """The tabs follow, one after the other, and read their rows anew."""
    user = ANN
    async with running_bridge(client=DIST) as bridge:
        context = await browser.new_context()
        opened = [
            await client_page(await context.new_page(), bridge.url, lambda: token(user, ttl_s=3), shared=True)
            for _ in range(2)
        ]
        for tab in opened:
            await tab.until("resyncs.length === 1")
        user = BOB
        for tab in opened:
            await tab.until("resyncs.length === 2")
        bridge.publish(1, user=ANN)
        bridge.publish(2, user=BOB)
        for tab in opened:
            await tab.until("heard.length >= 1")
            assert await tab.heard() == [2]
        assert await connections(bridge) == 1


async def test_a_tab_that_leaves_and_comes_back_at_once_is_still_heard(browser: Browser):
    """What the leader still hears of its first stay does not end its second one."""
    async with running_bridge(client=DIST) as bridge:
        context = await browser.new_context()
        leader = await client_page(await context.new_page(), bridge.url, token, shared=True, dialogs=["d1"])
        await leader.until("resyncs.length === 1")
        other = await client_page(await context.new_page(), bridge.url, token, shared=True, dialogs=["d2"])
        await other.until("resyncs.length === 1")
        for _ in range(5):
            await other.page.evaluate("bridge.close(); bridge.connect();")
        await other.until_state("live")
        await other.until("resyncs.length >= 2")
        await leader.page.evaluate("navigator.locks.query()")  # a round through the locks
        bridge.publish(1, dialog="d2")
        await other.until("heard.length === 1")
        assert await connections(bridge) == 1
