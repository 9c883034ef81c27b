"""What memory cannot tell about some changes, asked of Postgres in one go."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from bridge.errors import AskedTimeoutError
from bridge.events import Principal, Row, Seen


class Visibility(Protocol):
    """Asks Postgres who sees which rows, under each user's role and claims."""

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
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


class Database(Visibility, Protocol):
    """What applying a change may need of the project's database."""

    async def row(self, table: str, key: Row) -> Row | None:
        """Return one row by primary key, as of now; None when it is gone."""


class Answer(msgspec.Struct):
    """Those of the asked principals who see the row; empty until it was asked.

    Attributes:
        sees: Who does.
        asked: Who was asked about.
        is_current: True if the table held the row exactly so while Postgres was asked.
        is_late: True if there was no answer in time: nobody sees the row, which means nothing.
        seems: Who sees the row if its values are the likeliest that its JSON may stand for: enough to be told
            that it went, not to be shown it.
    """

    sees: Sequence[Principal] = ()
    asked: Collection[Principal] = ()
    is_current: bool = True
    is_late: bool = False
    seems: Sequence[Principal] = ()


class Questions:
    """Collects questions about rows of any tables.

    Attributes:
        asked: The questions: a table, a row of it, and the answer that names who is asked about.
        timeout: Why some of them were not answered in time; None if all were.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Row, Answer]] = []
        self.timeout: AskedTimeoutError | None = None

    def add(self, table: str, row: Row, principals: Collection[Principal]) -> Answer:
        """Ask which of ``principals`` see ``row``; the answer is filled by :meth:`ask`."""
        answer = Answer(asked=principals)
        if principals:
            self.asked.append((table, row, answer))
        return answer

    def __bool__(self) -> bool:
        return bool(self.asked)

    def __len__(self) -> int:
        return sum(len(answer.asked) for _, _, answer in self.asked)

    async def ask(self, database: Visibility) -> None:
        """Ask everything, with one call per table; see ``timeout`` for whether it was answered.

        Raises:
            RpcError: the database did not answer.
        """
        for table in dict.fromkeys(name for name, _, _ in self.asked):
            rows = [row for name, row, _ in self.asked if name == table]
            answers = [answer for name, _, answer in self.asked if name == table]
            principals = list(dict.fromkeys(p for answer in answers for p in answer.asked))
            try:
                seen = await database.visible(table, rows, principals)
            except AskedTimeoutError as error:
                self.timeout = error
                for answer in answers:
                    answer.is_late = True
                continue
            rows_of = dict(zip(principals, seen.rows, strict=True))
            for position, answer in enumerate(answers):
                answer.sees = [principal for principal in answer.asked if position in rows_of[principal]]
                answer.seems = [p for p in answer.asked if -1 - position in rows_of[p]]
                answer.is_current = position in seen.current
