"""What comes back over HTTP."""

import asyncio
import datetime as dt

import httpx
import pytest

from bridge.checking.project import Reached, check_answer, check_clock, check_url, http_date, reach
from bridge.clock import ManualClock
from bridge.config import Config
from bridge.errors import RpcError, SourceError
from bridge.minting import mint_key

NOW = ManualClock().now()
CONFIG = Config(supabase_url="https://abc.supabase.co", service_role_key="sb_secret_x")


def _migrate(name: str) -> str:
    return f"bridge migrate   # {name}"


@pytest.mark.parametrize(
    ("off_s", "status", "says"),
    [
        (0, "ok", ""),
        (4, "ok", ""),
        (20, "warning", "20 s ahead"),
        (-20, "warning", "20 s behind"),
        (600, "fail", ""),
    ],
)
def test_clocks_are_compared(off_s: int, status: str, says: str) -> None:
    """A minute apart, new tokens do not count."""
    found = check_clock("project", NOW - dt.timedelta(seconds=off_s), NOW)
    assert (found.status, says in found.says) == (status, True)


def test_a_date_is_read_as_http_writes_it() -> None:
    """What is none is not guessed."""
    assert http_date("Thu, 01 Jan 2026 00:00:00 GMT") == NOW
    assert http_date("now") is None
    assert check_clock("project", http_date(""), NOW).status == "not_checked"


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        ("401", "export SUPABASE_SERVICE_ROLE_KEY="),
        ("PGRST301", "export SUPABASE_SERVICE_ROLE_KEY="),
        ("PGRST202", "bridge migrate"),
        ("42501", "grant execute on function"),
        ("404", "export SUPABASE_URL="),
        ("57014", "try again"),
    ],
)
def test_an_answer_has_its_fix(answer: str, fix: str) -> None:
    """By the code that Postgres, PostgREST or the gateway gave."""
    found = check_answer(CONFIG, RpcError("it failed (x): try again", answer=answer), _migrate)
    assert (found.status, fix in found.fix) == ("fail", True)


def test_what_is_no_answer_of_a_function_is_said_as_it_is() -> None:
    """A catalog of another version; and a URL where nothing is."""
    assert check_answer(CONFIG, SourceError("other form: apply sql/"), _migrate).fix == "apply sql/"
    assert check_answer(CONFIG, None, _migrate).status == "ok"
    assert "not paused" in check_url(CONFIG, Reached(error="no such host")).fix
    assert check_url(CONFIG, Reached(date="x")).status == "ok"


@pytest.mark.parametrize("answer", ["42501", "22023"])
def test_a_role_that_is_not_there_is_made_by_its_file(answer: str) -> None:
    """PostgREST may not take it on, or it may not call the functions."""
    key = mint_key("s" * 32, role="bridge_worker", now=NOW)
    config = Config(supabase_url="http://127.0.0.1:8000", service_role_key=key)
    found = check_answer(config, RpcError("it failed (x): try again", answer=answer), _migrate)
    assert found.fix == "bridge migrate   # worker_role"


@pytest.mark.parametrize(
    ("head", "says", "fix"),
    [
        (
            "301 Moved\r\nLocation: https://abc.supabase.co/rest/v1/",
            "sends everybody to",
            "=https://abc.supabase.co",
        ),
        ("540 Paused\r\nContent-Type: application/json", "HTTP 540: it is paused", "not paused?"),
        ("200 OK\r\nContent-Type: text/html; charset=utf-8", "a web page is there", "is abc right"),
        ("401 Unauthorized\r\nContent-Type: application/json", "", ""),
    ],
)
async def test_what_answers_and_is_no_project_is_not_asked_further(head: str, says: str, fix: str) -> None:
    """It would be said of the key that it is refused, or of sql/ that it is old."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, httpx.AsyncClient() as http:
        reached = await reach(http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    found = check_url(CONFIG, reached)
    assert (found.status, bool(reached.error)) == (("fail", True) if says else ("ok", False))
    assert says in found.says
    assert fix in found.fix
