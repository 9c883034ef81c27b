"""Names as SQL writes them."""

import pytest

from bridge.identifiers import folded, identifiers, in_quotes, literal, plain, quoted, split_names


@pytest.mark.parametrize(
    ("text", "as_sql", "as_written"),
    [
        ("public.rooms", ("public", "rooms"), ("public", "rooms")),
        ("Public.Rooms", ("public", "rooms"), ("Public", "Rooms")),
        ('public."Rooms"', ("public", "Rooms"), ("public", "Rooms")),
        (' public . "a.b,""c" ', ("public", 'a.b,"c'), ("public", 'a.b,"c')),
        ("app.events_2026", ("app", "events_2026"), ("app", "events_2026")),
        ("public.ÉCRITS", ("public", "Écrits"), ("public", "ÉCRITS")),
    ],
)
def test_what_is_not_in_quotes_is_lower_case(
    text: str, as_sql: tuple[str, ...], as_written: tuple[str, ...]
) -> None:
    """Of ASCII alone, as in a database of UTF-8."""
    assert folded(text) == as_sql
    assert plain(text) == as_written


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", 'a."b', 'a."b"c', "a b", 'a.""', "a..b"])
def test_what_is_no_name_has_no_parts(text: str) -> None:
    """Nothing is guessed."""
    assert identifiers(text) == ()


def test_a_list_is_split_outside_quotes() -> None:
    """A comma in quotes belongs to the name; an open quote ends no list."""
    assert split_names(' public.a, "b,c"."D.e" ,') == ("public.a", '"b,c"."D.e"')
    assert split_names("") == ()
    assert split_names('a."b, c') == ('a."b', "c")


@pytest.mark.parametrize(
    "name", ["rooms", "Rooms", 'a.b,"c', "écrits", "a b", "1st", "order", "left", "values"]
)
def test_what_is_written_is_read_as_it_was(name: str):
    """In quotes always, or where its letters need them."""
    assert folded(in_quotes(name)) == folded(quoted(name)) == (name,)
    assert (quoted(name) == name) is (name == "rooms")


def test_a_text_ends_where_it_should():
    """Whatever it holds."""
    assert literal("it's") == "'it''s'"
