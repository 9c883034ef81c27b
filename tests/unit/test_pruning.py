"""The journal is pruned every minute, whatever happens."""

import asyncio

import structlog

from bridge import metrics
from bridge.clock import ManualClock
from bridge.errors import RpcError
from bridge.pruning import PRUNE_EVERY_S, prune_journal
from tests.support.virtual_time import run_at_once


def test_old_rows_go_every_minute_and_a_failure_is_said():
    """What cannot be pruned now is pruned later."""
    answers: list[int | RpcError] = [3, RpcError("away"), 0]

    class Database:
        async def prune_journal(self, keep_s: float) -> int:
            assert keep_s == 60
            answer = answers.pop(0)
            if isinstance(answer, RpcError):
                raise answer
            return answer

    async def main() -> None:
        task = asyncio.ensure_future(prune_journal(Database(), 60))
        await asyncio.sleep(2.5 * PRUNE_EVERY_S)
        task.cancel()

    before = _counted()
    with structlog.testing.capture_logs() as logs:
        run_at_once(main(), ManualClock())
    assert answers == []
    assert [line["event"] for line in logs] == ["journal_pruned", "journal_not_pruned"]
    assert [now - then for now, then in zip(_counted(), before, strict=True)] == [2, 1]


def _counted() -> list[float]:
    return [metrics.JOURNAL_PRUNES.labels(result)._value.get() for result in ("done", "failed")]
