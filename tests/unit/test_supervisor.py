"""What the service manager hears."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.supervisor import LISTENS, LIVE, Supervisor, stop_with


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


async def test_the_end_of_the_channel_stops_the_worker():
    """Once; nothing is read from it before."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        stop = asyncio.Event()
        stop_with(theirs, stop)
        await asyncio.sleep(0)
        assert not stop.is_set()
        ours.close()
        async with asyncio.timeout(5):
            await stop.wait()
        assert not asyncio.get_running_loop().remove_reader(theirs)
