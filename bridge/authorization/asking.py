"""What memory cannot tell about a change, asked of Postgres in one go."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from bridge.errors import AskedTimeoutError
from bridge.events import Principal, Row


class Visibility(Protocol):
    """Asks Postgres who sees which rows, under each user's role and claims."""

    async def visible(
        self, table: str, rows: Sequence[Row], principals: Sequence[Principal]
    ) -> list[frozenset[int]]:
        """Return, for each principal, the positions of the rows that it sees.

        Of a row that it only seems to see, because its JSON does not tell what the policies read, and
        which the table does not have any more: ``-1 - position``.

        Args:
            table: Qualified name of the rows' table.
            rows: Whole rows, which need not be (any more) in the table.
            principals: Who asks.

        Raises:
            AskedTimeoutError: the database lives, but this takes it too long.
            RpcError: the database did not answer.
        """


class Answer(msgspec.Struct):
    """Those of the asked principals who see the row; empty until it was asked.

    Attributes:
        sees: Who does for sure.
        seems: Who does if the row's values are the likeliest that its JSON may stand for: enough to be told
            that it went, not to be shown it.
    """

    sees: list[Principal] = []
    seems: list[Principal] = []


class Questions:
    """Collects questions about rows of any tables.

    Attributes:
        timeout: Why some of them were not answered in time; None if all were.
        late: Of whom some were not; their answers are empty, which is no answer.
    """

    def __init__(self) -> None:
        self.timeout: AskedTimeoutError | None = None
        self.late: set[Principal] = set()
        self._asked: dict[str, list[tuple[Row, Collection[Principal], Answer]]] = {}

    def add(self, table: str, row: Row, principals: Collection[Principal]) -> Answer:
        """Ask which of ``principals`` see ``row``; the answer is filled by :meth:`ask`."""
        answer = Answer()
        if principals:
            self._asked.setdefault(table, []).append((row, principals, answer))
        return answer

    def __bool__(self) -> bool:
        return bool(self._asked)

    def __len__(self) -> int:
        return sum(len(principals) for asked in self._asked.values() for _, principals, _ in asked)

    async def ask(self, database: Visibility) -> None:
        """Ask everything, with one call per table; see ``timeout`` for whether it was answered.

        Raises:
            RpcError: the database did not answer.
        """
        for table, asked in self._asked.items():
            principals = list(dict.fromkeys(p for _, some, _ in asked for p in some))
            try:
                seen = await database.visible(table, [row for row, _, _ in asked], principals)
            except AskedTimeoutError as error:
                self.timeout = error
                self.late.update(principals)
                continue
            rows_of = dict(zip(principals, seen, strict=True))
            for position, (_, some, answer) in enumerate(asked):
                answer.sees = [principal for principal in some if position in rows_of[principal]]
                answer.seems = [principal for principal in some if -1 - position in rows_of[principal]]
