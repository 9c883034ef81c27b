"""Many connections: what an idle one takes, what they cost the active ones, and all of them coming back."""

import json
import random
from collections.abc import Sequence

import msgspec
from websockets.asyncio.client import connect

from bridge.bench.arena import NOTICES, Arena, Running, World, arena
from bridge.bench.load import loading, receive
from bridge.bench.plan import Client, Plan, masked
from bridge.errors import SourceError

FIRST = 500
"""Connections whose memory is not counted: what the worker loads for the first of them is not theirs."""

PER_USER = 4
ACTIVE = 100
"""Users who are in dialogs, whatever number is connected."""

AUDIENCE = 10
MISSED = 2_000
"""Events that the clients of the storm have missed, all together."""


class Idle(msgspec.Struct, frozen=True):
    """What idle connections take."""

    connections: int
    bytes_per_connection: int
    resident_mb: float
    connected_in_s: float


class Cost(msgspec.Struct, frozen=True):
    """Processor time of a change, in microseconds, by how many are connected."""

    connections: int
    us_per_change: float
    ratio_to_fewest: float


class Storm(msgspec.Struct, frozen=True):
    """Clients that come back with a cursor, all at once."""

    clients: int
    missed_events: int
    seconds: float
    worker_cpu_s: float


async def idle(*, connections: int) -> list[Idle]:
    """Measure resident memory; each client has a token and is subscribed to all of its dialogs.

    Raises:
        SourceError: something did not start.
    """
    users = -(-(connections + FIRST) // PER_USER)
    async with arena(World(users, [[0]])) as place:
        server = await place.bridge()
        clients = [server.clients[n // PER_USER] for n in range(connections + FIRST)]
        first = Plan(clients[:FIRST], [], [], keepalive=_keepalive(server))
        rest = Plan(clients[FIRST:], [], [])
        async with loading(server, first, "rest"):
            before = server.memory_bytes()
            async with loading(server, rest, "rest") as load:
                after = server.memory_bytes()
    row = Idle(connections, round((after - before) / connections), round(after / 1e6, 1), load.ready_s)
    return [row]


async def cost(*, sizes: Sequence[int], rate: float, seconds: float, rounds: int) -> list[Cost]:
    """Measure the worker's processor time at a steady rate: the same users get changes, more look on.

    Raises:
        SourceError: something did not start, or was delivered more or less than once.
    """
    chooser = random.Random(1)  # noqa: S311 - to be the same again
    groups = [sorted(chooser.sample(range(ACTIVE), AUDIENCE)) for _ in range(ACTIVE)]
    least: dict[int, float] = {}
    async with arena(World(max(sizes), groups)) as place:
        server = await place.bridge()
        for _ in range(rounds):
            for size in sizes:
                dialogs = [n % len(groups) for n in range(int(rate * seconds))]
                plan = server.plan(dialogs, clients=server.clients[:size])
                async with loading(server, plan, "pace", seconds, rate) as load:
                    before_s = server.cpu_s()
                    found = await load.go()
                    used_us = (server.cpu_s() - before_s) / found.fed * 1e6
                server.skip_unfed(plan, found.fed)
                least[size] = min(used_us, least.get(size, used_us))
    base = least[min(sizes)]
    return [Cost(size, round(used, 1), round(used / base, 2)) for size, used in sorted(least.items())]


async def storm(*, clients: int, audience: int, missed: int = MISSED) -> list[Storm]:
    """Measure the time until everybody has connected, authenticated, resumed, and got what was missed.

    Raises:
        SourceError: something did not start, or was delivered more or less than once.
    """
    chooser = random.Random(1)  # noqa: S311 - to be the same again
    groups = [sorted(chooser.sample(range(clients), audience)) for _ in range(max(1, clients // audience))]
    async with arena(World(clients, groups)) as place:
        server = await place.bridge()
        cursor = await _cursor(place, server)
        dialogs = [n % len(groups) for n in range(missed // audience)]
        # One client looks on, so that the feed is known to be through.
        alone = Plan(
            server.clients[:1],
            [[0] if 0 in members else [] for members in groups],
            server.plan([*dialogs, _dialog_of(0, groups)]).messages,
        )
        async with loading(server, alone, "flood", 60.0) as load:
            await load.go()
        expected = [0] * clients
        for group in [*dialogs, _dialog_of(0, groups)]:
            for user in groups[group]:
                expected[user] += 1
        hello = masked(json.dumps({"type": "subscribe", "since": cursor}).encode())
        back = [
            Client(client.request, hello, NOTICES, count)
            for client, count in zip(server.clients, expected, strict=True)
        ]
        before_s = server.cpu_s()
        found = await receive(server, Plan(back, [], []))
        used_s = server.cpu_s() - before_s
    return [Storm(clients, found.counted, round(found.seconds, 2), round(used_s, 2))]


def _dialog_of(user: int, groups: Sequence[Sequence[int]]) -> int:
    return next((n for n, members in enumerate(groups) if user in members), 0)


def _keepalive(server: Running) -> bytes:
    return b"" if server.slot is None else server.slot.keepalive


async def _cursor(place: Arena, server: Running) -> str:
    """Return the cursor of who has seen everything until now."""
    token = place.token(0)
    url = f"ws://127.0.0.1:{server.port}/ws"
    async with connect(url, subprotocols=["bridge.v1", f"bearer.{token}"]) as client:  # type: ignore[list-item]
        await client.send('{"type":"subscribe"}')
        async for text in client:
            message = json.loads(text)
            if message["type"] == "subscribed":
                return str(message["cursor"])
    raise SourceError("the bridge ended a connection before it was subscribed: see its log")
