"""What the service manager hears."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.supervisor import HUNG, LISTENS, LIVE, Supervisor


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that a service manager would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_assignments_come_as_one_datagram(ear: socket.socket):
    """A line each."""
    Supervisor.from_environment({"NOTIFY_SOCKET": ear.getsockname()}).tell("READY=1", "STATUS=so")
    assert ear.recv(100) == b"READY=1\nSTATUS=so"


def test_an_abstract_socket_is_found():
    """Its name begins with @ in the environment."""
    name = f"bridge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        Supervisor.from_environment({"NOTIFY_SOCKET": f"@{name}"}).tell("STOPPING=1")
        assert listening.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": ""}])
def test_nobody_who_listens_is_no_error(environ: dict[str, str]):
    """Without systemd the worker runs as ever."""
    Supervisor.from_environment(environ).tell("READY=1")


async def test_the_watchdog_is_told_within_its_time(ear: socket.socket):
    """Three times, so that one may be late; not if it is of another process, or not wanted."""
    ear.setblocking(False)  # noqa: FBT003 - the standard library's signature
    watched = {"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "300000"}
    for environ in (
        watched | {"WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": ear.getsockname()},
        {"WATCHDOG_USEC": "1"},
    ):
        await Supervisor.from_environment(environ).reassure()
    mine = Supervisor.from_environment(watched | {"WATCHDOG_PID": str(os.getpid())})
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        reassuring = tasks.create_task(mine.reassure())
        started_s = loop.time()
        for _ in range(3):
            assert await loop.sock_recv(ear, 100) == b"WATCHDOG=1"
        assert loop.time() - started_s >= 0.19
        reassuring.cancel()


def test_a_channel_keeps_messages_apart_and_may_be_closed():
    """What another process reads is what was told; that it is gone is no error."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        supervisor = Supervisor.over(theirs, {"WATCHDOG_USEC": "500000"})
        assert supervisor.watchdog_s == 0.5
        supervisor.tell(LISTENS)
        supervisor.tell(LIVE, "STATUS=so")
        with ours:
            assert (ours.recv(100), ours.recv(100)) == (b"READY=1", b"X_LIVE=1\nSTATUS=so")
        supervisor.tell("STOPPING=1")


_HANG = """
import asyncio, socket, sys, time
from bridge import logs
from bridge.process import run_command
from bridge.supervisor import stop_with

async def main(stop):
    stop_with(channel, stop, limit_s=0.3)
    channel.send(b"up")
    match sys.argv[2]:
        case "none":
            await stop.wait()
        case "loop":
            time.sleep(60)
        case "task":
            await asyncio.sleep(60)

logs.configure(log_format="json", level="info")
channel = socket.socket(fileno=int(sys.argv[1]))
run_command(main, insisted=lambda: None)
"""


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [("none", 0, []), ("loop", HUNG, ["worker_hung"]), ("task", HUNG, ["worker_hung"])],
)
def test_who_has_nobody_left_who_would_stop_it_ends(what: str, code: int, says: list[str]):
    """In order if it can; if its loop hangs, or what it waits for, after its time."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-c", _HANG, str(theirs.fileno()), what]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True)
    with ours:
        ours.settimeout(20)
        assert ours.recv(10) == b"up"
        with pytest.raises(subprocess.TimeoutExpired):  # not before
            process.wait(0.4)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert [json.loads(line)["event"] for line in said.splitlines()] == says
