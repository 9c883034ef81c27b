"""What a command's process is like."""

import signal
import subprocess
import sys

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
