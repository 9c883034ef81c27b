"""Work of one client runs in order, and its failure is its own."""

import asyncio

import pytest
from structlog.testing import capture_logs

from bridge.connection import work as module
from bridge.connection.work import Work, ends_its_owner


class Owner:
    id = "c1"

    def __init__(self) -> None:
        self.crashed = False

    def crash(self) -> None:
        self.crashed = True


async def test_pieces_run_in_order_in_a_task_that_ends_with_them():
    """The second waits for the first; later ones start a task again."""
    done: list[int] = []
    go_on = asyncio.Event()

    async def piece(n: int) -> None:
        await go_on.wait()
        done.append(n)

    async with asyncio.timeout(5):
        for first in (1, 3):
            async with asyncio.TaskGroup() as tasks:
                work = Work(lambda coroutine: tasks.create_task(coroutine) and None, Owner())
                assert work.is_idle
                assert work.add(piece(first))
                assert not work.is_idle
                assert work.add(piece(first + 1))
                go_on.set()
            assert work.is_idle
    assert done == [1, 2, 3, 4]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """One piece too many is refused, and what waits can be dropped."""
    monkeypatch.setattr(module, "MAX_PIECES", 2)
    started: list = []

    async def piece() -> None:
        pytest.fail("dropped")

    work = Work(started.append, Owner())
    assert [work.add(piece()) for _ in range(3)] == [True, True, False]
    work.cancel()
    await started[0]


async def test_a_piece_that_fails_ends_its_client_and_nobody_else():
    """What came after it is dropped; the log says where, and not what the error says."""
    owner = Owner()
    row = "a-row"

    async def broken() -> None:
        raise KeyError(row)

    async def piece() -> None:
        pytest.fail("dropped")

    started: list = []
    work = Work(started.append, owner)
    work.add(broken())
    work.add(piece())
    with capture_logs() as logs:
        await started[0]
    assert owner.crashed
    assert [(e["event"], e["connection_id"], e["error"]) for e in logs] == [
        ("connection_crashed", "c1", "KeyError")
    ]
    assert "in broken" in logs[0]["stack"]
    assert row not in str(logs)


def test_what_a_clients_method_raises_ends_that_client():
    """The loop would only drop its connection, and say so to nobody."""

    class Client(Owner):
        @ends_its_owner
        def take(self, what: str) -> None:
            raise KeyError(what)

    client = Client()
    with capture_logs() as logs:
        client.take("a-row")
    assert client.crashed
    assert [(e["event"], e["connection_id"], e["error"]) for e in logs] == [
        ("connection_crashed", "c1", "KeyError")
    ]
    assert "a-row" not in str(logs)
