"""The collector behind one poll; what a poll does over HTTP stands in tests/integration/test_poll.py."""

import asyncio
import json

import pytest

from bridge.connection import poll as module
from bridge.connection.poll import PollSink, refusal
from bridge.errors import ForbiddenError, InvalidTokenError, TooManyError
from bridge.fanout import Frame, notice
from bridge.fanout.notices import Resync, Status


def sink() -> PollSink:
    return PollSink(asyncio.get_running_loop())


def event(n: int, size: int = 10) -> Frame:
    return Frame(b"x" * size, b"", f"e-{n}")


async def waits(made: PollSink) -> bool:
    """Return whether a poll with this sink would go on waiting."""
    before = asyncio.get_running_loop().time()
    await made.wait(0.05, asyncio.get_running_loop().create_future())
    return asyncio.get_running_loop().time() - before > 0.04


async def test_an_event_or_a_resync_wakes_and_nothing_else_does():
    """A status is no reason to answer."""
    made = sink()
    made.offer(notice(Status("down")))
    assert await waits(made)
    made.offer(event(1))
    made.offer(event(2))
    assert not await waits(made)
    assert [f.cursor for f in made.events] == ["e-1", "e-2"]
    made = sink()
    made.offer(notice(Resync("gap", "e-1")))
    assert not await waits(made)
    assert (made.stale, made.events) == (True, [])


async def test_a_client_that_leaves_ends_the_wait():
    """Nobody is there to answer."""
    gone = asyncio.get_running_loop().create_future()
    gone.set_result(None)
    async with asyncio.timeout(5):
        await sink().wait(60, gone)


async def test_an_answer_is_bounded_by_number(monkeypatch: pytest.MonkeyPatch):
    """The rest is left for the next poll."""
    monkeypatch.setattr(module, "MAX_EVENTS", 2)
    made = sink()
    for n in range(4):
        made.offer(event(n))
    assert (len(made.events), await made.room()) == (2, False)


async def test_an_answer_is_bounded_by_size_and_has_no_holes(monkeypatch: pytest.MonkeyPatch):
    """One event always fits, however large; after one that does not, none is taken."""
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    made = sink()
    made.offer(event(1, 500))
    assert await made.room()
    made.offer(event(2, 500))
    made.offer(event(3, 1))
    assert ([f.cursor for f in made.events], await made.room()) == (["e-1"], False)
    made = sink()
    made.cut_off()
    made.offer(event(1))
    assert made.events == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidTokenError("m"), 401, "invalid_token"),
        (ForbiddenError("m"), 403, "forbidden"),
        (TooManyError("m"), 429, "too_many"),
    ],
)
def test_a_refusal_is_json_that_no_cache_keeps(error: Exception, status: int, code: str):
    """With `WWW-Authenticate` where a token would help."""
    response = refusal(error)  # type: ignore[arg-type]
    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {"error": {"code": code, "message": "m"}}
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
