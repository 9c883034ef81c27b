"""What comes back over HTTP."""

import datetime as dt

import pytest

from bridge.checking.project import Reached, check_answer, check_clock, check_url, http_date
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
