"""Milliseconds from a captured change to its clients, at a steady rate, beside the plain-socket server.

Each message carries the time at which it was written to the server's input.
"""

import statistics
from collections.abc import Callable, Sequence

import msgspec

from bridge.bench.arena import arena
from bridge.bench.fanout import start, world_of
from bridge.bench.load import Figures, loading


class Row(msgspec.Struct, frozen=True):
    """One line of the table; ratios are to the C server, where it was measured."""

    server: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    p50_ratio_to_c: float | None
    p99_ratio_to_c: float | None


async def latency(
    *,
    connections: int,
    audience: int,
    rate: float,
    seconds: float,
    rounds: int,
    servers: Sequence[str],
    say: Callable[[str], None],
) -> list[Row]:
    """Measure; medians of the rounds, in which the servers take turns.

    Raises:
        SourceError: something did not start, or was delivered more or less than once.
    """
    world, of_size = world_of(connections, [audience])
    dialogs = of_size[audience]
    measured: dict[str, list[Figures]] = {}
    async with arena(world) as place:
        running = await start(place, servers, say)
        for _ in range(rounds):
            for server in running:
                plan = server.plan([dialogs[n % len(dialogs)] for n in range(int(rate * seconds))])
                async with loading(server, plan, "pace", seconds, rate) as load:
                    found = await load.go()
                server.skip_unfed(plan, found.fed)
                measured.setdefault(server.name, []).append(found)
    limit = measured.get("c")
    return [_row(name, found, limit) for name, found in measured.items()]


def _row(name: str, found: Sequence[Figures], limit: Sequence[Figures] | None) -> Row:
    def median_ms(of: Sequence[Figures], field: str) -> float:
        return float(statistics.median(getattr(one, field) for one in of)) / 1000

    p50, p99 = median_ms(found, "p50_us"), median_ms(found, "p99_us")
    return Row(
        name,
        round(p50, 3),
        round(p99, 3),
        round(median_ms(found, "max_us"), 3),
        None if limit is None else round(p50 / median_ms(limit, "p50_us"), 2),
        None if limit is None else round(p99 / median_ms(limit, "p99_us"), 2),
    )
