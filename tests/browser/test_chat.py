"""The demo's chat in two windows of Chromium, while everything that can go wrong on the way does."""

import asyncio
import contextlib
import time

import psycopg
import pytest
from playwright.async_api import Browser, expect

from bridge.demo.seed import BOB, DIALOGS, USERS, seed
from bridge.listening import free_port
from bridge.local.stack import LocalStack
from tests.support.chat import WAIT_MS, Window, chat_worker, open_window

pytestmark = pytest.mark.slow

HIKE = DIALOGS[0]


async def said(stack: LocalStack) -> list[str]:
    """Return what is in the database."""
    async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
        cursor = await connection.execute(
            "select body from public.messages where dialog_id = %s order by created_at, id", (HIKE.id,)
        )
        return [body for (body,) in await cursor.fetchall()]


async def write_until(stack: LocalStack, stop: asyncio.Event) -> None:
    """Write a message as Bob now and then, past the page: through restarts, blocks and silence."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        count = 0
        while not stop.is_set():
            count += 1
            await connection.execute(
                "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, %s)",
                (HIKE.id, BOB.id, f"meanwhile {count}."),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.7)


async def talk_without_websocket_and_network(ann: Window, bob: Window) -> None:
    """Bob polls for a while; before that is over Ann has no network, for 20 s."""
    block = bob.page.get_by_role("switch", name="Block WebSockets")
    await block.check()
    await bob.is_("polling", "HTTP polling")
    await ann.write("To somebody who polls.")
    await bob.shows("To somebody who polls.")
    await bob.write("From somebody who polls.")
    await ann.shows("From somebody who polls.")

    await ann.page.context.set_offline(True)
    unplugged_s = time.monotonic()
    await expect(ann.status).to_have_text("Offline", timeout=WAIT_MS)
    await ann.write("Written without a network.")
    await block.uncheck()
    await bob.is_("live", "WebSocket")
    await bob.write("Said while Ann was away.")
    await bob.shows("Said while Ann was away.")
    await asyncio.sleep(20 - (time.monotonic() - unplugged_s))
    await expect(ann.status).to_have_text("Offline")
    await ann.page.context.set_offline(False)
    await ann.is_("live", "WebSocket")
    await ann.shows("Said while Ann was away.")
    await bob.shows("Written without a network.")


@pytest.mark.timeout(240)
async def test_nothing_is_lost_and_nothing_doubled_whatever_happens(browser: Browser, stack: LocalStack):
    """Blocked WebSockets, two restarts of the worker, 20 s without network: both windows equal the database."""
    await seed(stack.database_url)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        async with chat_worker(stack, port):
            ann, bob = await open_window(browser, url, "Ann"), await open_window(browser, url, "Bob")
            await ann.write("Are you there?")
            await bob.shows("Are you there?")
            await bob.write("I am.")
            await ann.shows("I am.")
            tasks.create_task(write_until(stack, stop))

            await talk_without_websocket_and_network(ann, bob)

        for round_ in (1, 2):
            await ann.write(f"Written while the worker restarts, {round_}.")
            assert await ann.status.get_attribute("data-state") != "live"
            async with chat_worker(stack, port):
                await ann.is_("live", "WebSocket")
                await bob.is_("live", "WebSocket")
                await bob.shows(f"Written while the worker restarts, {round_}.")
                await bob.write(f"After restart {round_}.")
                await ann.shows(f"After restart {round_}.")
                if round_ == 2:
                    stop.set()
                    await ann.write("The end.")
                    await bob.shows("The end.")
                    await ann.shows("The end.")
                    truth = await said(stack)
                    assert len(truth) > 40
                    assert await ann.transcript() == truth
                    assert await bob.transcript() == truth


async def test_who_is_no_participant_sees_nothing(browser: Browser, stack: LocalStack):
    """Dan is not in the hike; a dialog that he is taken into appears, one that he leaves is gone."""
    await seed(stack.database_url)
    port = free_port()
    async with (
        chat_worker(stack, port),
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
    ):
        dan = await open_window(browser, f"http://127.0.0.1:{port}", "Dan")
        titles = dan.page.locator("nav strong")
        await expect(titles).to_have_text(["Release planning", "Lunch"])
        await connection.execute(
            "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
            (HIKE.id, USERS[3].id),
        )
        await expect(titles).to_have_count(3, timeout=WAIT_MS)
        await connection.execute(
            "delete from public.dialog_participants where dialog_id = %s and user_id = %s",
            (HIKE.id, USERS[3].id),
        )
        await expect(titles).to_have_text(["Release planning", "Lunch"], timeout=WAIT_MS)


async def test_the_chat_works_without_a_mouse_and_for_a_screen_reader(browser: Browser, stack: LocalStack):
    """At 375 px: keyboard alone, names and roles in place, nothing wider than the screen, unread counts."""
    await seed(stack.database_url)
    port = free_port()
    async with chat_worker(stack, port):
        context = await browser.new_context(viewport={"width": 375, "height": 740})
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{port}")
        await page.get_by_role("button", name="Ann").focus()
        await page.keyboard.press("Enter")
        ann = Window(page)
        await expect(page.get_by_role("navigation", name="Dialogs")).to_be_visible()
        lunch = page.get_by_role("button", name="Lunch")
        await expect(lunch).to_be_visible()
        async with await psycopg.AsyncConnection.connect(stack.database_url) as connection:
            await connection.execute(
                "insert into public.messages (dialog_id, sender_id, body) values (%s, %s, 'Hungry?')",
                (DIALOGS[2].id, USERS[3].id),
            )
        await expect(page.get_by_role("button", name="Lunch")).to_contain_text("1 unread", timeout=WAIT_MS)
        await page.get_by_role("button", name="Lunch").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log", name="Messages")).to_contain_text("Hungry?")
        await expect(page.get_by_label("Message", exact=True)).to_be_focused()
        await page.keyboard.type("Very.")
        await page.keyboard.press("Enter")
        await ann.shows("Very.")
        await expect(page.get_by_role("status")).to_have_text("Live")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 375
        await page.get_by_role("button", name="Back to the dialogs").click()
        await expect(page.get_by_role("button", name="Lunch")).not_to_contain_text("unread")
        await expect(page.get_by_role("switch", name="Block WebSockets")).to_be_visible()


async def test_the_page_shows_whatever_rows_say(browser: Browser, stack: LocalStack):
    """No title, no time, another primary key, another dialog, a burst, a dialog that others have talked in before."""
    await seed(stack.database_url)
    port = free_port()
    async with (
        chat_worker(stack, port),
        await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db,
    ):
        ann = await open_window(browser, f"http://127.0.0.1:{port}", "Ann")
        titles = ann.page.locator("nav strong")
        last = "f0000000-0000-4000-8000-000000000000"  # the page reads them by id
        await db.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (last, USERS[0].id))
        await expect(titles).to_have_text(["Weekend hike", "Lunch", "Untitled"], timeout=WAIT_MS)

        write = "insert into public.messages (dialog_id, sender_id, body, created_at) values (%s, %s, %s, %s)"
        await db.execute(write, (HIKE.id, BOB.id, "for ever", "infinity"))
        await ann.shows("for ever")
        await db.execute(
            "update public.messages set id = gen_random_uuid(), body = 'once' where body = 'for ever'"
        )
        await ann.shows("once")
        assert "for ever" not in await ann.transcript()
        await db.execute("update public.messages set dialog_id = %s where body = 'once'", (DIALOGS[2].id,))
        await expect(ann.page.locator(".message", has_text="once")).to_have_count(0, timeout=WAIT_MS)

        await db.execute("delete from public.dialog_participants where user_id = %s", (USERS[0].id,))
        await db.execute("update public.dialogs set owner_id = %s", (BOB.id,))
        await expect(titles).to_have_count(0, timeout=WAIT_MS)
        await db.execute(write, (HIKE.id, BOB.id, "Said before.", "2026-01-01"))
        await db.execute(
            "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
            (HIKE.id, USERS[0].id),
        )
        await ann.page.get_by_role("button", name="Weekend hike").click(timeout=WAIT_MS)
        await ann.shows("Said before.")
        await db.execute(
            "insert into public.messages (dialog_id, sender_id, body, created_at) "
            "select %s, %s, 'no. ' || n || '.', now() + n * interval '1 s' from generate_series(1, 1000) as n",
            (HIKE.id, BOB.id),
        )
        await ann.shows("no. 1000.")
        assert await ann.page.locator("#notice").inner_text() == ""
        await db.execute("delete from public.dialogs")
