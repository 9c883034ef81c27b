"""Names: what a column reference means, from the inside out."""

import pytest

from bridge.authorization.algebra import TRUE, ColumnRef
from bridge.authorization.catalog import Table
from bridge.authorization.translation.names import InScope, Names
from bridge.errors import CompileError
from tests.support.catalogs import table

NOTES = table("notes", "id uuid, body text")
TAGS = table("tags", "id uuid, note uuid")


def scope(alias: str, number: int, of: Table = NOTES) -> InScope:
    return InScope.of_table(of, alias, number)


def names(*levels: tuple[InScope, ...]) -> Names:
    return Names(levels=levels, acting="anon", parameters={"body": TRUE, "room": TRUE}, function="f")


def test_the_innermost_table_comes_first() -> None:
    """A column of an outer table is meant only where no inner one has it, and is marked as used there."""
    outer, inner = scope("notes", 0), scope("t", 1, TAGS)
    here = names((outer,), (inner,))

    assert here.find(["id"]) == ColumnRef(1, "id", "uuid")
    assert here.find(["body"]) == ColumnRef(0, "body", "text")
    assert here.find(["notes", "id"]) == ColumnRef(0, "id", "uuid")
    assert (outer.used, inner.used) == ({"body", "id"}, {"id"})


def test_a_schema_names_a_table_without_an_alias() -> None:
    """An alias hides the table's own name."""
    assert names((scope("notes", 0),)).find(["public", "notes", "id"]) == ColumnRef(0, "id", "uuid")
    for parts in (["public", "notes", "id"], ["notes", "id"], ["other", "n", "id"]):
        with pytest.raises(CompileError, match="is not known"):
            names((scope("n", 0),)).find(parts)


def test_parameters_come_last() -> None:
    """By their name, or by the function's and theirs."""
    assert names((scope("notes", 0),)).find(["body"]) == ColumnRef(0, "body", "text")
    assert names().find(["room"]) == TRUE
    assert names().find(["f", "room"]) == TRUE
    with pytest.raises(CompileError, match=r"column g\.room is not known"):
        names().find(["g", "room"])


def test_two_meanings_are_refused() -> None:
    """Postgres would refuse them, too."""
    with pytest.raises(CompileError, match="column id is ambiguous"):
        names((scope("a", 0), scope("b", 1))).find(["id"])
