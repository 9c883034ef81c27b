"""Deliveries a second: the bridge's whole way of a captured change, beside servers that only send.

The load generator feeds each server as fast as it takes messages and counts the frames of every connection;
one too few or too many anywhere fails the run.  The bridge gets what a replication slot sends, and decodes,
authorizes, encodes and writes it; the others get text that is ready to be sent, and who is to get it.
"""

import random
import statistics
from collections.abc import Callable, Sequence

import msgspec

from bridge.bench.arena import SERVERS, Arena, Running, World, arena
from bridge.bench.load import loading

AUDIENCES = (10, 100, 1000)
MOST_PER_S = 2_000_000
"""Deliveries that no server makes: so many are prepared."""

MOST_CHANGES_PER_S = 50_000
DIALOGS = {10: 1000, 100: 100, 1000: 1}


class Row(msgspec.Struct, frozen=True):
    """One line of the table; ``ratio_to_node`` is None where Node was left out."""

    server: str
    recipients: int
    deliveries_per_s: int
    ratio_to_node: float | None


def world_of(
    connections: int, audiences: Sequence[int], *, seed: int = 1
) -> tuple[World, dict[int, list[int]]]:
    """Return users with dialogs of each size, and the numbers of the dialogs by size."""
    chooser = random.Random(seed)  # noqa: S311 - to be the same again
    groups: list[list[int]] = []
    of_size: dict[int, list[int]] = {}
    for audience in audiences:
        of_size[audience] = []
        for _ in range(DIALOGS.get(audience, 100)):
            of_size[audience].append(len(groups))
            groups.append(sorted(chooser.sample(range(connections), audience)))
    return World(connections, groups), of_size


async def fanout(
    *,
    connections: int,
    audiences: Sequence[int],
    seconds: float,
    rounds: int,
    servers: Sequence[str] = SERVERS,
    say: Callable[[str], None],
) -> list[Row]:
    """Measure every server with every size of audience; medians of the rounds.

    Raises:
        SourceError: something did not start, or was delivered more or less than once.
    """
    world, of_size = world_of(connections, audiences)
    measured: dict[tuple[int, str], list[float]] = {}
    async with arena(world) as place:
        running = await start(place, servers, say)
        for _ in range(rounds):
            for audience in audiences:
                for server in running:
                    rate = await measure(server, of_size[audience], audience, seconds)
                    measured.setdefault((audience, server.name), []).append(rate)
    rows = []
    for audience in audiences:
        node = measured.get((audience, "node-ws"))
        for server in running:
            rate = statistics.median(measured[audience, server.name])
            ratio = None if node is None else round(rate / statistics.median(node), 2)
            rows.append(Row(server.name, audience, round(rate), ratio))
    return rows


async def start(place: Arena, servers: Sequence[str], say: Callable[[str], None]) -> list[Running]:
    """Start the servers; say which cannot be had."""
    running = []
    for name in servers:
        if name == "bridge":
            running.append(await place.bridge())
            continue
        found = await place.other(name)
        if isinstance(found, str):
            say(f"{name} is left out: {found}")
        else:
            running.append(found)
    return running


async def measure(server: Running, dialogs: Sequence[int], audience: int, seconds: float) -> float:
    """Return the deliveries a second of one run."""
    count = int(min(MOST_PER_S / audience, MOST_CHANGES_PER_S) * seconds)
    chooser = random.Random(2)  # noqa: S311 - to be the same for each server
    plan = server.plan([chooser.choice(dialogs) for _ in range(count)])
    async with loading(server, plan, "flood", seconds) as load:
        found = await load.go()
    server.skip_unfed(plan, found.fed)
    return found.counted / found.seconds
