"""ops/grafana/bridge.json: its queries answered by a real Prometheus that scrapes a real worker.

No Grafana runs here.  Where UPDATE_SCREENSHOTS is set the test draws the panels itself, into docs/images.
"""

import asyncio
import os
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from bridge import metrics
from bridge.clock import SystemClock
from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.dashboard import DASHBOARD, PANELS, expression, page, series_of
from tests.support.prometheus import running_prometheus
from tests.support.stack import ROOT
from tests.support.worker import Worker, running_worker

DRAWN_S = 120
"""For how long the picture's worker runs."""


def test_every_panel_is_whole_and_on_the_grid():
    """Ids and places are unique; each panel says what it shows and has a unit, and asks the chosen data source."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["type"] in {"stat", "timeseries", "state-timeline"}
        assert panel["type"] == "state-timeline" or panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert (
                target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            )
            assert 'instance=~"$instance"' in target["expr"]
    assert [v["name"] for v in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]


def _now_s() -> float:
    return SystemClock().now().timestamp()


@asynccontextmanager
async def _busy(stack: LocalStack, worker: Worker, *, people: int, until_s: float) -> AsyncIterator[None]:
    """Have a few people chat, others be there who may not see it, and somebody with a wrong token."""
    async with AsyncExitStack() as clients, asyncio.TaskGroup() as tasks:
        here = [str(uuid.uuid4()) for _ in range(people)]
        connection = await clients.enter_async_context(
            await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True)
        )
        http = await clients.enter_async_context(httpx.AsyncClient(base_url=worker.url))
        sockets = [
            await clients.enter_async_context(websocket_client(worker.ws_url, stack.token(user)))
            for user in here
        ]

        async def chat() -> None:
            dialog = str(uuid.uuid4())
            await connection.execute(
                "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'd')", (dialog, here[0])
            )
            for user in here[1 : people // 2]:
                await connection.execute(
                    "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
                    (dialog, user),
                )
            said = 0
            while time.monotonic() < until_s:
                await connection.execute(
                    "insert into public.messages (dialog_id, sender_id, body) select %s, %s, 'x' from generate_series(1, %s)",
                    (dialog, here[0], 1 + said % 7),
                )
                said += 1
                if said % 5 == 0:
                    await connection.execute(
                        "update public.messages set body = 'y' where ctid in (select ctid from public.messages limit 3)"
                    )
                await asyncio.sleep(0.1)

        async def others() -> None:
            cursor = "unknown-0"
            while time.monotonic() < until_s:
                await http.get("/poll", headers={"Authorization": "Bearer no-token"})
                headers = {"Authorization": f"Bearer {stack.token(here[0])}"}
                answer = await http.get("/poll", params={"timeout_s": "0", "since": cursor}, headers=headers)
                cursor = answer.json()["cursor"]
                await sockets[0].send(type="subscribe", since=cursor)
                await asyncio.sleep(0.7)

        tasks.create_task(chat(), name="chat")
        tasks.create_task(others(), name="others")
        yield


async def test_every_panel_shows_something_of_a_real_worker(stack: LocalStack, tmp_path: Path):
    """Each query is one that Prometheus takes, and finds series; no alert fires for a worker that is well."""
    drawn = bool(os.environ.get("UPDATE_SCREENSHOTS"))
    last_s = DRAWN_S if drawn else 5
    rules = ROOT / "ops" / "prometheus" / "alerts.yml"
    async with (
        running_worker(stack) as worker,
        running_prometheus(tmp_path, f"127.0.0.1:{worker.admin_port}", rules=rules) as prometheus,
        _busy(stack, worker, people=40 if drawn else 6, until_s=time.monotonic() + last_s),
    ):
        start_s = _now_s()
        if drawn:
            await asyncio.sleep(0.6 * last_s)
            stack.kill_api()
            await asyncio.sleep(8)
            await stack.start_api()
        await asyncio.sleep(last_s - (_now_s() - start_s) - 0.5)
        end_s, interval = _now_s(), "8s" if drawn else "4s"
        shown = {
            panel["id"]: await series_of(
                panel, prometheus, start_s=start_s, end_s=end_s, step_s=last_s / 60, interval=interval
            )
            for panel in PANELS
        }
        for panel in PANELS:
            for target in panel["targets"]:
                found = await prometheus.query(expression(target["expr"], interval=interval, span="5s"))
                # How often a poll is refused is known once one was, and so on: no series is right there.
                assert found or "code" in target["expr"], target["expr"]
            assert shown[panel["id"]], panel["title"]
        if drawn:
            await _draw(page(shown, start_s=start_s, end_s=end_s))
            return
        said = await prometheus.rules()
        assert {rule["health"] for rule in said} == {"ok"}
        assert {rule["name"]: rule["state"] for rule in said if rule["state"] != "inactive"} == {}


async def _draw(text: str) -> None:
    from playwright.async_api import async_playwright

    from tests.support.chromium import CHROMIUM

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        sheet = await browser.new_page(viewport={"width": 1600, "height": 900})
        await sheet.set_content(text)
        await sheet.screenshot(path=ROOT / "docs" / "images" / "dashboard.png", full_page=True)
        await browser.close()


def test_panels_and_alerts_use_metrics_that_there_are():
    """In the dashboard, the alerts and their pages; what is named there and does not exist shows nothing, for ever."""
    families = list(metrics.REGISTRY.collect())
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    known = {f"{family.name}{end}" for family in families for end in ends[family.type]}
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    alerts = re.findall(
        r"expr: (?:\|\n)?((?:.+\n)+?)\s+(?:for|labels):", (ROOT / "ops/prometheus/alerts.yml").read_text()
    )
    assert len(alerts) > 10
    for text in [*expressions, *alerts]:
        named = set(re.findall(r"\b(?:bridge|process)_[a-z_]+\b", re.sub(r'"[^"]*"', "", text)))
        assert named <= known, text
        assert named or "up{" in text


@pytest.mark.parametrize("metric", ["bridge_deliveries_total", "bridge_denied_total", "bridge_gaps_total", "bridge_upstream_messages_total", "bridge_slow_consumers_total"])  # fmt: skip
def test_what_matters_has_a_panel(metric: str):
    """Somewhere on the dashboard."""
    assert any(metric in target["expr"] for panel in PANELS for target in panel["targets"])
