"""The examples of the documentation in Chromium, bundled as an application would be."""

import asyncio
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from bridge.client import DIST
from bridge.events import Delivery, RowEvent, View
from tests.support.bridge import Bridge, running_bridge, token
from tests.support.node import CLIENT, INSTALL_TIMEOUT_S, client_packages
from tests.support.stack import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)]
PAGES = Path(__file__).parent / "pages"
EXAMPLES = ROOT / "docs" / "examples"


def bundle(name: str) -> str:
    """Return a page's script with all that it imports."""
    done = subprocess.run(
        [
            "node_modules/.bin/esbuild",
            str(PAGES / name),
            "--bundle",
            "--format=esm",
            "--jsx=automatic",
            "--alias:supabase-realtime-bridge-client=./dist/client.js",
            "--alias:supabase-realtime-bridge-client/react=./dist/react.js",
            '--define:process.env.NODE_ENV="development"',  # StrictMode does everything twice
        ],
        check=True,
        cwd=client_packages(),
        env=os.environ | {"NODE_PATH": str(CLIENT / "node_modules")},
        capture_output=True,
        text=True,
    )
    return done.stdout


class Project:
    """The rows that a page reads, and what it is told of their changes.

    Attributes:
        rows: By table and id.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.rows: dict[str, dict[str, dict[str, Any]]] = {"dialogs": {}, "messages": {}}

    def read(self, table: str, dialog: str | None) -> list[dict[str, Any]]:
        return [row for row in self.rows[table].values() if dialog is None or row["dialog_id"] == dialog]

    def put(self, table: str, row: dict[str, Any]) -> None:
        """Write a row; a user who sees all hears of it."""
        old = self.rows[table].get(row["id"])
        self.rows[table][row["id"]] = row
        self._publish(table, "UPDATE" if old else "INSERT", new=row, old=old)

    def delete(self, table: str, id_: str) -> None:
        """Delete a row."""
        self._publish(table, "DELETE", new=None, old=self.rows[table].pop(id_))

    def _publish(self, table: str, action: Any, **rows: Any) -> None:
        row = rows["new"] or rows["old"]
        event = RowEvent(
            table=f"public.{table}",
            commit_timestamp="2026-01-01T00:00:00.000Z",
            received_s=0.0,
            key={"id": row["id"]},
            dialog_id=row.get("dialog_id", row["id"]),
            **rows,
        )
        self._bridge.hub.publish(
            event, [Delivery(view=View(action=action), principals=list(self._bridge.roster.here))]
        )


async def open_page(browser: Browser, bridge: Bridge, project: Project, name: str) -> Page:
    """Open a page that runs the bundle of this name."""
    script = (await asyncio.to_thread(bundle, name)).replace("https://bridge.example.com", bridge.url)
    page = await browser.new_page()
    await page.expose_function("mint", token)
    await page.expose_function("rows", project.read)
    await page.goto(f"{bridge.url}/healthz")
    await page.add_script_tag(content=script, type="module")
    return page


def message(id_: str, body: str, dialog: str = "d1") -> dict[str, Any]:
    return {"id": id_, "dialog_id": dialog, "body": body}


async def test_the_react_example_stays_current_under_strict_mode(browser: Browser):
    """Dialogs and messages appear, change and go; one connection, and none once it is unmounted."""
    async with running_bridge(client=DIST) as bridge:
        project = Project(bridge)
        project.put("dialogs", {"id": "d1", "title": "Hike"})
        project.put("messages", message("m1", "written before"))
        page = await open_page(browser, bridge, project, "react.tsx")
        await expect(page.get_by_role("status")).to_have_text("live")
        await expect(page.get_by_role("button")).to_have_text(["Hike"])
        await page.get_by_role("button", name="Hike").click()
        messages = page.locator("ol > li")
        await expect(messages).to_have_text(["written before"])
        project.put("messages", message("m2", "written after"))
        project.put("messages", message("m3", "of another dialog", "d2"))
        project.put("messages", message("m1", "changed"))
        await expect(messages).to_have_text(["changed", "written after"])
        project.put("messages", message("m2", "moved away", "d2"))
        await expect(messages).to_have_text(["changed"])
        project.delete("messages", "m1")
        await expect(messages).to_have_text([])
        project.put("dialogs", {"id": "d2", "title": "Lunch"})
        await expect(page.get_by_role("button")).to_have_text(["Hike", "Lunch"])
        await page.get_by_role("button", name="Lunch").click()
        await expect(messages).to_have_text(["moved away", "of another dialog"])
        project.delete("dialogs", "d2")
        await expect(page.get_by_role("button")).to_have_text(["Hike"])
        await expect(messages).to_have_text([])
        assert len(bridge.server._connections()) == 1
        await page.evaluate("shown()")
        async with asyncio.timeout(5):
            while bridge.server._connections():  # noqa: ASYNC110 - the server does not tell
                await asyncio.sleep(0.01)


async def test_the_migrated_page_shows_what_it_showed_before(browser: Browser):
    """The same load and the same handler, on the bridge."""
    async with running_bridge(client=DIST) as bridge:
        project = Project(bridge)
        project.put("messages", message("m1", "before"))
        page = await open_page(browser, bridge, project, "migrating.ts")
        await page.wait_for_function("window.shown?.join() === 'before'")
        project.put("messages", message("m2", "after"))
        project.put("messages", message("m1", "changed"))
        await page.wait_for_function("window.shown.join() === 'changed,after'")
        project.delete("messages", "m1")
        await page.wait_for_function("window.shown.join() === 'after'")


def test_migrating_takes_at_most_ten_lines():
    """docs/migrating.md shows the difference of the two files that are tested."""
    before, after = [
        (EXAMPLES / "migrating" / name).read_text().splitlines() for name in ("before.ts", "after.ts")
    ]
    document = (ROOT / "docs" / "migrating.md").read_text()
    [shown] = re.findall(r"```diff\n(.*?)```", document, re.DOTALL)
    gone = [line[1:] for line in shown.splitlines() if line.startswith("-")]
    come = [line[1:] for line in shown.splitlines() if line.startswith("+")]
    assert len(come) <= 10
    assert len(gone) <= 10
    assert sorted(gone) == sorted(line for line in before if line not in after)
    assert sorted(come) == sorted(line for line in after if line not in before)
