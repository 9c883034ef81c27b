"""Which paths there are on which port."""

from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from bridge.connection.http import admin_application, public_application
from bridge.connection.origins import Origins

ROW = "a-row"


class Polls:
    async def answer(self, _request: Any) -> PlainTextResponse:
        return PlainTextResponse("polled")


async def get(application: Starlette, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as http:
        return await http.get(path, headers=headers)


def public(*, client: Path | None = None, allowed: tuple[str, ...] = ()) -> Starlette:
    further = Route("/further", lambda _: PlainTextResponse("further"))
    polls: Any = Polls()
    return public_application(polls, Origins(allowed), client=client, routes=[further])


async def test_the_public_port(tmp_path: Path):
    """Polls, health, the browser client where there is one, and further routes."""
    (tmp_path / "client.js").write_text("export {}")
    application = public(client=tmp_path)
    assert (await get(application, "/poll")).text == "polled"
    assert (await get(application, "/healthz")).json() == {"status": "ok"}
    assert (await get(application, "/further")).text == "further"
    answer = await get(application, "/client.js")
    assert (answer.text, answer.headers["Content-Type"].split(";")[0]) == ("export {}", "text/javascript")
    assert (await get(public(), "/client.js")).status_code == 404


async def test_a_request_that_lost_its_upgrade_on_the_way_is_told_so():
    """A proxy that does not pass Upgrade on is the usual reason."""
    answer = await get(public(), "/ws")
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert "a proxy has to pass Upgrade" in answer.json()["error"]["message"]


async def test_nothing_redirects():
    """A redirect would lead from https to http, and the token with it."""
    assert (await get(public(), "/poll/")).status_code == 404


async def test_any_origin_may_read_where_none_is_listed():
    """A token is needed in any case; cookies are never asked for."""
    answer = await get(public(), "/poll", Origin="https://any.example.com")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    listed = public(allowed=("https://app.example.com",))
    answer = await get(listed, "/poll", Origin="https://any.example.com")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_admin_port():
    """Readiness says what is missing; metrics are in the form of Prometheus."""
    reasons: list[str] = []
    application = admin_application(lambda: reasons, lambda: [{"connection_id": "c1"}])
    assert (await get(application, "/healthz")).status_code == 200
    assert (await get(application, "/readyz")).json() == {"ready": True, "reasons": []}
    reasons.append("upstream is down")
    answer = await get(application, "/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["upstream is down"]})
    assert (await get(application, "/connections")).json() == [{"connection_id": "c1"}]
    answer = await get(application, "/metrics")
    assert "# HELP bridge_connections" in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_a_defect_is_logged_and_answered():
    """On either port: JSON, and a line without what the error says."""

    def broken() -> list[str]:
        raise KeyError(ROW)

    transport = httpx.ASGITransport(admin_application(broken, list), raise_app_exceptions=False)
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as http:
            answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert [(e["event"], e["error"]) for e in logs] == [("connection_crashed", "KeyError")]
    assert ROW not in str(logs) + answer.text
