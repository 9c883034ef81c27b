"""``bridge bench``: its commands, each with its settings; what they do stands in modules of their own."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import click
import msgspec

from bridge import logs
from bridge.process import run_command

_Command = TypeVar("_Command", bound=Callable[..., Any])

_SOME = click.IntRange(min=1)
_MORE_THAN_0 = click.FloatRange(min=0, min_open=True)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
_CONNECTIONS = click.option(
    "--connections", type=_SOME, default=1000, show_default=True, help="Clients, each of another user."
)
_RECIPIENTS = click.option(
    "--recipients", "audience", type=_SOME, default=10, show_default=True, help="Who gets a change."
)


def _seconds(default: float) -> Callable[[_Command], _Command]:
    return click.option(
        "--seconds",
        type=_MORE_THAN_0,
        default=default,
        show_default=True,
        help="How long messages are fed in one run.",
    )


def _rounds(default: int, shown: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--rounds", type=_SOME, default=default, show_default=True, help=f"Runs of each; {shown} shown."
    )


def _rate(default: float) -> Callable[[_Command], _Command]:
    return click.option(
        "--rate", type=_MORE_THAN_0, default=default, show_default=True, help="Changes a second."
    )


@click.group()
def bench() -> None:
    """Speed, and load and fault tests, against a stack of their own."""


@bench.command()
@_CONNECTIONS
@click.option(
    "--recipients",
    "audiences",
    multiple=True,
    type=_SOME,
    help="Who gets a change; can be repeated  [10, 100, 1000]",
)
@_seconds(0.5)
@_rounds(1, "the medians are")
@click.option("--server", "servers", multiple=True, help="Only this server; can be repeated.")
@_AS_JSON
def fanout(
    connections: int,
    audiences: Sequence[int],
    seconds: float,
    rounds: int,
    servers: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Deliveries a second from a captured change to its clients, beside Node and ws, Bun, and C.

    The server has one core, the load generator and all else the other one.
    """
    from bridge.bench.arena import SERVERS  # noqa: PLC0415 - a worker should not load the bench
    from bridge.bench.fanout import AUDIENCES, fanout  # noqa: PLC0415 - as above

    _refuse_unknown(servers, SERVERS)
    _refuse_more(max(audiences, default=0), connections)
    _print(
        lambda: fanout(
            connections=connections,
            audiences=audiences or [one for one in AUDIENCES if one <= connections],
            seconds=seconds,
            rounds=rounds,
            servers=servers or SERVERS,
            say=_say,
        ),
        as_json=as_json,
    )


@bench.command()
@_CONNECTIONS
@_RECIPIENTS
@_rate(2000.0)
@_seconds(5.0)
@_rounds(3, "the medians are")
@click.option("--server", "servers", multiple=True, help="Only this server; can be repeated  [bridge, c]")
@_AS_JSON
def latency(servers: Sequence[str], *, as_json: bool, **settings: Any) -> None:
    """Milliseconds from a captured change to its clients, beside the plain-socket server."""
    from bridge.bench.arena import SERVERS  # noqa: PLC0415 - a worker should not load the bench
    from bridge.bench.latency import latency  # noqa: PLC0415 - as above

    _refuse_unknown(servers, SERVERS)
    _refuse_more(settings["audience"], settings["connections"])
    _print(lambda: latency(**settings, servers=servers or ("bridge", "c"), say=_say), as_json=as_json)


@bench.command()
@click.option(
    "--connections", type=_SOME, default=10_000, show_default=True, help="Clients, four for each user."
)
@_AS_JSON
def idle(connections: int, *, as_json: bool) -> None:
    """Memory of an idle connection: resident bytes of the worker for each."""
    from bridge.bench.crowd import idle  # noqa: PLC0415 - a worker should not load the bench

    _print(lambda: idle(connections=connections), as_json=as_json)


@bench.command()
@click.option("--connections", "sizes", multiple=True, type=_SOME, help="Can be repeated  [100, 10000]")
@_rate(1000.0)
@_seconds(5.0)
@_rounds(3, "the least is")
@_AS_JSON
def cost(sizes: Sequence[int], *, as_json: bool, **settings: Any) -> None:
    """Processor time of a change for ten recipients, as more are connected who get nothing."""
    from bridge.bench.crowd import cost  # noqa: PLC0415 - a worker should not load the bench

    _print(lambda: cost(sizes=sizes or (100, 10_000), **settings), as_json=as_json)


@bench.command()
@click.option(
    "--clients", type=_SOME, default=10_000, show_default=True, help="Clients, each of another user."
)
@_RECIPIENTS
@click.option(
    "--missed", type=_SOME, default=2_000, show_default=True, help="Events that all of them have missed."
)
@_AS_JSON
def storm(*, as_json: bool, **settings: Any) -> None:
    """Time until clients that come back all at once, with a cursor, have what they missed."""
    from bridge.bench.crowd import storm  # noqa: PLC0415 - a worker should not load the bench

    _print(lambda: storm(**settings), as_json=as_json)


@bench.command()
@click.option(
    "--changes", type=_SOME, default=100_000, show_default=True, help="How many are taken over each."
)
@_AS_JSON
def capture(changes: int, *, as_json: bool) -> None:
    """Changes a second that the upstream side takes, over WAL and over Realtime."""
    from bridge.bench.capturing import capture  # noqa: PLC0415 - a worker should not load the bench

    _print(lambda: capture(changes=changes), as_json=as_json)


@bench.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long writers and faults go on.")
@click.option("--clients", default=500, show_default=True, help="Clients, each of another user.")
@click.option("--polling", default=100, show_default=True, help="How many of them use long polling.")
@click.option("--rate", default=200.0, show_default=True, help="Changes a second.")
@click.option("--fault-every", default=5.0, show_default=True, help="Seconds between faults; 0 for none.")
@click.option(
    "--drop-every", default=2.0, show_default=True, help="Seconds until 1 in 20 clients is cut off."
)
@click.option("--workers", default=1, show_default=True, help="Workers; a client comes back to any of them.")
@click.option(
    "--processes", default=1, show_default=True, help="Processes that share the port of each worker."
)
@click.option("--nginx", "balanced", is_flag=True, help="Before the workers; without it clients choose one.")
@click.option(
    "--upstream",
    type=click.Choice(["realtime", "wal"]),
    envvar="BRIDGE_UPSTREAM",
    default="realtime",
    show_default=True,
)
@click.option("--fault", "only", multiple=True, help="Only this fault, by its name; can be repeated.")
@click.option("--spare-workers", is_flag=True, help="Kill no worker, to compare its memory.")
@click.option("--seed", default=1, show_default=True, help="Makes the choices the same again.")
def soak(**settings: Any) -> None:
    """Show that nothing is lost, doubled or leaked while everything fails; exit 1 if something is."""
    from bridge.bench.soak import Settings, soak  # noqa: PLC0415 - a worker should not load the bench

    logs.configure(log_format="console", level="warning")
    failed = True

    async def run_it(_stop: asyncio.Event) -> None:
        nonlocal failed
        every = {"fault_every_s": settings.pop("fault_every"), "drop_every_s": settings.pop("drop_every")}
        outcome = await soak(Settings(**settings, **every), say=_say)
        for name, size in outcome.memory.items():
            _say(f"memory of worker {name}: {size:.1f} MB")
        _say(f"from commit to client: {outcome.delay_s * 1000:.1f} ms (median)")
        _say(f"clients that had to read again: {outcome.rereads}")
        if settings["balanced"]:
            _say(f"clients that were answered by another worker than before: {outcome.moves}")
        click.echo(outcome.line())
        failed = outcome.verdict.failed

    run_command(run_it)
    if failed:
        sys.exit(1)


def _refuse_more(recipients: int, connections: int) -> None:
    if recipients > connections:
        raise click.BadParameter(f"--recipients {recipients} is more than --connections {connections}")


def _refuse_unknown(servers: Sequence[str], known: Sequence[str]) -> None:
    for server in servers:
        if server not in known:
            raise click.BadParameter(f"--server {server} is none of {', '.join(known)}")


def _print(measure: Callable[[], Coroutine[Any, Any, Sequence[msgspec.Struct]]], *, as_json: bool) -> None:
    """Measure, and print what was found."""
    from bridge.bench.report import table  # noqa: PLC0415 - a worker should not load the bench

    logs.configure(log_format="console", level="warning")

    async def until_stopped(stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            measuring = tasks.create_task(measure(), name="bench")
            stopping = tasks.create_task(stop.wait(), name="stop")
            await asyncio.wait([measuring, stopping], return_when=asyncio.FIRST_COMPLETED)
            measuring.cancel()
            stopping.cancel()
        if not measuring.cancelled():
            rows = measuring.result()
            click.echo(msgspec.json.encode(rows).decode() if as_json else table(rows))

    run_command(until_stopped)


def _say(line: str) -> None:
    click.echo(line, err=True)
