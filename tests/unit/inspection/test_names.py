"""What the command line names is found, or the message says how to name it."""

import msgspec
import pytest

from bridge.errors import ConfigError
from bridge.inspection.names import as_json, find_table, row_key
from tests.support.catalogs import catalog, table

ROOMS = table("rooms", "id uuid, title text")
LABELS = table("labels", "name text, id bigint", key=("name",))
PAIRS = table("pairs", "a text, b int", key=("a", "b"))
ALL = catalog(ROOMS, LABELS, PAIRS, table("seen", kind="v"), table("bare", "a int", key=()))

U = "0000000A-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rooms", r"did you mean public\.rooms\?"),
        ('public."Rooms"', r"did you mean public\.rooms\?"),
        ("nowhere.in_particular", r"give schema and name"),
        ("public.seen", r"is a view, which has no policies and no changes of its own: name the tables"),
    ],
)
def test_a_table_that_cannot_be_looked_at_is_answered_with_advice(name: str, message: str) -> None:
    """The name that was meant, or what to name instead."""
    with pytest.raises(ConfigError, match=message):
        find_table(ALL, name)


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("public.rooms", U, {"id": U}),
        ("public.labels", " a, b ", {"name": " a, b "}),
        ("public.labels", '{"name": "a"}', {"name": "a"}),
        ("public.labels", '{"other": "a"}', {"name": '{"other": "a"}'}),
        ("public.labels", "7", {"name": "7"}),
        ("public.pairs", "x y, -7", {"a": "x y", "b": "-7"}),
        ("public.pairs", '{"b": 7, "a": "x, y"}', {"a": "x, y", "b": 7}),
    ],
)
def test_a_key_is_a_value_or_values_or_json(name: str, text: str, key: dict[str, object]) -> None:
    """One column takes the text as it is; JSON says everything else, and what is printed as JSON is read."""
    found = row_key(ALL, find_table(ALL, name), text)

    assert found == key
    assert row_key(ALL, find_table(ALL, name), as_json(found)) == key


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("public.rooms", "nouuid", r"'nouuid' is no uuid, which the primary key of public\.rooms has \(id\)"),
        ("public.pairs", "a,b", r"'b' is no int"),
        ("public.pairs", "a,b,7", r"2 columns \(a, b\), and 3 value\(s\) .* as JSON like '{\"a\": \"\.\.\."),
        ("public.bare", "1", r"no primary key, .*: alter table public\.bare add column id bigint generated"),
    ],
)
def test_a_key_that_is_none_is_answered_with_the_form_of_one(name: str, text: str, message: str) -> None:
    """Before the database is asked, which may not say what was wrong."""
    with pytest.raises(ConfigError, match=message):
        row_key(ALL, find_table(ALL, name), text)


def test_a_key_is_advised_that_the_table_can_have() -> None:
    """Its unique columns where none can be NULL, else its id, else a new one."""
    columns = tuple(msgspec.structs.replace(c, not_null=True) for c in table("t", "a int, b int").columns)
    unique = msgspec.structs.replace(table("T", columns, key=()), unique=(("b", "a"),))

    assert unique.key_advice == 'alter table public."T" add primary key ("b", "a")'
    assert table("t", "id int", key=()).key_advice == 'alter table public.t add primary key ("id")'
