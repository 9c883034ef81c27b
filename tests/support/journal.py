"""A reader of the journal that follows its protocol to the letter, for tests of the SQL."""

import json
from typing import Any, NamedTuple

import psycopg


class JournalRow(NamedTuple):
    """One row as ``bridge_journal_since()`` gives it."""

    id: int
    relation: str
    action: str
    record: str | None
    old_record: str | None
    recorded_at: str
    txid: str
    last: bool = False
    received_s: float = 0.0
    oid: int | None = None

    @property
    def new(self) -> Any:
        """The row after the change, decoded."""
        return None if self.record is None else json.loads(self.record)

    @property
    def old(self) -> Any:
        """The row before it."""
        return None if self.old_record is None else json.loads(self.old_record)


class JournalReader:
    """Keeps ``after`` and the holes before it; ``seen`` has every row in the order in which it was read.

    Attributes:
        holes: Ids that were empty, by the ``xmax`` of the answer in which each was so first.
        gaps: How often something may have been missed because of pruning.
    """

    def __init__(self, connection: psycopg.Connection[Any], after: int = 0, max_rows: int = 10_000) -> None:
        self.connection = connection
        self.after = after
        self.max_rows = max_rows
        self.holes: dict[int, int] = {}
        self.seen: list[JournalRow] = []
        self.gaps = 0

    def page(self) -> dict[str, Any]:
        """Return one answer, as of now, and take nothing of it."""
        row = self.connection.execute(
            "select public.bridge_journal_since(%s, %s::jsonb, %s)",
            (self.after, json.dumps([[id_, id_] for id_ in sorted(self.holes)]), self.max_rows),
        ).fetchone()
        assert row is not None
        answer: dict[str, Any] = json.loads(row[0])
        return answer

    def read(self) -> list[JournalRow]:
        """Take all that is there, and return it."""
        taken: list[JournalRow] = []
        while True:
            page, known = self.page(), dict(self.holes)
            rows = [JournalRow(*row) for row in page["rows"]]
            for row in rows:
                self._take(row, int(page["xmax"]))
            if min([self.after, *(id_ - 1 for id_ in self.holes)]) < page["pruned"]:
                self.gaps += 1
                self.after = max(self.after, page["pruned"])
                self.holes = {id_: xmax for id_, xmax in self.holes.items() if id_ > page["pruned"]}
            looked_up_to = rows[-1].id if page["more"] else self.after
            for id_, xmax in known.items():
                if id_ in self.holes and id_ <= looked_up_to and int(page["xmin"]) >= xmax:
                    del self.holes[id_]
            taken += rows
            if not page["more"]:
                return taken

    def _take(self, row: JournalRow, xmax: int) -> None:
        if row.id > self.after:
            self.holes |= dict.fromkeys(range(self.after + 1, row.id), xmax)
            self.after = row.id
        else:
            del self.holes[row.id]  # KeyError: the row was read before, or its hole was closed too early
        self.seen.append(row)
