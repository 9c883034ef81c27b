"""Open files: the limit of a real process, and what it says where there are too few."""

import asyncio
import json
import os
import resource
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from bridge import descriptors
from bridge.clock import SystemClock
from bridge.descriptors import OpenFiles, needed_files, suffices

_START = """
import resource, sys
from bridge.descriptors import raise_limit
from bridge.logs import configure
configure(log_format="json", level="info")
raise_limit(300)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "reached", "events"),
    [(200, 400, 300, []), (200, 250, 250, ["open_files_few"]), (350, 400, 350, [])],
    ids=["raised", "as far as it goes", "enough"],
)
def test_the_limit_is_raised_to_what_is_needed(soft: int, hard: int, reached: int, events: list[str]):
    """Where the system does not let it, the start says so, with both figures."""
    ended = subprocess.run(
        [sys.executable, "-c", _START],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (int(ended.stdout), [line["event"] for line in said]) == (reached, events)
    assert [(line["limit"], line["needed"]) for line in said] == [(hard, 300)] * len(events)


def test_what_is_needed_is_more_than_the_connections():
    """The database, the log, the ports."""
    assert needed_files(1000) > 1000
    assert suffices(resource.RLIM_INFINITY, 1000)
    assert not suffices(999, 1000)


async def test_files_that_run_out_are_said_once_and_seen_to_come_back(monkeypatch: pytest.MonkeyPatch):
    """Whoever asks for readiness hears of it while it lasts."""
    monkeypatch.setattr(descriptors, "LOOK_S", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OpenFiles(SystemClock())
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    with capture_logs() as logs:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(files.watch())
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
                while not files.are_exhausted:  # noqa: ASYNC110 - looked at, as readiness does
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            while files.are_exhausted:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            watching.cancel()
    assert [(e["event"], e["limit"]) for e in logs] == [("open_files_exhausted", probe)]
