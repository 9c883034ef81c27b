"""What a command's process is like."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_READ = """
import asyncio, msgspec
from bridge.process import run_command

async def main(_stop):
    for text in ("[" * 16_500 + "]" * 16_500, '{"a":' * 16_500 + "1" + "}" * 16_500):
        row = msgspec.json.decode(text)
        assert msgspec.json.decode(msgspec.json.encode(row)) == row
    print("read")

run_command(main)
"""


def test_rows_that_nest_as_deep_as_postgres_allows_are_read():
    """Also where the process was given a small stack."""
    limited = ["bash", "-c", 'ulimit -S -s 1024 && exec "$0" "$@"', sys.executable, "-c", _READ]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr[-500:]


_HANG_UP = """
import asyncio, fcntl, sys, termios
from bridge.process import run_command

async def main(stop):
    print("started", file=log, flush=True)
    await stop.wait()
    print("stopped", file=log, flush=True)

log = open(sys.argv[1], "a")
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
run_command(main, reload=lambda: print("reloaded", file=log, flush=True))
"""


def test_hanging_up_reloads_unless_the_terminal_is_gone(tmp_path: Path):
    """SIGHUP has two meanings: an operator's, and that of a terminal that was closed."""
    log = tmp_path / "log"
    master, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _HANG_UP, str(log)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        _until(lambda: log.exists() and log.read_text() == "started\n")
        process.send_signal(signal.SIGHUP)
        _until(lambda: log.read_text() == "started\nreloaded\n")
        os.close(master)  # the kernel tells the session's leader
        assert process.wait(20) == 0
    assert log.read_text() == "started\nreloaded\nstopped\n"


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come to that")


_WAIT = """
import asyncio
from bridge.process import run_to_its_end

async def work():
    print("at work", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("taken back", flush=True)

run_to_its_end(work)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_by_itself_can_be_stopped_before(number: signal.Signals):
    """The first signal is enough, what was begun is taken back, and the exit code tells."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WAIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "taken back\n")
    assert err.startswith("bridge: stopped before it had ended")
    assert "Traceback" not in err


_FAIL = """
import asyncio, sys
from bridge import logs
from bridge.process import run_command

async def main(stop):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())

async def fail():
    raise ValueError("postgresql://postgres:canary@db/postgres")

logs.configure(log_format="json", level="error")
run_command(main, is_logged=len(sys.argv) > 1)
"""


def test_a_defect_is_an_event_of_a_log_that_programs_read():
    """In one line with its traceback, without what has the form of a secret; for people it is a traceback."""
    logged, shown = (
        subprocess.run([sys.executable, "-c", _FAIL, *more], capture_output=True, text=True, check=False)
        for more in (("logged",), ())
    )
    line = json.loads(logged.stderr)
    assert (line["event"], line["code"]) == ("service_failed", "internal")
    assert "ValueError" in line["exception"]
    assert "canary" not in logged.stderr
    assert shown.stderr.lstrip(" +").startswith("Exception Group Traceback")
    assert (logged.returncode, shown.returncode) == (1, 1)
