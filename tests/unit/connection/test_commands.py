"""What a session wants is done, in the order in which its client asked for it."""

import asyncio
import json
from typing import Any

from bridge.clock import ManualClock
from bridge.connection import Verifier
from bridge.connection.limits import Connections
from bridge.events import Principal
from tests.support.connection import SECRET, World


async def test_a_token_that_is_verified_after_the_client_has_left_changes_nothing():
    """It was slow, the client was not."""
    world = World()
    world.shake_hands(token=world.token())
    world.connection.connection_lost(None)
    await world.do_work()
    assert world.roster.here == []


async def test_a_user_with_too_many_connections_is_refused_and_leaves_no_trace():
    """The early subscription is dropped with it."""
    world = World(connections=Connections(limit=9, limit_per_user=0))
    world.shake_hands(token=world.token())
    world.receive(b'{"type":"subscribe"}')
    await world.do_work()
    assert world.close_code == 4429
    world.connection.connection_lost(None)
    assert (world.roster.here, world.context.connections._of_user) == ([], {})


async def test_too_much_work_at_once_ends_the_client():
    """4429: while one replay is under way, few messages may wait for it."""
    world = await World().opened()
    for _ in range(20):
        world.receive(b'{"type":"subscribe"}')
    assert world.close_code == 4429
    world.connection.connection_lost(None)
    await world.do_work()


class SlowVerifier:
    """Verifies as another does, once it is told to go on."""

    def __init__(self, clock: ManualClock) -> None:
        self.go_on = asyncio.Event()
        self._verifier = Verifier(clock=clock, secret=SECRET, keys=None)

    def verify_at_once(self, _token: str) -> Any:
        return None

    async def verify(self, token: str) -> Any:
        await self.go_on.wait()
        return await self._verifier.verify(token)


async def test_answers_come_in_the_order_of_the_requests():
    """Whatever they wait for: the first token, a subscription, a new token."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        world = World(spawn=lambda piece: tasks.create_task(piece) and None)
        verifier = world.context.verifier = SlowVerifier(world.clock)  # type: ignore[misc]
        requests = [b'{"type":"ping","id":%d}', b'{"type":"subscribe"}', b'{"type":"unsubscribe"}']

        def ask(*kinds: int) -> None:
            for n, kind in enumerate(kinds):
                world.receive(requests[kind] % n if kind == 0 else requests[kind])

        async def answers(count: int) -> list[Any]:
            while len(world.heard) < count:
                await asyncio.sleep(0)
                world.loop.turn()
            return [m.get("id", m["type"]) for m in world.heard]

        world.shake_hands(token=world.token())
        ask(0, 1, 0, 2, 0)
        verifier.go_on.set()
        first = ["connected", "status", 0, "subscribed", 2, "unsubscribed", 4]
        assert await answers(len(first)) == first

        verifier.go_on.clear()
        world.receive(json.dumps({"type": "auth", "token": world.token(ttl_s=90)}).encode())
        await asyncio.sleep(0)  # it has begun
        ask(0, 1, 0)
        verifier.go_on.set()
        second = [*first, "authenticated", 0, "subscribed", 2]
        assert await answers(len(second)) == second

        ask(1, 0, 2)
        third = [*second, "subscribed", 1, "unsubscribed"]
        assert await answers(len(third)) == third
        ask(0)
        assert [m.get("id") for m in world.heard][-1] == 0  # nothing to wait for: at once


async def test_messages_after_a_close_are_not_looked_at():
    """Whatever the client still sends."""
    world = await World().opened()
    world.connection.send_reconnect(5)
    assert (world.heard[-1], world.close_code) == ({"type": "reconnect", "after_ms": 5}, 1012)
    world.receive(b"nonsense")
    world.connection.ping()
    world.connection.crash()
    assert world.close_code == 1012
    assert not world.connection.eof_received()


async def test_unsubscribing_and_refreshing():
    """Through the hub, in order with the rest."""
    world = await World().opened()
    world.receive(b'{"type":"unsubscribe"}')
    world.receive(json.dumps({"type": "auth", "token": world.token(ttl_s=90)}).encode())
    await world.do_work()
    world.loop.turn()
    assert [m["type"] for m in world.heard[3:]] == ["unsubscribed", "authenticated"]
    assert world.connection.facts()["subscribed"] is False
    assert isinstance(world.roster.here[0], Principal)
    world.receive(b'{"type":"auth","token":"nonsense"}')
    await world.do_work()
    assert world.close_code == 4401
