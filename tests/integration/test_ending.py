"""How `bridge run` ends before its time, or does not even start: what its log says then."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from bridge.listening import bind
from bridge.local.stack import LocalStack
from tests.support.worker import running_worker

RUN = ("bridge", "run")
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize(("command", "left"), [(RUN, "connections"), ((*RUN, "--workers", "2"), "workers")])
async def test_who_insists_is_told_what_was_left(stack: LocalStack, command: tuple[str, ...], left: str):
    """A second SIGTERM ends everything at once; the last line counts who was still there."""
    count = 1 if command == RUN else 2
    async with running_worker(stack, command=command, BRIDGE_DRAIN_TIMEOUT_S="60") as worker:
        await worker.logged("service_ready", count=count)
        clients = []
        for _ in range(200):  # one after the other is sent away: that takes ten seconds
            reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            clients.append(writer)
        worker.process.send_signal(signal.SIGTERM)
        await worker.logged("drain_started", count=count)
        worker.process.send_signal(signal.SIGTERM)
        said = await worker.logged("drain_cut_short")
        async with asyncio.timeout(20):
            assert await worker.process.wait() == 130
        for writer in clients:
            writer.close()
    assert said[left] in range(2, 201) if left == "connections" else said[left] in (1, 2)
    assert said["level"] == "warning"
    assert [line["event"] for line in worker.log][-1] == "drain_cut_short"


SETTINGS = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_SERVICE_ROLE_KEY": "k",
    "BRIDGE_PORT": "0",
    "BRIDGE_ADMIN_PORT": "0",
}


def _run(stderr: int = subprocess.PIPE, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_"))}
    environ = inherited | SETTINGS | settings
    command = [sys.executable, "-m", *RUN, *arguments]
    return subprocess.run(command, env=environ, stderr=stderr, text=True, timeout=60, check=False)


def test_who_reads_the_log_by_a_program_can_read_why_it_does_not_start():
    """Every line is JSON, with the text that people get; settings end with 2, what the machine refuses with 1."""
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        cannot = [f"cannot listen on 127.0.0.1:{port}: ", "set BRIDGE_PORT"]
        for done, exit_code, code, says in (
            (_run(BRIDGE_LOG_FORMAT="jsn"), 2, "config", ["FORMAT='jsn' is not", "choose json or console"]),
            (_run(BRIDGE_PORT=port), 1, "system", cannot),
            (_run(subprocess.PIPE, "--workers", "2", BRIDGE_PORT=port), 1, "system", cannot),
        ):
            *_, line = map(
                json.loads, done.stderr.splitlines()
            )  # before it, what the machine has too little of
            assert (done.returncode, line["event"], line["code"]) == (exit_code, "service_failed", code)
            assert all(part in line["reason"] for part in says), line
            assert line["level"] == "error"


def test_people_read_a_line_of_text():
    """On a terminal, whatever the format is, and where the log is for people."""
    done = _run(BRIDGE_LOG_FORMAT="console", BRIDGE_PROT="1")
    assert (done.returncode, done.stderr.startswith("bridge: BRIDGE_PROT is not a setting")) == (2, True)
    terminal, its_end = os.openpty()
    try:
        assert _run(its_end, BRIDGE_PROT="1").returncode == 2
        assert os.read(terminal, 1000).startswith(b"bridge: BRIDGE_PROT is not a setting")
    finally:
        os.close(terminal)
        os.close(its_end)
