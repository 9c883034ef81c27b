"""`bridge bench`, run small: whether it counts exactly; how fast anything is, no test asks."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from bridge.bench.load import figures
from bridge.errors import SourceError


def _bench(*arguments: str, **settings: str) -> list[dict]:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "bench", *arguments, "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | settings,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fanout_counts_what_each_server_delivers():
    """A line for each server and size of audience; what is not delivered exactly once would have failed it."""
    servers = ["bridge", "c", *(["node-ws"] if shutil.which("npm") else [])]

    lines = _bench(
        "fanout",
        "--connections",
        "20",
        "--recipients",
        "2",
        "--recipients",
        "20",
        "--seconds",
        "0.1",
        *(option for server in servers for option in ("--server", server)),
    )

    assert {(line["server"], line["recipients"]) for line in lines} == {
        (s, n) for s in servers for n in (2, 20)
    }
    assert all(line["deliveries_per_s"] > 0 for line in lines)
    ratios = {line["server"]: line["ratio_to_node"] for line in lines}
    assert ratios.get("node-ws", 1.0) == 1.0


def test_a_frame_too_few_or_too_many_fails_the_run():
    """Figures of a run that lost something are no figures."""
    counted = (
        b'{"connections":2,"fed":3,"expected":6,"counted":5,"wrong":1,"pings":0,"seconds":0.1,'
        b'"p50_us":0,"p99_us":0,"max_us":0}'
    )
    with pytest.raises(SourceError, match="1 of 2 connections"):
        figures(counted, 1)


def test_the_storm_ends_when_everybody_has_what_was_missed():
    """It fails by itself where a frame is missing; compressed frames count as others do."""
    [storm] = _bench(
        "storm", "--clients", "30", "--recipients", "3", "--missed", "60", BRIDGE_COMPRESSION="deflate"
    )
    assert storm["clients"] == 30
    assert storm["missed_events"] >= 60


def test_captured_changes_all_arrive():
    """Over both upstreams; one that did not would be waited for."""
    assert [(line["upstream"], line["changes"]) for line in _bench("capture", "--changes", "2000")] == [
        ("wal", 2000),
        ("realtime", 2000),
    ]
