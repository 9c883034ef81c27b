"""Logs: no token, no key, no row gets into them."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing

from bridge.logs import configure, log_unhandled, redact

ROW = "a-row"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """What the test configures is the test's."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize(
    "event",
    [
        {"token": "canary"},
        {"apikey": "canary"},
        {"service_role_key": "canary"},
        {"jwt_secret": "canary"},
        {"access_token": "canary"},
        {"Authorization": "Bearer canary"},
        {"headers": {"authorization": "canary", "x": [f"Bearer {TOKEN}"]}},
        {"reason": f"refused {TOKEN} of somebody"},
        {"url": f"wss://abc/websocket?apikey={TOKEN}"},
        {"reason": "refused sb_secret_canary_0123456789abcdef"},
        {"database": "postgresql://postgres:canary@db.abc/postgres"},
        {"parts": ({"key": "canary"}, TOKEN)},
        {"reason": ValueError(TOKEN)},
    ],
)
def test_secrets_are_taken_out(event: dict[str, Any]) -> None:
    """By the name of their field, at any depth, and by their form in any text."""
    text = json.dumps(redact(None, "info", dict(event)))

    assert "canary" not in text
    assert TOKEN not in text
    assert "[redacted]" in text


def test_other_fields_stay_as_they_are() -> None:
    """Numbers, names and ids are what a log is for."""
    event = {
        "event": "connection_closed",
        "close_code": 4401,
        "user_id": "00000000-0000-0000-0000-00000000000a",
        "table": "public.messages",
        "tables": ("public.dialogs", "public.messages"),
        "retry_in_s": 0.5,
        "monkey": "banana",
        "url": "http://127.0.0.1:3002/ws",
        "nothing": None,
    }

    assert redact(None, "info", dict(event)) == event


def test_json_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with time and level, redacted; less severe events are left out."""
    configure(log_format="json", level="info")
    log = structlog.get_logger()
    log.debug("frame_received")
    log.info("connection_opened", connection_id="c1", token="canary")
    out, err = capsys.readouterr()
    line = json.loads(err)

    assert out == ""
    assert (line["event"], line["level"], line["connection_id"]) == ("connection_opened", "info", "c1")
    assert line["timestamp"].endswith("Z")
    assert "canary" not in err


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_line_is_written_at_once(log_format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the lines of workers that share an unbuffered stderr mix, and no program can read them."""
    written: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", written.append)
    configure(log_format=log_format, level="info")
    structlog.get_logger().info("service_ready", port=3002)

    (line,) = written
    assert line.count("\n") == 1
    assert line.endswith("\n")


def test_a_traceback_is_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    """An exception's text can hold a token."""
    configure(log_format="json", level="info")
    try:
        int(TOKEN)
    except ValueError:
        structlog.get_logger().exception("load_failed")

    err = capsys.readouterr().err
    assert "ValueError" in err
    assert TOKEN not in err


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Without colours where nobody looks at a terminal."""
    configure(log_format="console", level="warning")
    structlog.get_logger().warning("rls_disabled", table="public.x")

    err = capsys.readouterr().err
    assert "rls_disabled" in err
    assert "\x1b" not in err


def test_talkative_libraries_are_silent() -> None:
    """They log frames, rows, or URLs with keys."""
    configure(log_format="json", level="debug")

    assert not logging.getLogger("realtime._async.client").isEnabledFor(logging.ERROR)  # noqa: TID251 - asked
    assert not logging.getLogger("websockets.server").isEnabledFor(logging.ERROR)  # noqa: TID251 - asked


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_log_that_nobody_can_read_any_more_stops_nothing(log_format: Any, monkeypatch: pytest.MonkeyPatch):
    """Its terminal is closed, or its pipe."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure(log_format=log_format, level="info")
        structlog.get_logger().info("service_ready", filling="x" * 100_000)
        monkeypatch.undo()
        with pytest.raises(OSError, match="space"):
            print("as it was", file=full, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


async def test_what_a_callback_of_the_loop_raises_is_said_without_its_words() -> None:
    """Asyncio's own logger is silent: it prints what it was about."""

    def fail() -> None:
        raise KeyError(ROW)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_unhandled)
    with structlog.testing.capture_logs() as logs:
        loop.call_soon(fail)
        loop.call_exception_handler({"message": ROW, "future": loop.create_future()})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert [(e["event"], e["error"]) for e in logs] == [("connection_crashed", "KeyError")]
    assert "in fail" in logs[0]["stack"]
    assert ROW not in str(logs)
