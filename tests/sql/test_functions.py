"""The functions that the worker calls: who may, and what they answer."""

import json
from typing import Any

import psycopg
import pytest

from bridge.authorization.catalog import decode_catalog
from bridge.identifiers import quoted
from tests.sql.conftest import Actors, Connection

CALLS = [
    "select public.bridge_catalog()",
    "select public.bridge_rows('public.dialogs')",
    """select public.bridge_row('public.dialogs', '{"id": "00000000-0000-0000-0000-000000000000"}')""",
    "select public.bridge_relation('public.dialogs')",
    "select public.bridge_condition('public.dialogs', 'anon')",
    "select public.bridge_question('public.dialogs', 'anon')",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_clients_may_not_call_them(actors: Actors, call: str, role: str):
    """Supabase grants EXECUTE to everybody by default; it was taken back."""
    assert actors.affected(actors.owner, call, role=role) == "42501"


@pytest.mark.parametrize("call", CALLS)
def test_service_role_may_call_them(actors: Actors, call: str):
    """The worker's role can."""
    assert actors.affected(None, call, role="service_role") == 1


def test_publishing_is_the_dbas_business(actors: Actors):
    """Not even service_role may add tables to the publication."""
    for role in ("anon", "authenticated", "service_role"):
        assert actors.affected(None, "select public.bridge_publish('public.dialogs')", role=role) == "42501"


def _text(connection: Connection, sql: str, *parameters: object) -> Any:
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return None if row[0] is None else json.loads(row[0])


def test_the_catalog_is_what_the_worker_decodes(connection: Connection):
    """It has the documented form, names qualified, and is the same each time."""
    text = connection.execute("select public.bridge_catalog()").fetchone()
    assert text is not None
    catalog = decode_catalog(text[0])
    messages = catalog.by_name["public.messages"]
    assert (messages.rls, messages.replica_identity, messages.primary_key) == (True, "f", ("id",))
    assert messages.publications == ("supabase_realtime",)
    assert [(fk.references.name, fk.checked) for fk in messages.foreign_keys] == [("dialogs", True)]
    assert "public.dialog_participants" in (messages.policies[0].using or "")
    assert {grant.role for grant in messages.grants} >= {"authenticated", "service_role"}
    assert [f.name for f in catalog.functions if f.schema == "bridge_private"] == [
        "owns_dialog",
        "sees_dialog",
    ]
    again = connection.execute("select public.bridge_catalog()").fetchone()
    assert again == text


@pytest.mark.parametrize(
    ("statement", "left_out"),
    [
        ("alter publication supabase_realtime set (publish = 'insert, update')", ("supabase_realtime",)),
        ("alter publication supabase_realtime set (publish = 'insert, update, delete')", ()),
        (
            "alter publication supabase_realtime set table public.messages where (body <> '')",
            ("supabase_realtime",),
        ),
        ("alter publication supabase_realtime set table public.messages", ()),
    ],
)
def test_a_publication_that_leaves_changes_out_is_told_apart(
    connection: Connection, statement: str, left_out: tuple[str, ...]
):
    """A membership whose end is not published would be a leak."""
    connection.execute(statement)
    text = connection.execute("select public.bridge_catalog()").fetchone()
    assert text is not None
    messages = decode_catalog(text[0]).by_name["public.messages"]
    assert messages.publications == ("supabase_realtime",)
    assert messages.partly_published == left_out


def test_the_fingerprint_changes_with_a_policy_and_only_then(connection: Connection):
    """Writing rows leaves it, altering a policy does not."""
    before = _text(connection, "select public.bridge_catalog()")["fingerprint"]
    connection.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
    assert _text(connection, "select public.bridge_catalog()")["fingerprint"] == before
    connection.execute("alter policy dialogs_select on public.dialogs using (false)")
    assert _text(connection, "select public.bridge_catalog()")["fingerprint"] != before


def test_column_grants_and_roles_are_told_apart(connection: Connection):
    """A column grant lists its columns; a policy to public says so; memberships are there."""
    connection.execute("create table public.t (id int primary key, a text, b text)")
    connection.execute("revoke all on public.t from anon, authenticated")
    connection.execute("grant select (id, a) on public.t to anon")
    connection.execute("create policy p on public.t using (true)")
    catalog = decode_catalog(connection.execute("select public.bridge_catalog()").fetchone()[0])  # type: ignore[index]
    table = catalog.by_name["public.t"]
    assert catalog.readable_columns("anon", table) == {"id", "a"}
    assert catalog.readable_columns("authenticated", table) == frozenset()
    assert (table.policies[0].roles, table.policies[0].command) == (("public",), "ALL")


@pytest.mark.parametrize(
    ("columns", "key", "values"),
    [
        ("id uuid default gen_random_uuid(), n int, primary key (id)", ["id"], "n"),
        ("n int, a text, b bigint, primary key (a, b)", ["a", "b"], "n"),
        ('n int, "Odd Name" text primary key', ["Odd Name"], "n"),
    ],
)
def test_pages_hold_every_row_once_and_in_key_order(
    connection: Connection, columns: str, key: list[str], values: str
):
    """Paging with the last key as ``after`` reads the table once, whatever the key is made of."""
    connection.execute(f"create table public.paged ({columns})")
    extra = {
        ("id",): "insert into public.paged (n) select g from generate_series(1, 25) g",
        (
            "a",
            "b",
        ): "insert into public.paged (n, a, b) select g, 'k' || g % 3, g * 10000000000 from generate_series(1, 25) g",
        (
            "Odd Name",
        ): "insert into public.paged (n, \"Odd Name\") select g, 'it''s \"' || g from generate_series(1, 25) g",
    }
    connection.execute(extra[tuple(key)])
    seen: list[int] = []
    after = None
    while True:
        page = _text(connection, "select public.bridge_rows('public.paged', %s::jsonb, 10)", after)
        seen += [row[values] for row in page]
        if len(page) < 10:
            break
        after = json.dumps({column: page[-1][column] for column in key})
    assert sorted(seen) == list(range(1, 26))


def test_only_the_asked_columns_are_read(connection: Connection):
    """Columns that are not asked for stay in the database."""
    connection.execute("insert into public.dialogs (owner_id, title) values (gen_random_uuid(), 'secret')")
    rows = _text(connection, "select public.bridge_rows('public.dialogs', null, 5, array['id'])")
    assert [set(row) for row in rows] == [{"id"}]


def test_one_row_by_key(connection: Connection):
    """The row as it is; null when there is none."""
    connection.execute("create table public.k (a text, b bigint, c numeric, primary key (a, b))")
    connection.execute("insert into public.k values ('x', 9007199254740993, 0.10)")
    key = json.dumps({"a": "x", "b": 9007199254740993})
    text = connection.execute("select public.bridge_row('public.k', %s::jsonb)", (key,)).fetchone()
    assert text == ('{"a": "x", "b": 9007199254740993, "c": 0.10}',)
    assert _text(connection, 'select public.bridge_row(\'public.k\', \'{"a": "y", "b": 1}\')') is None


def test_columns_of_any_name(connection: Connection):
    """A column that is called as the query calls the whole row does not take its place."""
    connection.execute("create table public.named (r int primary key, p int)")
    connection.execute("insert into public.named values (1, 2)")
    row = {"r": 1, "p": 2}
    assert _text(connection, "select public.bridge_rows('public.named')") == [row]
    assert _text(connection, "select public.bridge_rows('public.named', null, 1, array['p', 'r'])") == [row]
    assert _text(connection, "select public.bridge_row('public.named', '{\"r\": 1}')") == row


def test_a_name_in_mixed_case_is_given_as_the_catalog_has_it(connection: Connection):
    """Without quotes: ORMs like to make tables whose names need them."""
    connection.execute('create table public."Chat Room" ("Id" int primary key)')
    connection.execute('insert into public."Chat Room" values (1)')
    assert _text(connection, "select public.bridge_rows('public.Chat Room')") == [{"Id": 1}]
    assert _text(connection, "select public.bridge_row('public.Chat Room', '{\"Id\": 1}')") == {"Id": 1}
    for nowhere in ("public.chat room", "Chat Room", "public.", "", None):
        with pytest.raises(psycopg.errors.UndefinedTable), connection.transaction():
            connection.execute("select public.bridge_rows(%s)", (nowhere,))


@pytest.mark.parametrize(
    ("call", "sqlstate"),
    [
        ("public.bridge_rows('public.no_such_table')", "42P01"),
        ("public.bridge_rows('public.dialogs; drop table public.dialogs')", None),
        ("public.bridge_rows('public.dialogs', null, 0)", "22023"),
        ("public.bridge_rows('public.dialogs', null, 1, array['no_such_column'])", "42703"),
        ("public.bridge_rows('public.dialogs', null, 1, array['id\" from pg_user --'])", "42703"),
        ("public.bridge_row('public.no_such_table', '{}')", "42P01"),
    ],
)
def test_bad_input_is_refused(connection: Connection, call: str, sqlstate: str | None):
    """Unknown tables and columns, no rows, and attempts to smuggle SQL in."""
    with pytest.raises(psycopg.Error) as raised:
        connection.execute(f"select {call}")
    if sqlstate is not None:
        assert raised.value.sqlstate == sqlstate
        assert raised.value.diag.message_hint


def test_a_table_without_a_key_is_refused(connection: Connection):
    """It has no order to page by, and the hint says what to do."""
    connection.execute("create table public.keyless (a int)")
    with pytest.raises(psycopg.Error) as raised:
        connection.execute("select public.bridge_rows('public.keyless')")
    assert "primary key" in (raised.value.diag.message_hint or "")


def test_names_are_put_into_quotes_as_postgres_does(connection: Connection):
    """Every word of SQL: a schema called "order" would be no name in the statements that are advised.

    Later versions of Postgres have words of their own, which are in quotes for all.
    """
    query = "select word, quote_ident(word) from pg_get_keywords() union all values ('rooms', 'rooms'), ('Rooms', '\"Rooms\"')"
    words = connection.execute(query).fetchall()
    ours = {word: quoted(word) for word, _ in words}
    assert {word for word, theirs in words if theirs != word} <= {w for w in ours if ours[w] == f'"{w}"'}
    assert (ours["rooms"], ours["order"]) == ("rooms", '"order"')
