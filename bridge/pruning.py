"""Keeps the journal small where the database has no schedule for it."""

import asyncio
from typing import Protocol

import structlog

from bridge import metrics
from bridge.errors import RpcError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PRUNE_EVERY_S = 60.0


class Journal(Protocol):
    """What has to be pruned."""

    async def prune_journal(self, keep_s: float) -> int:
        """Delete rows older than ``keep_s`` seconds, or some of them; return how many."""


async def prune_journal(journal: Journal, keep_s: float) -> None:
    """Delete old rows every minute, for ever; several workers, or pg_cron, may do the same."""
    while True:
        try:
            count = await journal.prune_journal(keep_s)
        except RpcError as error:
            metrics.JOURNAL_PRUNES.labels("failed").inc()
            log.warning("journal_not_pruned", reason=str(error))
        else:
            metrics.JOURNAL_PRUNES.labels("done").inc()
            if count:
                log.info("journal_pruned", rows=count)
        await asyncio.sleep(PRUNE_EVERY_S)
