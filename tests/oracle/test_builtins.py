"""Every built-in operator, function and cast over a grid of nasty values: what is answered, Postgres answers.

Where Postgres answers with an error, here has to be UndecidedError; where it answers, the same or UndecidedError.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest

from bridge.authorization import builtins
from bridge.errors import CompileError
from tests.oracle import grid
from tests.oracle.values import INTERVALS, VALUES

TYPES: Mapping[str, Sequence[str]] = {
    "text": ("text",), "int": ("int2", "int4", "int8"), "bool": ("boolean",), "numeric": ("numeric",), "uuid": ("uuid",), "timestamptz": ("timestamptz",),
    "timestamp": ("timestamp",), "date": ("date",), "jsonb": ("jsonb",), "text[]": ("text[]",), "uuid[]": ("uuid[]",), "int[]": ("int4[]",),
}  # fmt: skip
"""The Postgres types of a family."""

PLACES = ("a", "b", "c")


@pytest.fixture(scope="module")
def database(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    with connection.transaction(force_rollback=True):
        connection.execute("set local timezone = 'UTC'")
        connection.execute(grid.SETUP)
        yield connection


def compared(
    database: psycopg.Connection[Any],
    text: str,
    given: Sequence[str],
    *,
    small: bool = False,
    timezone: str = "UTC",
) -> int:
    """Compare ``text`` over columns a, b, c of the types ``given``; return how many rows were decided."""
    columns = dict(zip(PLACES, given, strict=False))
    shown = grid.printed(database, text, columns)
    expr = grid.translated(shown, columns, timezone)
    values = [VALUES[t] if not small else VALUES[t][:12] for t in given]
    texts = list(itertools.product(*values))
    rows, expected = grid.postgres(database, text, columns, texts, expr.type)
    found = grid.memory(expr, rows)
    wrong = [
        (row, mine, theirs)
        for row, mine, theirs in zip(texts, found, expected, strict=True)
        if mine is not grid.UNDECIDED and grid.plain(mine, expr.type) != grid.plain(theirs, expr.type)
    ]
    assert not wrong, f"{shown}: {len(wrong)} differ, such as {wrong[:8]}"
    return sum(mine is not grid.UNDECIDED for mine in found)


def operators() -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for name, left, right in builtins.OPERATORS:
        if "interval" in (left, right):
            continue
        cast = "::json" if left == "json" else ""
        for a in TYPES["jsonb" if left == "json" else left]:
            for b in TYPES[right]:
                if name in ("->", "->>") and b == "int8":
                    continue  # there is no such operator
                found.append((f"(t.a{cast}) {name} t.b".replace("t.", ""), (a, b)))
    return found


@pytest.mark.parametrize(("text", "given"), operators())
def test_operator(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """Every binary operator, for all pairs of values."""
    assert compared(database, text, given) > 0


@pytest.mark.parametrize("name", builtins.ARRAY_OPERATORS)
@pytest.mark.parametrize(
    "type_", ["text[]", "int4[]", "uuid[]", "boolean[]", "numeric[]", "timestamptz[]", "date[]"]
)
def test_array_operator(database: psycopg.Connection[Any], name: str, type_: str) -> None:
    """Every operator of two arrays, with NULLs in them and of two dimensions."""
    assert compared(database, f"a {name} b", (type_, type_)) > 0


def functions() -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for name, arguments in builtins.FUNCTIONS:
        called = {"position": "position(b in a)"}.get(name, f"{name}({', '.join(PLACES[: len(arguments)])})")
        found += [(called, given) for given in itertools.product(*(TYPES[a][:2] for a in arguments))]
    return found


@pytest.mark.parametrize(("text", "given"), functions())
def test_function(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """Every function, for all values, or for some of each of three arguments."""
    assert compared(database, text, given, small=len(given) > 2) > 0


@pytest.mark.parametrize(
    "text", ["cardinality(a)", "array_length(a, 1)", "array_length(a, 2)", "array_length(a, 0)"]
)
@pytest.mark.parametrize("type_", ["text[]", "int4[]", "uuid[]"])
def test_array_function(database: psycopg.Connection[Any], text: str, type_: str) -> None:
    """Every function of an array."""
    compared(database, text, (type_,))


CASTS = {
    (source, target)
    for source, target in (
        *itertools.product(("text", "int2", "int4", "int8", "boolean", "numeric", "uuid", "jsonb", grid.ENUM), ("text", "int2", "int4", "int8", "boolean", "uuid", "numeric")),
        ("timestamptz", "date"), ("timestamp", "date"), ("timestamptz", "timestamp"), ("timestamp", "timestamptz"), ("date", "timestamp"), ("date", "timestamptz"),
        ("text[]", "uuid[]"), ("uuid[]", "text[]"), ("text", "name"), ("text", "jsonb"), ("jsonb", "json"), ("text", "varchar"), ("text", grid.ENUM),
        ("text[]", "int4[]"), ("int4[]", "text[]"), ("text", "timestamptz"), ("text", "date"), ("timestamptz", "text"),
    )
    if source != target
}  # fmt: skip


@pytest.mark.parametrize(("source", "target"), sorted(CASTS))
def test_cast(database: psycopg.Connection[Any], source: str, target: str) -> None:
    """Every cast that is translated, also those that narrow."""
    try:
        compared(database, f"a::{target}", (source,))
    except (CompileError, psycopg.errors.CannotCoerce):
        return


@pytest.mark.parametrize("text", ["array[a, a]::text", f"(a::text || '{'n' * 70}')::name"])
def test_casts_that_are_not_translated(database: psycopg.Connection[Any], text: str) -> None:
    """An array has a form of its own as text, and a name has 63 bytes."""
    with pytest.raises(CompileError):
        compared(database, text, (grid.ENUM,))


@pytest.mark.parametrize(
    "operator", ["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]
)
@pytest.mark.parametrize("type_", [t for t in VALUES if not t.endswith("[]")])
def test_comparison(database: psycopg.Connection[Any], operator: str, type_: str) -> None:
    """Every comparison of two values of a type."""
    try:
        assert compared(database, f"a {operator} b", (type_, type_)) > 0
    except CompileError:
        assert operator in ("<", "<=", ">", ">=")
        assert type_ in ("text", "jsonb")


@pytest.mark.parametrize("operator", ["=", "<>", "<", ">="])
@pytest.mark.parametrize("types", [("int2", "int8"), ("int4", "numeric"), ("numeric", "int8")])
def test_comparison_of_two_types(
    database: psycopg.Connection[Any], operator: str, types: tuple[str, str]
) -> None:
    """Numbers of different widths, and with a fraction."""
    assert compared(database, f"a {operator} b", types) > 0


@pytest.mark.parametrize("type_", [t for t in VALUES if not t.endswith("[]")])
def test_comparison_with_a_constant(database: psycopg.Connection[Any], type_: str) -> None:
    """Each value written in a policy, compared with each in a column."""
    for text in VALUES[type_]:
        if text is None:
            continue
        literal = text.replace("'", "''")
        try:
            compared(database, f"a = '{literal}'::{type_}", (type_,))
        except CompileError:
            continue


@pytest.mark.parametrize("type_", [t for t in VALUES if t.endswith("[]")])
@pytest.mark.parametrize("text", ["b = any (a)", "b <> all (a)", "not (b = any (a))", "a is null"])
def test_element(database: psycopg.Connection[Any], type_: str, text: str) -> None:
    """``= ANY`` and ``<> ALL`` of each array with each value."""
    try:
        compared(database, text, (type_, type_.removesuffix("[]")))
    except CompileError:
        assert type_ == "jsonb[]"


@pytest.mark.parametrize("span", INTERVALS)
@pytest.mark.parametrize("type_", ["timestamptz", "timestamp"])
@pytest.mark.parametrize(
    "text", ["a + interval '{}'", "a - interval '{}'", "a - b < interval '{}'", "a - b = interval '{}'"]
)
def test_interval(database: psycopg.Connection[Any], type_: str, text: str, span: str) -> None:
    """Each interval added to, taken from and compared with times."""
    compared(database, text.format(span), (type_, type_))


SHAPES = (
    ("coalesce(a, b)", ("text", "text")), ("coalesce(a -> 'a', b)", ("jsonb", "jsonb")), ("nullif(a, b)", ("text", "text")), ("nullif(a, b)", ("numeric", "int4")),
    ("nullif(a, b)", ("jsonb", "jsonb")), ("case when a then b else c end", ("boolean", "text", "text")), ("case a when b then 1 when c then 2 else 3 end", ("int4", "int4", "int4")),
    ("a in (b, c, 'a')", ("text", "text", "text")), ("a not in (b, null)", ("int4", "int4")), ("a and b or not c", ("boolean", "boolean", "boolean")),
    ("a is true", ("boolean",)), ("a is not true", ("boolean",)), ("a is false", ("boolean",)), ("a is not false", ("boolean",)), ("a is unknown", ("boolean",)),
    ("a is not unknown", ("boolean",)), ("a between b and c", ("int4", "int4", "int4")), ("a not between b and c", ("numeric", "numeric", "numeric")),
    ("a = any (array[b, c])", ("text", "text", "text")), ("a @> array[b]", ("text[]", "text")), ("array[b, c] <@ a", ("int4[]", "int4", "int4")),
    ("a && array[b, null]", ("text[]", "text")), ("a @> '{}'", ("text[]",)), ("a <@ '{a,b}'", ("text[]",)), ("a <> all ('{a,NULL}')", ("text",)),
    ("a like any (array['a%', '%b'])", ("text",)), ("a not like all (array['a%', '%b'])", ("text",)), ("a ->> 'a' = '1'", ("jsonb",)), ("(a ->> 'a')::int = 1", ("jsonb",)),
    ("(a -> 'a')::int = 1", ("jsonb",)), ("(a -> 'a')::boolean", ("jsonb",)), ("(a ->> 'a')::boolean", ("jsonb",)), ("(a ->> 'a')::uuid", ("jsonb",)),
    ("a #>> '{a,a,a}'", ("jsonb",)), ("a #> '{6,a}'", ("jsonb",)), ("a -> -1", ("jsonb",)), ("a @> '{\"a\": 1}'", ("jsonb",)), ("a = '1'", ("jsonb",)), ("a -> 'a' is null", ("jsonb",)),
    ("lower(a) = lower(b)", ("text", "text")), ("a || '-' || b", ("text", "text")), ("a || b::text", ("text", "int4")), ("(a at time zone 'utc')::date = b", ("timestamptz", "date")),
    ("a = current_user", ("text",)), ("cardinality(array[a, b])", ("int4", "int4")), ("cardinality(array[array[a, b], array[b, a]])", ("int4", "int4")),
    ("array_length(array[a], 1)", ("int4",)), ("split_part(a, 'a', -1)", ("text",)), ("trim(a)", ("text",)), ("a::uuid = b", ("text", "uuid")), ("a::text = b", ("uuid", "text")),
    ("a + 1 > b", ("int4", "int4")), ("a - b", ("int2", "int2")), ("a = '{a,b}'", ("text[]",)), ("array[a, b] = array[b, a]", ("text", "text")), ("(a, b) = (b, a)", ("text", "text")),
    ("a >= 'ok'", (grid.ENUM,)), ("a between 'ok' and b", (grid.ENUM, grid.ENUM)), ("coalesce(a, 'ok') < b", (grid.ENUM, grid.ENUM)),
    ("case when a > 'sad' then a else b end <= 'ok'", (grid.ENUM, grid.ENUM)), ("not (a < b)", (grid.ENUM, grid.ENUM)),
    ("a::text", (grid.ENUM,)), ("a = any ('{sad,glad}'::grid.mood[])", (grid.ENUM,)), ("greatest(a, b)", ("int4", "int4")), ("jsonb_extract_path_text(a, 'a', 'a')", ("jsonb",)),
    ("jsonb_extract_path_text(a, '0')", ("jsonb",)), ("a ? b and not a ? b", ("jsonb", "text")), ("a ?| array['a', b]", ("jsonb", "text")), ("a ?& '{}'", ("jsonb",)),
)  # fmt: skip


ELEMENTS = (
    ("b in (select jsonb_array_elements_text(a))", ("jsonb", "text")), ("b not in (select jsonb_array_elements_text(a))", ("jsonb", "text")),
    ("b in (select e.value from jsonb_array_elements_text(a) e)", ("jsonb", "text")), ("b in (select e.x from jsonb_array_elements_text(a) e (x))", ("jsonb", "text")),
    ("b = any (array(select jsonb_array_elements_text(a)))", ("jsonb", "text")), ("b <> all (array(select jsonb_array_elements_text(a)))", ("jsonb", "text")),
    ("exists (select 1 from jsonb_array_elements(a) e where e = b)", ("jsonb", "jsonb")), ("b in (select jsonb_array_elements(a))", ("jsonb", "jsonb")),
    ("exists (select 1 from jsonb_array_elements(a) e where e.value ->> 'a' = b)", ("jsonb", "text")), ("b in (select jsonb_array_elements(a) ->> 'a')", ("jsonb", "text")),
    ("exists (select 1 from json_array_elements(a::json) e where e ->> 'a' = '1')", ("jsonb",)), ("'a' in (select json_array_elements_text(a::json))", ("jsonb",)),
    ("exists (select 1 from jsonb_array_elements(a) e where e is null)", ("jsonb",)), ("(select count(*) from jsonb_array_elements_text(a) e where e is null)", ("jsonb",)),
    ("(select count(*) from jsonb_array_elements(a))", ("jsonb",)), ("(select count(e) from unnest(a) e)", ("text[]",)), ("b in (select unnest(a))", ("text[]", "text")),
    ("b not in (select x from unnest(a) x)", ("text[]", "text")), ("b in (select x from unnest(a) x where x <> 'a')", ("text[]", "text")), ("b in (select unnest(a)::text)", ("int4[]", "text")),
    ("exists (select 1 from unnest(a) t (x) where t.x > b)", ("int4[]", "int4")), ("exists (select 1 from unnest(a) x where x is null)", ("uuid[]",)),
    ("exists (select 1 from unnest(a) x where x = b and b <> 'a')", ("text[]", "text")), ("b in (select unnest(a))", ("uuid[]", "uuid")), ("b in (select x + 1 from unnest(a) x)", ("int4[]", "int4")),
    ("array(select upper(trim(x)) from unnest(a) x where trim(x) <> '')", ("text[]",)), ("(select x from unnest(a) x limit 1)", ("text[]",)), ("(select unnest(a))", ("text[]",)),
    ("b in (select x from unnest(a) x union all select null)", ("text[]", "text")), ("b in (select x from (select unnest(a) as x union select 'k') s where s.x <> 'a')", ("text[]", "text")),
    ("b in (select x from unnest(a) x limit 1)", ("text[]", "text")), ("b not in (select x from unnest(a) x order by x limit 1)", ("text[]", "text")),
    ("exists (select 1 from unnest(a) x, unnest(a) y where x > y)", ("int4[]",)), ("b in (select x from unnest(a) x where x in (select y from unnest(a) y where y <> 'a'))", ("text[]", "text")),
    ("(with one as (select x from unnest(a) x limit 1) select coalesce(one.x, 'none') from one)", ("text[]",)), ("exists (select 1 from (select x from unnest(a) x limit 1) s where s.x = b)", ("text[]", "text")),
    ("exists (select 1 from unnest(a) x, lateral (select x || 'b' as z) s where z = b)", ("text[]", "text")), ("bool(b = any (a)) = (b in (select unnest(a)))", ("numeric[]", "numeric")),
)  # fmt: skip


ARRAYS = (
    ("a || b", ("text[]", "text[]")), ("a || b", ("text[]", "text")), ("b || a", ("int4[]", "int4")), ("a || '{a,NULL}'", ("text[]",)), ("a || null::text", ("text[]",)),
    ("a || array[b, 'a']", ("text[]", "text")), ("coalesce(a, '{}') || array[b] || b", ("text[]", "text")), ("b = any (a || b)", ("uuid[]", "uuid")), ("(a || b) && '{a,b}'", ("text[]", "text")),
    ("(array[a, b])[1]", ("text", "text")), ("(array[a, b])[c]", ("int4", "int4", "int4")), ("('{a,b,c}'::text[])[a]", ("int4",)), ("(array[a, b] || c)[3]", ("text", "text", "text")),
    ("string_to_array(a, ',')", ("text",)), ("(string_to_array(a, ''))[b:c]", ("text", "int4", "int4")), ("((string_to_array(a, 'a'))[b:2])[c]", ("text", "int4", "int4")), ("string_to_array(a, '')", ("text",)), ("(string_to_array(a, '.'))[2]", ("text",)), ("(string_to_array(a, 'a'))[b]", ("text", "int4")),
    ("b = any (string_to_array(a, ','))", ("text", "text")), ("(array(select x from unnest(a) x))[1]", ("int4[]",)), ("(case when a then string_to_array(b, ',') else array[c] end)[1]", ("boolean", "text", "text")),
    ("(string_to_array(a, ',')::uuid[])[1]", ("text",)),
)  # fmt: skip


DOCUMENTS = (
    ("jsonb_build_array(a)", ("text",)), ("jsonb_build_array(a, 'x', 1, true, null, b)", ("uuid", "int4")), ("jsonb_build_array(a, b)", ("jsonb", "boolean")),
    ("jsonb_build_object('a', a, 'k', b)", ("text", "jsonb")), ("jsonb_build_object('a', a, 'a', b)", ("int4", "uuid")), ("to_jsonb(a)", ("text",)), ("to_jsonb(a)", ("uuid",)), ("to_jsonb(a)", ("int8",)),
    ("a @> jsonb_build_array(b)", ("jsonb", "text")), ("a @> jsonb_build_array(b, 1)", ("jsonb", "text")), ("jsonb_build_array(b) <@ a", ("jsonb", "int4")), ("a @> jsonb_build_array(b)", ("jsonb", "jsonb")),
    ("a @> jsonb_build_object('a', b)", ("jsonb", "text")), ("a @> jsonb_build_object('a', b)", ("jsonb", "int4")), ("a @> to_jsonb(b)", ("jsonb", "text")), ("to_jsonb(b) <@ a", ("jsonb", "uuid")),
    ("a @> jsonb_build_array(jsonb_build_object('a', b))", ("jsonb", "int4")), ("jsonb_build_array(a) ->> 0", ("text",)), ("jsonb_typeof(a) = 'array'", ("jsonb",)), ("jsonb_typeof(a -> 'a')", ("jsonb",)),
    ("jsonb_typeof(to_jsonb(a))", (grid.ENUM,)), ("jsonb_array_length(a) > 1", ("jsonb",)), ("jsonb_typeof(jsonb_build_array(a) -> 0)", ("text",)), ("jsonb_build_object('a', a) ->> 'a'", (grid.ENUM,)),
)  # fmt: skip


@pytest.mark.parametrize(("text", "given"), DOCUMENTS)
def test_documents(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """Jsonb that is made of values, alone and in what asks for it."""
    assert compared(database, text, given) > 0


@pytest.mark.parametrize("text", ["jsonb_build_object(a, 1)", "jsonb_build_array(b)", "to_jsonb(b)"])
def test_documents_of_other_values(database: psycopg.Connection[Any], text: str) -> None:
    """A key that may be NULL, and values whose JSON is printed in another way."""
    with pytest.raises(CompileError):
        compared(database, text, ("text", "timestamptz"))


LENGTHS = (
    ("a::varchar(2)", ("text",)), ("a::varchar(2) = b", ("text", "text")), ("a::varchar(3)", ("int4",)), ("a::text::character varying(40)::uuid", ("uuid",)), ("(a ->> 'a')::varchar(1)", ("jsonb",)),
    ("a::varchar(2)::text", (grid.ENUM,)), ("'abc'::varchar(2) = a", ("text",)), ("a::varchar(36) = b::varchar(36)", ("uuid", "text")),
)  # fmt: skip


@pytest.mark.parametrize(("text", "given"), LENGTHS)
def test_lengths(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """A cast to a type with a length cuts."""
    assert compared(database, text, given) > 0


@pytest.mark.parametrize("name", ["least", "greatest"])
@pytest.mark.parametrize(
    "type_", ["int4", "int8", "uuid", "numeric", "boolean", "timestamptz", "timestamp", "date"]
)
def test_extremes(database: psycopg.Connection[Any], name: str, type_: str) -> None:
    """The least and the greatest of those that are not NULL."""
    assert compared(database, f"{name}(a, b)", (type_, type_)) > 0
    assert compared(database, f"{name}(a, b, null, a) = b", (type_, type_)) > 0


@pytest.mark.parametrize(("text", "given"), [("least(a, b)", "text"), ("greatest(a, b)", "jsonb")])
def test_extremes_of_what_has_another_order(database: psycopg.Connection[Any], text: str, given: str) -> None:
    """Postgres is asked."""
    with pytest.raises(CompileError):
        compared(database, text, (given, given))


LABELLED = (
    (f"a::{grid.ENUM}", ("text",)), (f"a::{grid.ENUM} = b", ("text", grid.ENUM)), (f"(a ->> 'a')::{grid.ENUM} >= 'ok'", ("jsonb",)), (f"b = any (array[a]::{grid.ENUM}[])", ("text", grid.ENUM)),
    (f"b = any (a::{grid.ENUM}[])", ("text[]", grid.ENUM)), (f"a::text::{grid.ENUM} < b", (grid.ENUM, grid.ENUM)), (f"b::text = a::{grid.ENUM}::text", ("text", grid.ENUM)),
)  # fmt: skip


@pytest.mark.parametrize(("text", "given"), LABELLED)
def test_labels(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """A text as a value of an enum: an error where it is no label."""
    assert compared(database, text, given) > 0


@pytest.mark.parametrize(("text", "given"), ARRAYS)
def test_arrays(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """Arrays that are put together, split from texts, and asked for one element."""
    assert compared(database, text, given, small=len(given) > 2) > 0


@pytest.mark.parametrize(
    "text",
    [
        "a[1]",
        "(a || b)[1]",
        "a[1:2]",
        "(string_to_array('a', ','))[2:]",
        "a[1][1]",
        "string_to_array('a', a[1])",
    ],
)
def test_the_positions_of_a_column_are_not_known(database: psycopg.Connection[Any], text: str) -> None:
    """Its JSON does not tell where it starts: Postgres is asked."""
    with pytest.raises(CompileError):
        compared(database, text, ("text[]", "text"))


@pytest.mark.parametrize(("text", "given"), ELEMENTS)
def test_elements(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """The elements of arrays as rows, in FROM and in target lists, and where there is only one of them."""
    assert compared(database, text, given) > 0


@pytest.mark.parametrize(("text", "given"), SHAPES)
def test_shape(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """Expressions of several parts."""
    try:
        compared(database, text, given, small=len(given) > 2)
    except CompileError:
        return


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("a::date", ("timestamptz",)),
        ("a::date", ("timestamp",)),
        ("a + interval '1 day'", ("timestamptz",)),
        ("a + interval '1 mon'", ("timestamptz",)),
        ("a + interval '36:00:00'", ("timestamptz",)),
        ("a + interval '1 day'", ("timestamp",)),
        ("a - b < interval '1 day'", ("timestamptz", "timestamptz")),
        ("a - (b - a)", ("timestamptz", "timestamptz")),
        ("(a at time zone 'utc')::date", ("timestamptz",)),
        ("a = b", ("timestamptz", "timestamptz")),
        ("a = '2024-03-31 12:00'::timestamptz", ("timestamptz",)),
    ],
)
def test_another_time_zone(database: psycopg.Connection[Any], text: str, given: tuple[str, ...]) -> None:
    """What depends on the session's time zone is not decided here, unless that is UTC."""
    with database.transaction(force_rollback=True):
        database.execute("set local timezone = 'America/New_York'")
        try:
            compared(database, text, given, timezone="America/New_York")
        except CompileError:
            assert "timestamptz" in given
