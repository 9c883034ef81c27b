"""plpgsql bodies made readable for a parser without a catalog."""

import pytest

from bridge.authorization.translation.declarations import readable
from bridge.errors import CompileError
from tests.support.catalogs import catalog, table

DATABASE = catalog(table("rooms"), enums=["mood"])


def made(source: str) -> tuple[str, dict[str, str]]:
    found = readable(source, DATABASE, ("public",))
    return found.source, found.types


@pytest.mark.parametrize(
    ("source", "expected", "types"),
    [
        ("begin return true; end", "begin return (true); end", {}),
        ("declare a uuid; begin end", "declare a uuid; begin end", {}),
        ("declare a public.mood; begin end", "declare a text; begin end", {"a": "public.mood"}),
        ("declare A mood[]; begin end", "declare A text[]; begin end", {"a": "mood[]"}),
        (
            "declare a constant mood := 'x'; begin end",
            "declare a constant text := 'x'; begin end",
            {"a": "mood"},
        ),
        ("declare a varchar (3); begin end", "declare a text; begin end", {"a": "varchar(3)"}),
        (
            "declare a character varying( 3 ) := 'x'; b character varying; begin end",
            "declare a text := 'x'; b character varying; begin end",
            {"a": "varchar(3)"},
        ),
        (
            "declare a uuid[]; b int [3]; begin end",
            "declare a text[]; b text[]; begin end",
            {"a": "uuid[]", "b": "int[]"},
        ),
        ("declare r rooms; begin end", "declare r record; begin end", {}),
        ("declare r public.rooms%rowtype; begin end", "declare r record; begin end", {}),
        ("declare i rooms.id%type; begin end", "declare i text; begin end", {"i": "rooms.id%type"}),
        ("declare a uuid; b mood; begin end", "declare a uuid; b text; begin end", {"b": "mood"}),
        (
            "declare a text := 'begin; b mood;'; begin end",
            "declare a text := 'begin; b mood;'; begin end",
            {},
        ),
        ("-- begin\ndeclare a int; begin end", "-- begin\ndeclare a int; begin end", {}),
        ("begin return a; end", "begin return (a); end", {}),
        (
            "begin /* return a; */ return 'return b;'; end",
            "begin /* return a; */ return 'return b;'; end",
            {},
        ),
        (
            "begin return query select 1; return next; end",
            "begin return query select 1; return next; end",
            {},
        ),
    ],
)
def test_a_body_is_made_readable(source: str, expected: str, types: dict[str, str]) -> None:
    """Unknown types become text, rows of tables become records, and RETURN of a variable an expression."""
    assert made(source) == (expected, types)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("declare a int;", "no BEGIN"),
        ("declare a numeric(5,2); begin end", "type with a length"),
        ("declare a char(3); begin end", "type with a length"),
        ("declare a varchar(3)[]; begin end", "type with a length"),
        ("declare a timestamp(0) with time zone; begin end", "type with a length"),
        ("begin declare a int; begin end; end", "variables of its own"),
    ],
)
def test_what_the_parser_would_not_tell_is_refused(source: str, reason: str) -> None:
    """What a type cuts or rounds, and where a variable begins."""
    with pytest.raises(CompileError, match=reason):
        made(source)
