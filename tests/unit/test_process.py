"""What a command's process is like."""

import subprocess
import sys

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
