"""Completes changes from which upstream left out values, or of which it told others.

Left out are those that are too large (413), or TOASTed and not touched; NaN arrives as null, char(n) cut.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

from bridge import metrics
from bridge.backoff import Backoff
from bridge.capture.decode import RawChange, key_of
from bridge.errors import RpcError, SourceError
from bridge.events import Change, Row

ReadRow: TypeAlias = Callable[[str, Row], Awaitable[Row | None]]
"""Reads one row by table and primary key, as of now; None when it is gone.  Raises RpcError."""

ATTEMPTS = 5

READ_LIMIT_S = 5.0
"""Time for all attempts together: the changes behind this one wait for it."""


async def complete(
    raw: RawChange,
    *,
    primary_key: Sequence[str],
    read_columns: Collection[str],
    read_row: ReadRow,
    backoff: Backoff,
    limit_s: float = READ_LIMIT_S,
) -> Change | None:
    """Return ``raw`` with its whole new row; None when the row is gone (its DELETE will follow).

    Of the old row, the columns stay out whose value was not told.

    Args:
        raw: The change.
        primary_key: Columns of the table's primary key.
        read_columns: Columns whose exact value matters, because policies read it.
        read_row: Reads the row again where it has to be.
        backoff: Waits between attempts to read it.
        limit_s: Time for all attempts.

    Raises:
        SourceError: the row cannot be read, or not be told from others; the change would be lost.
    """
    old = raw.old_record
    if raw.too_large and old is not None:
        old = _key(raw, old, primary_key)  # which other values are missing from it is not known
    unsure = raw.untold(old, read_columns).difference(primary_key)
    if old is not None and unsure:
        old = {name: value for name, value in old.items() if name not in unsure}
    untold = raw.untold(raw.record, read_columns)
    if raw.action == "DELETE" or (raw.complete and not untold):
        return raw.change(raw.record, old)
    record = raw.record or {}
    missing = [column for column in raw.columns if column not in record]
    if not raw.too_large and not untold and old is not None and all(column in old for column in missing):
        return raw.change({**record, **{column: old[column] for column in missing}}, old)
    key = _key(raw, record, primary_key)
    try:
        async with asyncio.timeout(limit_s):
            row = await _read(raw.table, key, read_row, backoff)
    except (RpcError, TimeoutError) as error:
        metrics.ROWS_REREAD.labels("failed").inc()
        reason = str(error) or f"no answer within {limit_s:g} s"
        raise SourceError(f"a row of {raw.table} cannot be read again: {reason}") from error
    metrics.ROWS_REREAD.labels("gone" if row is None else "read").inc()
    return None if row is None else raw.change(row, old)


def _key(raw: RawChange, row: Row, primary_key: Sequence[str]) -> Row:
    key = key_of(row, primary_key)
    if key is None:
        metrics.ROWS_REREAD.labels("failed").inc()
        raise SourceError(
            f"a change of {raw.table} came without its whole primary key {list(primary_key)}: "
            "key values of more than 64 bytes are left out of changes above 1 MiB, use shorter ones"
        )
    return key


async def _read(table: str, key: Row, read_row: ReadRow, backoff: Backoff) -> Row | None:
    backoff.reset()
    for _ in range(ATTEMPTS - 1):
        try:
            return await read_row(table, key)
        except RpcError:
            await asyncio.sleep(backoff.next_s())
    return await read_row(table, key)
