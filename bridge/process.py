"""Runs a command: signals that end it, and errors as one line, for people or of the log, and an exit code."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NoReturn

import click
import structlog
import uvloop

from bridge.errors import BridgeError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_NESTING = 20_000
"""Levels of JSON that can be read: Postgres ends at 16,000, by its own stack (``max_stack_depth``)."""

_STACK_BYTES = 64 * 1024 * 1024
"""Reading that many takes 8 MB."""


STOPPED = 130
"""Exit code of who was stopped before the end, as a shell has it for SIGINT."""


def run_command(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    *,
    insisted: Callable[[], None] = lambda: os._exit(STOPPED),
    reload: Callable[[], None] | None = None,
    is_logged: bool = False,
) -> None:
    """Run ``main`` with an event that SIGTERM, SIGINT, SIGHUP set; a second SIGTERM or SIGINT ends it.

    Errors that are expected end the process with one line that says what to do: code 2 for settings and what
    else the caller has to mend, 1 for what the machine refuses.

    Args:
        main: The command.
        insisted: Called at the second SIGTERM or SIGINT.
        reload: Called at SIGHUP instead, unless it says that the terminal is gone.
        is_logged: Its stderr is a log that programs read: errors are events of it, defects as well.
    """
    terminals = [number for number in range(3) if os.isatty(number)]

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal(*, insists: bool) -> None:
            if stop.is_set() and insists:
                insisted()
            stop.set()

        def on_hangup() -> None:
            if reload is None or not all(map(os.isatty, terminals)):
                stop.set()
            else:
                reload()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(on_signal, insists=True))
        # A terminal that is closed hangs up, often twice: that is no impatience.  nohup has it ignored.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, on_hangup)
        await main(stop)

    _read_deep_rows()
    try:
        uvloop.run(until_stopped())
    except Exception as error:
        # Not `except*`: what is raised in it (SystemExit) would be grouped again.
        errors = list(_leaves(error))
        if all(isinstance(one, BridgeError | OSError) for one in errors):
            fail(errors[0], is_logged=is_logged)
        if not is_logged:
            raise
        log.exception("service_failed", code=BridgeError.code)
        sys.exit(1)


def run_to_its_end(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run what ends by itself; SIGTERM, SIGINT or SIGHUP cancels it, so that a transaction is rolled back.

    Then the exit code is 130, and a line says that it has not ended.
    """
    stopped = False

    async def unless_stopped(stop: asyncio.Event) -> None:
        nonlocal stopped
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(work(), name="work")
            stopping = tasks.create_task(stop.wait(), name="stop")
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopped = working.cancel()
            stopping.cancel()

    run_command(unless_stopped)
    if stopped:
        click.echo("bridge: stopped before it had ended; what it was at was taken back", err=True)
        sys.exit(STOPPED)


def _read_deep_rows() -> None:
    """Let rows be read however deep their JSON nests: one that cannot be would keep all others from it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if sys.platform == "linux" and (soft != resource.RLIM_INFINITY and soft < _STACK_BYTES):
        if hard != resource.RLIM_INFINITY and hard < _STACK_BYTES:
            return
        # The main thread's stack grows up to this while it runs.
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, hard))
    elif sys.platform != "linux":
        return
    sys.setrecursionlimit(_NESTING)


def _leaves(error: Any) -> Any:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _advice(error: Any) -> str:
    number = error.errno or 0
    if number in (48, 98):  # address in use, on macOS and Linux
        return (
            "another process listens there, maybe another worker: stop it, or set BRIDGE_PORT and "
            "BRIDGE_ADMIN_PORT (of bridge demo: --port) to ports that are free"
        )
    if number < 0 or number in (8, 49, 99):  # no such name, no such address
        return "set BRIDGE_HOST and BRIDGE_ADMIN_HOST to addresses of this machine"
    if isinstance(error, PermissionError):
        return "ports below 1024 need a privilege; choose another port"
    return "see the log above"


def fail(error: BridgeError | OSError, *, is_logged: bool = False) -> NoReturn:
    """End the process with one line that says what to do: an event where the log is for programs."""
    if isinstance(error, BridgeError):
        code, says, exit_code = error.code, str(error), 2
    else:
        code, says, exit_code = "system", f"{error.strerror or error}: {_advice(error)}", 1
    if is_logged:
        log.error("service_failed", code=code, reason=says)
    else:
        click.echo(f"bridge: {says}", err=True)
    sys.exit(exit_code)
