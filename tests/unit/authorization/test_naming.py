"""What a name means: Postgres' own reading first, else the spelling without its quotes."""

import msgspec
import pytest

from bridge.authorization.naming import named_table
from bridge.errors import ConfigError
from tests.support.catalogs import catalog, table

KNOWN = catalog(
    table("rooms"),
    table("Mixed"),
    table("both"),
    table("Both"),
    table("a.b"),
    table("it, too"),
    table("My Chat"),
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("public.rooms", "rooms"),
        ("PUBLIC.Rooms", "rooms"),
        ('public."rooms"', "rooms"),
        ("public.Mixed", "Mixed"),
        ('public."Mixed"', "Mixed"),
        ("public.both", "both"),
        ('public."Both"', "Both"),
        ('public."a.b"', "a.b"),
        ('public."it, too"', "it, too"),
        ("public.My Chat", "My Chat"),
    ],
)
def test_a_table_is_found_by_either_spelling(text: str, name: str) -> None:
    """What is printed can be pasted."""
    found = named_table(KNOWN, text)
    assert found is not None
    assert found.name == name
    assert named_table(KNOWN, found.quoted) is found


@pytest.mark.parametrize(
    "text", ["public.mixed", 'public."Rooms"', "public.MIXED", "rooms", "public.a.b", ""]
)
def test_nothing_else_is_found(text: str) -> None:
    """Least of all a table that was not meant."""
    assert named_table(KNOWN, text) is None


def test_a_name_of_two_tables_is_refused() -> None:
    """SQL takes the first, and who wrote it without quotes meant the second."""
    with pytest.raises(ConfigError, match=r'public\.Both may be public\."both" or public\."Both": write one'):
        named_table(KNOWN, "public.Both")


def test_a_schema_with_a_dot_in_its_name_is_refused() -> None:
    """What is written like its table without quotes is another one, which is found all the same."""
    twin = msgspec.structs.replace(table("y"), schema="public.x")
    known = catalog(table("x.y"), twin)
    with pytest.raises(ConfigError, match="alter schema"):
        named_table(known, '"public.x".y')
    found = named_table(known, 'public."x.y"')
    assert found is known.by_name["public.x.y"] is known.table("public", "x.y")
    assert known.table("public.x", "y") is None
