"""The lines of README.md and docs/migrating.md in Chromium, and what a `?userId=` client gets."""

import re

import pytest
from playwright.async_api import Browser

from bridge.client import DIST
from tests.support.bridge import ANN, BOB, running_bridge, token
from tests.support.stack import ROOT

READY = """
window.heard = [];
window.session = { access_token: TOKEN };
window.supabase = { auth: { getSession: async () => ({ data: { session: window.session } }) } };
window.handle = (message) => heard.push(message);
window.add = (row) => heard.push({ type: 'new_message', new: row });
window.readRows = async () => [];
window.show = () => heard.push({ type: 'subscribed' });
"""


async def test_an_id_in_the_url_opens_nothing(browser: Browser):
    """404 at the path of the earlier server; at /ws nothing comes without a token."""
    async with running_bridge() as bridge:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{bridge.url}/healthz")
        told = """(address) => new Promise((resolve) => {
            const heard = [];
            const socket = new WebSocket(address);
            socket.onmessage = ({ data }) => heard.push(data);
            socket.onclose = ({ code }) => resolve([code, heard.map((text) => JSON.parse(text).code)]);
        })"""
        for path, closed in (("/", [1006, []]), ("/ws", [4408, ["auth_timeout"]])):
            address = f"{bridge.ws_url.removesuffix('/ws')}{path}?userId={ANN}"
            assert await page.evaluate(told, address) == closed


@pytest.mark.parametrize("document", ["README.md", "docs/migrating.md"])
async def test_the_lines_that_a_page_is_given_hear_the_session_s_user(browser: Browser, document: str):
    """As they stand there; only the address is another."""
    [lines] = re.findall(r"```js\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    async with running_bridge(client=DIST) as bridge:
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{bridge.url}/healthz")
        script = lines.replace("wss://bridge.example.com/ws", bridge.ws_url).replace(
            "http://127.0.0.1:3002", bridge.url
        )
        imports = re.findall(r"^import .*$", script, re.MULTILINE)
        rest = re.sub(r"^import .*$", "", script, flags=re.MULTILINE)
        ready = READY.replace("TOKEN", f"'{token(ANN)}'")
        await page.add_script_tag(type="module", content="\n".join([*imports, ready, rest]))
        await page.wait_for_function("window.heard?.some(({type}) => type === 'subscribed')")
        bridge.publish(1, user=BOB, body="not hers")
        bridge.publish(2, body="hers")
        await page.wait_for_function("heard.some(({type}) => type === 'new_message')")
        bodies = await page.evaluate("heard.filter((m) => m.type === 'new_message').map((m) => m.new.body)")
        assert bodies == ["hers"]
