"""The rows of the journal, as ``bridge_journal_since()`` gives them."""

from typing import Final

import msgspec

SCHEMA: Final = "bridge"
NAME: Final = "journal"
JOURNAL: Final = f"{SCHEMA}.{NAME}"
"""The table; its primary key is ``id``."""


class JournalRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row; records are JSON texts.  Only a stream tells the last of a transaction, and its arrival.

    The table's oid is not known of rows that were written before the journal had it.
    """

    id: int
    relation: str
    action: str
    record: str | None
    old_record: str | None
    recorded_at: str
    txid: str = ""
    last: bool = False
    received_s: float = 0.0
    oid: int | None = None


class JournalPage(msgspec.Struct, frozen=True):
    """Rows as of one snapshot, in order of their ids.

    Attributes:
        epoch: Another one where ids may be handed out again: a promoted standby, a restored backup.
        xmin: Every transaction before it has ended.
        xmax: See :meth:`~bridge.position.Position.looked`.
        pruned: The largest id that was deleted because of its age; 0 for none.
        more: True if it was cut after the last row.
        rows: What was asked for.
    """

    epoch: str
    xmin: str
    xmax: str
    pruned: int
    more: bool
    rows: list[JournalRow]


class JournalHoles(msgspec.Struct, frozen=True):
    """Ids that no row has.

    Attributes:
        last: The largest id of a row.
        holes: Pairs of first and last id, in order, below it.
    """

    last: int
    holes: list[tuple[int, int]]
