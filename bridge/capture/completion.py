"""Completes changes from which upstream left out values: too large (413), or TOASTed and not touched."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from bridge import metrics
from bridge.backoff import Backoff
from bridge.capture.decode import RawChange, key_of
from bridge.errors import RpcError, SourceError
from bridge.events import Change, Row

ReadRow: TypeAlias = Callable[[str, Row], Awaitable[Row | None]]
"""Reads one row by table and primary key, as of now; None when it is gone.  Raises RpcError."""

ATTEMPTS = 5


async def complete(
    raw: RawChange, *, primary_key: Sequence[str], read_row: ReadRow, backoff: Backoff
) -> Change | None:
    """Return ``raw`` with its whole new row; None when the row is gone (its DELETE will follow).

    Args:
        raw: The change.
        primary_key: Columns of the table's primary key.
        read_row: Reads the row again where it has to be.
        backoff: Waits between attempts to read it.

    Raises:
        SourceError: the row cannot be read; the change would be lost.
    """
    old = raw.old_record
    if raw.too_large and old is not None:
        old = key_of(old, primary_key)  # which values are missing from it is not known
    if raw.complete or raw.action == "DELETE":
        return raw.change(raw.record, old)
    record = raw.record or {}
    missing = [column for column in raw.columns if column not in record]
    if not raw.too_large and old is not None and all(column in old for column in missing):
        return raw.change({**record, **{column: old[column] for column in missing}}, old)
    key = key_of(record, primary_key)
    if key is None:
        metrics.ROWS_REREAD.labels("failed").inc()
        raise SourceError(
            f"a change of {raw.table} came without its primary key: its key values are too long"
        )
    row = await _read(raw.table, key, read_row, backoff)
    metrics.ROWS_REREAD.labels("gone" if row is None else "read").inc()
    return None if row is None else raw.change(row, old)


async def _read(table: str, key: Row, read_row: ReadRow, backoff: Backoff) -> Row | None:
    for attempt in range(ATTEMPTS):
        try:
            row = await read_row(table, key)
        except RpcError as error:
            if attempt + 1 == ATTEMPTS:
                metrics.ROWS_REREAD.labels("failed").inc()
                raise SourceError(f"a row of {table} cannot be read again: {error}") from error
            await asyncio.sleep(backoff.next_s())
        else:
            backoff.reset()
            return row
    return None
