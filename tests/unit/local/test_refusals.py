"""Why Realtime lets nobody listen, word for word; the recordings in tests/protocol are those of a real one."""

from collections.abc import Sequence

import psycopg
import pytest
from psycopg import errors
from typing_extensions import override

from bridge.local.feed import Feed
from bridge.local.refusals import refusal
from bridge.local.subscriptions import Binding, Filter


class OneTable(Feed):
    """Publishes ``public.notes``, which has a column ``id``."""

    def __init__(self, error: psycopg.Error | None = None) -> None:
        self.error = error

    @override
    async def check(self, role: str, tables: Sequence[tuple[str, str]]) -> list[str]:
        if self.error is not None:
            raise self.error
        return [name for _, name in tables if name not in ("*", "notes")]

    @override
    async def check_value(self, schema: str, table: str, column: str, value: str) -> None:
        if column != "id":
            raise LookupError(f"invalid column for filter {column}")


def binding(table: str | None, *columns: str) -> Binding:
    return Binding(1, "*", "public", table, tuple(Filter(c, "eq", "1") for c in columns), None)


async def test_what_is_there_is_not_refused() -> None:
    """A table, a column of it, all tables."""
    assert await refusal(OneTable(), "anon", [binding("notes", "id"), binding(None)]) is None


@pytest.mark.parametrize(
    ("feed", "asked", "words"),
    [
        (OneTable(), binding("rooms"), "Please check Realtime is enabled for the given connect parameters: "),
        (OneTable(), binding("notes", "x"), "ERROR P0001 (raise_exception) invalid column for filter x"),
        (OneTable(errors.InvalidParameterValue()), binding("notes"), "ERROR 42704 (undefined_object) "),
        (OneTable(errors.UndefinedTable()), binding("notes"), "ERROR 42P01 (undefined_table) "),
    ],
)
async def test_the_first_that_cannot_be_had_is_named(feed: Feed, asked: Binding, words: str) -> None:
    """With why, and what was asked for."""
    found = await refusal(feed, "anon", [asked, binding("never_asked")])

    assert found is not None
    assert (words in found, asked.described() in found) == (True, True)


async def test_a_database_that_went_away_refuses_nobody() -> None:
    """Whoever asks comes again."""
    with pytest.raises(psycopg.OperationalError):
        await refusal(OneTable(psycopg.OperationalError()), "anon", [binding("notes")])
