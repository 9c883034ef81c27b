"""Worker processes are started, restarted and replaced; what stands for them here does as it is told."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge import workers as module
from bridge.config import Config
from bridge.supervisor import Supervisor
from bridge.workers import Workers
from tests.support.stack import alive

_STAND_IN = """
import os, signal, socket, sys, time
number, channel = int(sys.argv[-2]), socket.socket(fileno=int(sys.argv[-1]))
folder = os.environ["FOLDER"]
with open(f"{folder}/starts", "a") as starts:
    starts.write(f"{number}\\n")
does = open(f"{folder}/does").read().replace("$", str(number))
exec(does)
"""

WORK = "channel.send(b'READY=1\\nSTATUS=so'); channel.send(b'X_LIVE=1'); channel.recv(1)"
CONFIG = Config(supabase_url="http://x", service_role_key="k", port=0, admin_port=0, drain_timeout_s=1)


class Place:
    """Workers that run, and what they told."""

    def __init__(self, folder: Path, watchdog_s: float | None) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.stop = asyncio.Event()
        self.workers = Workers(
            CONFIG,
            2,
            supervisor=Supervisor(lambda words: self.told.append(words.decode()), watchdog_s),
            environ={**os.environ, "FOLDER": str(folder), "NOTIFY_SOCKET": "ours"},
            command=[sys.executable, "-S", "-c", _STAND_IN],
        )

    def does(self, code: str) -> None:
        """Say what workers do that are started from now on."""
        (self.folder / "does").write_text(code)

    def starts(self) -> list[str]:
        """Numbers of the workers that were started."""
        return (self.folder / "starts").read_text().split()

    def pids(self) -> dict[int, int]:
        return {number: child.process.pid for number, child in self.workers._current.items()}

    def ready(self) -> bool:
        return any(words.startswith("READY=1\n") for words in self.told)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.01)


@pytest.fixture
def running(tmp_path: Path) -> Callable[..., Awaitable[Place]]:
    """Run two workers until the block ends."""

    @asynccontextmanager
    async def run(does: str = WORK, watchdog_s: float | None = None) -> AsyncIterator[Place]:
        place = Place(tmp_path, watchdog_s)
        place.does(does)
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(place.workers.run(place.stop))
            yield place
            place.stop.set()
            await serving
        assert all(child.process.returncode is not None for child in place.workers._children)

    return run


async def test_ready_is_told_once_all_of_them_listen(running):
    """And at the end that they stop; each has ports of its own, and no service manager but this one."""
    wait = f"\nwhile $ == 2 and not os.path.exists(folder + '/go'): time.sleep(0.01)\n{WORK}"
    write = "open(folder + '/env$', 'w').write(repr(dict(os.environ)))"
    async with running(write + wait) as place:
        await until(lambda: len(place.workers._listening) == 1)
        assert not place.ready()
        (place.folder / "go").touch()
        await until(place.ready)
        environ = eval((place.folder / "env2").read_text())  # noqa: S307 - our own
        assert "NOTIFY_SOCKET" not in environ
        assert int(environ["BRIDGE_PORT"]) > 0
    assert [words.partition("\n")[0] for words in place.told] == ["READY=1", "STOPPING=1"]
    assert place.workers.code == 0


async def test_a_worker_that_was_killed_is_started_again(running):
    """The other one goes on; being ready is not told twice."""
    async with running() as place:
        await until(place.ready)
        before = place.pids()
        os.kill(before[1], signal.SIGKILL)
        await until(lambda: place.pids()[1] != before[1])
        await until(lambda: place.workers._current[1].was_live)
        assert place.pids()[2] == before[2]
    assert [words.partition("\n")[0] for words in place.told] == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("does", ["sys.exit(2 * ($ == 1))", f"if $ == 1: sys.exit(2)\n{WORK}"])
async def test_a_worker_that_cannot_start_ends_all_of_them(running, does: str):
    """With its exit code, and without another try."""
    async with running(does) as place:
        with capture_logs() as logs:
            await until(place.workers._gave_up.is_set)
    assert place.workers.code == 2
    assert place.starts().count("1") == 1
    assert [line["code"] for line in logs if line["event"] == "worker_given_up"] == [2]


async def test_a_reload_replaces_one_after_the_other(running):
    """The former one is there until its successor relays changes."""
    count = "import glob; open(f'{folder}/$.{os.getpid()}', 'w').close()\n"
    seen = "open(f'{folder}/seen', 'a').write(f'{len(glob.glob(folder + \"/*.*\"))}\\n')\n"
    leave = (
        "signal.signal(signal.SIGTERM, lambda *_: (os.unlink(f'{folder}/$.{os.getpid()}'), os._exit(0)))\n"
    )
    async with running(count + leave + seen + WORK) as place:
        await until(lambda: len(place.workers._listening) == 2)
        before = place.pids()
        with capture_logs() as logs:
            place.workers.reload()
            await until(lambda: "reload_finished" in [line["event"] for line in logs])
        after = place.pids()
        assert not set(before.values()) & set(after.values())
        assert not any(map(alive, before.values()))
        assert (place.folder / "seen").read_text().split()[-2:] == ["3", "3"]
        assert place.starts() == ["1", "2", "1", "2"] or place.starts() == ["2", "1", "1", "2"]


@pytest.mark.parametrize("does", ["sys.exit(1)", "channel.send(b'READY=1'); channel.recv(1)"])
async def test_what_cannot_start_replaces_nobody(running, monkeypatch: pytest.MonkeyPatch, does: str):
    """Nor what does not relay changes in time: those that are there stay."""
    monkeypatch.setattr(module, "LIVE_LIMIT_S", 0.3)
    async with running() as place:
        await until(place.ready)
        before = place.pids()
        place.does(does)
        with capture_logs() as logs:
            place.workers.reload()
            await until(lambda: "reload_given_up" in [line["event"] for line in logs])
        assert place.pids() == before
        assert all(map(alive, before.values()))
        place.does(WORK)
        place.workers.reload()
        await until(lambda: not set(place.pids().values()) & set(before.values()))
    assert place.workers.code == 0


async def test_a_worker_that_hangs_is_killed_and_started_again(running):
    """Where the service manager wants to hear from us, we want to hear from them."""
    lively = WORK.replace("channel.recv(1)", "\nwhile 1: channel.send(b'WATCHDOG=1'); time.sleep(0.1)")
    async with running(lively, watchdog_s=0.6) as place:
        await until(place.ready)
        before = place.pids()
        os.kill(before[2], signal.SIGSTOP)
        await until(lambda: place.pids()[2] != before[2])
        assert place.pids()[1] == before[1]
    assert "WATCHDOG=1" in place.told


async def test_a_worker_that_does_not_leave_is_killed(running, monkeypatch: pytest.MonkeyPatch):
    """After the time that it has to drain, and some more."""
    monkeypatch.setattr(module, "END_GRACE_S", -0.8)
    async with running(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORK + "\ntime.sleep(60)"
    ) as place:
        await until(place.ready)
        pids = place.pids().values()
    assert not any(map(alive, pids))
