"""Long polling against the real server and hub: waiting, waking, resuming, refusals, the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bridge.connection import poll as module
from bridge.errors import AskedTimeoutError
from bridge.events import Principal, RowEvent, View
from bridge.position import Position
from tests.support.bridge import ANN, BOB, Bridge, running_bridge, token
from tests.support.events import message

ORIGIN = "https://app.example.com"


ROW = "a-row"


@contextlib.asynccontextmanager
async def polling(**settings: Any) -> AsyncIterator[tuple[Bridge, httpx.AsyncClient]]:
    """Run a bridge and a client that is signed in."""
    async with (
        running_bridge(**settings) as bridge,
        httpx.AsyncClient(
            base_url=bridge.url, headers={"Authorization": f"Bearer {token()}"}, timeout=30
        ) as http,
    ):
        yield bridge, http


async def poll(http: httpx.AsyncClient, **query: object) -> dict[str, Any]:
    answer = await http.get("/poll", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def waiting(bridge: Bridge, count: int = 1) -> None:
    """Wait until so many polls wait."""
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=bridge.admin_url) as http:
        while len((await http.get("/connections")).json()) != count:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.01)


def ids(body: dict[str, Any]) -> list[int]:
    return [event["new"]["id"] for event in body["events"]]


async def test_the_first_poll_answers_at_once_with_a_cursor():
    """There is nothing to wait for: the client reads its rows now."""
    async with polling() as (bridge, http):
        assert await poll(http) == {
            "events": [],
            "cursor": bridge.hub.cursor,
            "recovered": True,
            "status": "live",
        }


async def test_an_event_wakes_a_poll_and_the_next_one_goes_on_after_it():
    """One event is enough; what comes between two polls is not lost, and comes once."""
    async with polling() as (bridge, http):
        cursor = (await poll(http))["cursor"]
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(poll(http, since=cursor))
            await waiting(bridge)
            bridge.publish(1)
        assert ids(asked.result()) == [1]
        bridge.publish(2, 3)
        body = await poll(http, since=asked.result()["cursor"])
        assert ids(body) == [2, 3]
        assert (await poll(http, since=body["cursor"], timeout_s=0))["events"] == []


async def test_a_poll_that_cannot_be_told_what_it_missed_is_not_recovered():
    """Policies that take too long: the client reads its rows, and polls on from the newest event."""

    async def slow(_principal: Principal, _events: Sequence[RowEvent]) -> list[View | None]:
        raise AskedTimeoutError("bridge_visible() took too long: wait")

    async with polling() as (bridge, http):
        cursor, decide = bridge.hub.cursor, bridge.decide
        bridge.publish(1)
        bridge.decide = slow
        body = await poll(http, since=cursor)
        assert body == {"events": [], "cursor": bridge.hub.cursor, "recovered": False, "status": "live"}
        bridge.decide = decide
        bridge.publish(2)
        assert ids(await poll(http, since=body["cursor"])) == [2]


async def test_a_poll_without_events_answers_after_its_time():
    """With the same cursor, and nothing waits any more."""
    async with polling() as (bridge, http):
        cursor = bridge.hub.cursor
        assert await poll(http, since=cursor, timeout_s=0.1) == {
            "events": [],
            "cursor": cursor,
            "recovered": True,
            "status": "live",
        }
        await waiting(bridge, 0)
        assert bridge.roster.here == []


async def test_only_the_chosen_dialogs_and_only_the_users_events():
    """As over WebSocket."""
    async with polling() as (bridge, http):
        cursor = bridge.hub.cursor
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(poll(http, since=cursor, dialogs="b,c"))
            await waiting(bridge)
            bridge.publish(1, dialog="a")
            bridge.publish(2, dialog="b", user=BOB)
            bridge.publish(3, dialog="c")
        assert ids(asked.result()) == [3]
        # A list that holds nothing yet is no wish for everything; to leave it out is.
        assert [ids(await poll(http, since=cursor, dialogs=none, timeout_s=0)) for none in ("", " ,")] == [
            [],
            [],
        ]
        assert ids(await poll(http, since=cursor, timeout_s=0)) == [
            1,
            2,
            3,
        ]  # this roster lets everybody replay all


async def test_a_long_absence_comes_in_pieces_without_holes(monkeypatch: pytest.MonkeyPatch):
    """Bounded by number and by size; a small event does not slip in past a large one."""
    monkeypatch.setattr(module, "MAX_EVENTS", 4)
    monkeypatch.setattr(module, "MAX_BYTES", 3000)
    async with polling() as (bridge, http):
        cursor, got, polls = bridge.hub.cursor, [], 0
        bridge.publish(1)
        bridge.publish(2, body="x" * 2900)
        bridge.publish(*range(3, 20))
        while got[-1:] != [19]:
            body = await poll(http, since=cursor, timeout_s=0)
            assert len(body["events"]) <= 4
            cursor, polls = body["cursor"], polls + 1
            got += ids(body)
        assert got == list(range(1, 20))
        assert polls >= 6


async def test_an_unknown_cursor_is_answered_at_once():
    """`recovered` is false: the client reads its rows and goes on from the new cursor."""
    async with polling() as (bridge, http):
        body = await poll(http, since="other-5")
        assert (body["recovered"], body["cursor"]) == (False, bridge.hub.cursor)


async def test_a_resync_wakes_a_poll_and_whoever_comes_later_learns_of_it():
    """`recovered: false`, whether the poll waited or the client was between two polls."""
    async with polling() as (bridge, http):
        cursor = bridge.hub.cursor
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(poll(http, since=cursor))
            await waiting(bridge)
            bridge.hub.begin("t2", Position(0))  # as the pipeline does after a gap
            bridge.hub.open()
            bridge.hub.resync(None, "gap")
        assert asked.result()["recovered"] is False
        assert (await poll(http, since=cursor))["recovered"] is False
        assert (await poll(http, since=asked.result()["cursor"], timeout_s=0))["recovered"] is True


async def test_a_poll_that_ends_while_the_worker_catches_up_keeps_its_place():
    """What is read meanwhile was sent to nobody: the next poll gets it."""
    async with polling() as (bridge, http):
        bridge.publish(1)
        cursor = bridge.hub.cursor
        version = cursor.partition("-")[0]
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(poll(http, since=cursor, timeout_s=1))
            await waiting(bridge)
            bridge.hub.begin(version, Position(1))
            bridge.hub.publish(message(2), [])
        assert (asked.result()["cursor"], asked.result()["recovered"]) == (cursor, True)
        bridge.hub.open()
        assert [e["new"]["id"] for e in (await poll(http, since=cursor))["events"]] == [2]


async def test_a_page_may_ask_from_an_allowed_origin_only():
    """Preflight and answer carry the CORS headers; another origin or none is refused."""
    async with polling(allowed_origins=(ORIGIN,)) as (_, http):
        preflight = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = await http.options("/poll", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        answer = await http.get("/poll", headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
        assert answer.headers["Cache-Control"] == "no-store"
        refused = await http.get("/poll", headers={"Origin": ORIGIN, "Authorization": "Bearer x"})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
        evil = {"Origin": "https://evil.example.com"}
        assert (await http.options("/poll", headers=preflight | evil)).status_code == 400
        for headers in (evil, {}):
            answer = await http.get("/poll", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("", {"Authorization": ""}, 401, "invalid_token"),
        ("", {"Authorization": "Basic YTpi"}, 401, "invalid_token"),
        ("", {"Authorization": "Bearer nonsense"}, 401, "invalid_token"),
        (f"?token={token()}", {"Authorization": ""}, 401, "invalid_token"),
        ("", {"Authorization": f"Bearer {token(ttl_s=-1)}"}, 401, "token_expired"),
        ("?timeout_s=x", {}, 400, "malformed"),
        ("?timeout_s=-1", {}, 400, "malformed"),
        ("?timeout_s=inf", {}, 400, "malformed"),
        ("?dialogs=" + ",".join(map(str, range(1001))), {}, 400, "malformed"),
    ],
)
async def test_refusals_say_why(query: str, headers: dict[str, str], status: int, code: str):
    """A JSON body with a stable code; 401 asks for a Bearer token."""
    async with polling() as (bridge, http):
        answer = await http.get(f"/poll{query}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
        assert "eyJ" not in answer.text
        assert bridge.roster.here == []


async def test_a_token_in_the_url_counts_where_the_operator_allows_it():
    """For clients that cannot set headers."""
    async with polling(allow_token_in_url=True) as (_, http):
        answer = await http.get("/poll", params={"token": token()}, headers={"Authorization": ""})
        assert answer.status_code == 200


@pytest.mark.parametrize("limits", [{"max_connections": 1}, {"max_connections_per_user": 1}])
async def test_waiting_polls_count_as_connections(limits: dict[str, int]):
    """429 while there are too many, 200 again afterwards."""
    async with polling(**limits) as (bridge, http):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(poll(http, since=bridge.hub.cursor))
            await waiting(bridge)
            answer = await http.get("/poll")
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many")
            bridge.publish(1)
        await poll(http)


async def test_a_token_that_expires_while_a_poll_waits_ends_it():
    """401 at `exp`, not after the poll's own time."""
    async with polling() as (bridge, http):
        started_s = asyncio.get_running_loop().time()
        answer = await http.get(
            "/poll",
            params={"since": bridge.hub.cursor},
            headers={"Authorization": f"Bearer {token(ttl_s=2)}"},
        )
        assert asyncio.get_running_loop().time() - started_s < 3
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_expired")


async def test_a_client_that_goes_away_is_forgotten_at_once():
    """Nothing waits for it, and no limit counts it."""
    async with polling(max_connections=1) as (bridge, http):
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/poll", params={"since": bridge.hub.cursor}, timeout=0.3)
        await waiting(bridge, 0)
        assert bridge.roster.here == []
        await poll(http)


async def test_the_admin_port_shows_polls_that_wait():
    """Beside the WebSockets, in the same form."""
    async with polling() as (bridge, http), httpx.AsyncClient(base_url=bridge.admin_url) as admin:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(poll(http, since=bridge.hub.cursor))
            await waiting(bridge)
            [shown] = (await admin.get("/connections")).json()
            assert (shown["user_id"], shown["transport"]) == (ANN, "poll")
            assert 'bridge_connections{transport="poll"} 1.0' in (await admin.get("/metrics")).text
            bridge.publish(1)
        assert 'bridge_connections{transport="poll"} 0.0' in (await admin.get("/metrics")).text


async def test_a_worker_that_leaves_answers_the_polls_that_wait():
    """At once, and the connection is closed: the next poll goes to another worker."""
    async with polling() as (bridge, http), asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(http.get("/poll", params={"since": bridge.hub.cursor}))
        await waiting(bridge)
        bridge.server.stop_accepting()
        async with asyncio.timeout(2):
            await bridge.server.drain(1.0)
            answer = await asked
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        with pytest.raises(httpx.ConnectError):
            await http.get("/poll")


async def test_a_worker_that_leaves_keeps_nobody_who_is_ahead_of_it():
    """Whom another worker sent more: that poll keeps its cursor, and goes on at another worker."""
    async with polling() as (bridge, http), asyncio.TaskGroup() as tasks:
        ahead = bridge.hub.cursor.rpartition("-")[0] + "-9"
        asked = tasks.create_task(http.get("/poll", params={"since": ahead}))
        await waiting(bridge)
        bridge.server.stop_accepting()
        async with asyncio.timeout(2):
            await bridge.server.drain(1.0)
            answer = await asked
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert (answer.json()["events"], answer.json()["cursor"], answer.json()["recovered"]) == (
            [],
            ahead,
            True,
        )


async def test_a_defect_is_logged_and_answered_and_nothing_is_kept(monkeypatch: pytest.MonkeyPatch):
    """500 that a page of another origin can read, as JSON; the next poll is answered."""

    def broken(*_args: Any) -> None:
        raise KeyError(ROW)

    async with polling(max_connections=1) as (bridge, http):
        with monkeypatch.context() as patched, capture_logs() as logs:
            patched.setattr(bridge.hub, "connect", broken)
            answer = await http.get("/poll", headers={"Origin": "https://a.example.com"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert [(e["event"], e["error"]) for e in logs] == [("connection_crashed", "KeyError")]
        assert ROW not in str(logs) + answer.text
        assert (await poll(http))["events"] == []
