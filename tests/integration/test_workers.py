"""`bridge run --workers`: real processes on one port, real clients, and nobody loses anything."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bridge.bench.stage import Stage
from bridge.listening import bind, free_ports
from bridge.local.stack import LocalStack
from bridge.supervisor import HUNG
from tests.support.faults import survives
from tests.support.stack import alive
from tests.support.worker import environment

RUN = [sys.executable, "-m", "bridge", "run", "--workers"]


def _workers(supervisor: int) -> set[int]:
    """The processes that a process has started."""
    return set(map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()))


async def _clients(stage: Stage) -> list[int]:
    """How many clients each process has."""
    async with httpx.AsyncClient() as http:
        urls = [f"http://127.0.0.1:{port}/connections" for port in stage.workers[0].admin_ports]
        return [len((await http.get(url)).json()) for url in urls]


async def _until_logged(stage: Stage, event: str, count: int = 1) -> None:
    log = stage.folder / "worker-0.log"
    async with asyncio.timeout(30):
        while log.read_text().count(f'"{event}"') < count:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.05)


async def test_nobody_loses_anything_while_processes_are_killed_and_replaced():
    """Clients are spread; one process is killed, then all are replaced, while others write; SIGTERM drains."""
    spread: list[list[int]] = []

    async def fault(stage: Stage) -> None:
        supervisor = stage.workers[0].pid
        spread.append(await _clients(stage))
        first = _workers(supervisor)
        os.kill(min(first), signal.SIGKILL)
        while alive(min(first)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.001)
        for port in stage.workers[0].admin_ports:  # also of the one that is away
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
                bind("127.0.0.1", port)
        await _until_logged(stage, "service_ready", 3)
        second = _workers(supervisor)
        assert len(first & second) == 1
        os.kill(supervisor, signal.SIGHUP)
        await _until_logged(stage, "reload_finished")
        assert not second & _workers(supervisor)
        spread.append(await _clients(stage))

    stage = await survives(fault, clients=20, rate=20.0, processes=2, BRIDGE_DRAIN_TIMEOUT_S="1")
    assert all(min(counts) > 0 for counts in spread), spread
    assert sum(page.resumes for page in stage.pages) >= len(stage.pages) / 2
    process = stage.workers[0]._process
    assert process is not None
    assert process.returncode == 0


def _run(count: int | str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*RUN, str(count)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_setting_that_a_worker_refuses_ends_all_of_them(stack: LocalStack):
    """With its error and its exit code, as `bridge run` itself."""
    done = _run(2, environment(stack, BRIDGE_TABLES="public.dialogs,public.nothing"))
    assert done.returncode == 2
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    failed = next(line for line in lines if line["event"] == "service_failed")
    assert (failed["code"], failed["worker"] in (1, 2)) == ("config", True)
    assert "public.nothing" in failed["reason"]
    ends = [line["event"] for line in lines]
    assert "worker_given_up" in ends  # before or after the other worker has said that it stopped
    assert ends[-1] == "workers_stopped"
    assert "worker_ended" not in ends


def test_an_admin_port_that_is_taken_is_named_before_anything_is_started(stack: LocalStack):
    """That of the second worker."""
    first, second = free_ports(2)
    with bind("127.0.0.1", second):
        done = _run(2, environment(stack, BRIDGE_ADMIN_PORT=str(first)))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{second}: " in done.stderr
    assert "workers_started" not in done.stderr


@pytest.mark.parametrize("count", ["0", "-1", "two"])
def test_what_is_no_number_of_workers_is_refused(stack: LocalStack, count: str):
    """With what it may be."""
    done = _run(count, environment(stack))
    assert done.returncode == 2
    assert "'--workers'" in done.stderr


@pytest.mark.parametrize(
    ("module", "code", "event", "level"),
    [
        ("bridge", 0, "service_stopped", "info"),
        ("tests.support.hanging_worker", HUNG, "worker_hung", "error"),
    ],
)
async def test_a_worker_ends_when_the_process_that_started_it_was_killed(
    stack: LocalStack, module: str, code: int, event: str, level: str
):
    """It drains by itself, for so long and no longer: nobody would restart it, and its port would be taken."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
    with ours, theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "run"),
            "--as-worker",
            "3",
            str(theirs.fileno()),
            env=environment(stack, BRIDGE_DRAIN_TIMEOUT_S="0.5"),
            pass_fds=[theirs.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            told = await asyncio.get_running_loop().sock_recv(ours, 1000)
    assert told.startswith(b"READY=1\n")
    async with asyncio.timeout(30):
        log = (await process.communicate())[1].decode()
    assert process.returncode == code
    last = json.loads(log.splitlines()[-1])
    assert (last["event"], last["worker"], last["level"]) == (event, 3, level)
