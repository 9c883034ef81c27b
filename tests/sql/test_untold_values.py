"""``bridge_visible()`` where a row's JSON does not tell its values: the table's own row, else a guess that says so."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.sql.conftest import Connection
from tests.sql.test_visible import asked, visible

USER = "00000000-0000-0000-0000-000000000001"

SCHEMA = """
create domain public.note as json;
create type public.shade as enum ('light', 'dark');
create function public.shade_json(public.shade) returns json immutable begin atomic select json_build_object('shade', $1::text); end;
create cast (public.shade as json) with function public.shade_json(public.shade);
create type public.pair as (a jsonb, b int);
create table public.t (
    id int primary key, js json, jd public.note, jb jsonb, f4 real, f8 double precision, num numeric, ints int[],
    p public.pair, h public.shade, by bytea, ch char(5), body text, twice text generated always as (body || body) stored);
alter table public.t enable row level security;
"""


def policy(connection: Connection, condition: str) -> None:
    connection.execute(
        f"drop policy if exists seen on public.t; create policy seen on public.t using ({condition})"
    )


def row(connection: Connection, **values: str) -> Any:
    """Insert a row and return its JSON, which it then has in every place where rows are told."""
    names, texts = ("id", *values), ("1", *values.values())
    quoted = ", ".join(f"'{text}'" for text in texts)
    connection.execute("delete from public.t")
    found = connection.execute(
        f"insert into public.t ({', '.join(names)}) values ({quoted}) returning to_jsonb(t)"
    ).fetchone()
    assert found is not None
    return found[0]


def seen(connection: Connection, rows: Sequence[Any]) -> list[int]:
    return visible(connection, rows, USER, table="public.t")[0]


CASES = {
    "the text of json": ('js::text = \'{"b":1,  "a":2}\'', {"js": '{"b":1,  "a":2}'}),
    "the text of a domain": ("jd::text <> '{\"b\": 1}'", {"jd": '{"b":1}'}),
    "the null of json": ("js is not null", {"js": "null"}),
    "the null of jsonb": ("jb is not null", {"jb": "null"}),
    "no null of jsonb": ("jb is null", {}),
    "the first position": ("ints[0] = 1", {"ints": "[0:1]={1,2}"}),
    "the usual first position": ("ints[1] = 1", {"ints": "{1,2}"}),
    "the sign of zero": ("f8::text = '-0'", {"f8": "-0"}),
    "the sign of zero, short": ("f4::text <> '0'", {"f4": "-0"}),
    "a null in a row": ("(p).a is not null", {"p": '("null",1)'}),
    "another form of json": ("h = 'dark'", {"h": "dark"}),
    "the whole row": ("t::text like '%[0:0]={7}%'", {"ints": "[0:0]={7}"}),
}


@pytest.mark.parametrize(("condition", "values"), CASES.values(), ids=CASES)
def test_the_row_itself_is_asked_about_while_it_reads_the_same(
    connection: Connection, condition: str, values: dict[str, str]
):
    """Then the answer is that of a select."""
    policy(connection, condition)
    told = row(connection, **values)
    assert seen(connection, [told]) == [0]

    policy(connection, f"not ({condition})")
    assert seen(connection, [told]) == []


@pytest.mark.parametrize(("condition", "values"), CASES.values(), ids=CASES)
def test_what_the_table_does_not_have_any_more_is_never_sure(
    connection: Connection, condition: str, values: dict[str, str]
):
    """Changed or gone: nobody is said to see it, though somebody may have."""
    for other in (condition, f"not ({condition})"):
        policy(connection, other)
        told = row(connection, **values)
        connection.execute("update public.t set body = 'new'")
        assert set(seen(connection, [told])) <= {-1}
        connection.execute("delete from public.t")
        assert set(seen(connection, [told])) <= {-1}


def test_the_likeliest_values_are_guessed(connection: Connection):
    """A NULL of SQL, arrays that start at 1: each row has an answer of its own."""
    policy(connection, "jb is null and ints[1] = 1")
    rows = [
        {"id": n, "jb": jb, "ints": ints} for n, (jb, ints) in enumerate(((None, [1]), ({}, [1]), (None, [])))
    ]
    assert seen(connection, rows) == [-1]


def test_what_the_table_has_of_the_row_is_guessed(connection: Connection):
    """Where another version is there by now, what reads the same likely is the same."""
    policy(connection, "js is not null and body = 'x'")
    told = row(connection, js="null", body="x")
    connection.execute("update public.t set body = 'new'")
    assert seen(connection, [told]) == [-1]
    connection.execute("update public.t set js = null")
    assert seen(connection, [told]) == []
    assert seen(connection, [{**told, "id": 2}]) == []


SURE = {
    "numbers": (
        "num = 'NaN' and f8 = 'Infinity' and f4 = 0.1::real",
        {"num": "NaN", "f8": "Infinity", "f4": "0.1"},
    ),
    "bytes": ("by = '\\xdeadbeef'", {"by": "\\xdeadbeef"}),
    "padding": ("ch::text = 'ch' and octet_length(ch) = 5", {"ch": "ch"}),
    "jsonb": ("jb ->> 'k' = 'a'", {"jb": '{"k": "a"}'}),
    "an empty array": ("ints = '{}'", {"ints": "{}"}),
    "what no policy reads": ("body = 'x'", {"body": "x", "js": "null", "ints": "[0:0]={1}", "f8": "-0"}),
}


@pytest.mark.parametrize(("condition", "values"), SURE.values(), ids=SURE)
def test_what_json_tells_needs_no_row(connection: Connection, condition: str, values: dict[str, str]):
    """Rows that are in no table any more are decided as ever."""
    policy(connection, condition)
    told = row(connection, **values)
    connection.execute("delete from public.t")
    assert seen(connection, [told]) == [0]


def test_a_column_that_is_not_given_is_not_compared(connection: Connection):
    """Upstream leaves out what is computed."""
    policy(connection, "js::text = '[1, 2]'")
    told = row(connection, js="[1, 2]", body="x")
    del told["twice"]
    assert seen(connection, [told]) == [0]


OTHERWISE_WRITTEN = {
    "by a type that does not read its own json": ({"h": "dark", "js": "null"}, {}),
    "by who told the row": ({"js": "null", "by": "\\xab", "num": "1.50"}, {"by": "\\xAB", "num": "1.5"}),
}


@pytest.mark.parametrize(("values", "told"), OTHERWISE_WRITTEN.values(), ids=OTHERWISE_WRITTEN)
def test_the_row_is_found_however_it_is_written(
    connection: Connection, values: dict[str, str], told: dict[str, str]
):
    """What decides about its values, and what says that it is current, find the same row."""
    policy(connection, "js is not null")
    given = {**row(connection, **values), **told}
    assert asked(connection, [given], USER, table="public.t") == {"rows": [[0]], "current": [0]}
    connection.execute("update public.t set body = 'new'")
    gone = asked(connection, [given], USER, table="public.t")
    assert gone["current"] == []
    assert set(gone["rows"][0]) <= {-1}


def test_what_is_no_row_of_the_table_is_seen_by_nobody(connection: Connection):
    """The others have their own answer."""
    policy(connection, "body = 'x'")
    rows = json.loads('[{"id": "one", "body": "x"}, {"id": 2, "body": "x"}]')
    assert seen(connection, rows) == [1]
