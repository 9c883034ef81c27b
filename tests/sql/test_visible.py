"""``bridge_visible()``: what the policies themselves say of given rows, for given users."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import Actors, Connection

ANN, BOB = (str(uuid.UUID(int=n)) for n in (1, 2))

SCHEMA = """
create table public.notes (id int primary key, owner_id uuid, body text);
alter table public.notes enable row level security;
create policy own on public.notes for select to authenticated using (owner_id = auth.uid());
create policy number on public.notes for select to authenticated using (body::int > 5);
create policy visible on public.notes as restrictive for select using (id > 0);
create table public."Odd ""name" (id int primary key, "Owner" uuid);
alter table public."Odd ""name" enable row level security;
create policy own on public."Odd ""name" using ("Owner" = auth.uid()
    or exists (select 1 from public.notes n where n.id = "Odd ""name".id));
"""


def claims(user: str | None) -> dict[str, str]:
    role = "anon" if user is None else "authenticated"
    return {"role": role, "claims": json.dumps({"role": role, "sub": user})}


def visible(
    connection: Connection, rows: Sequence[Any], *users: str | None, table: str = "public.notes"
) -> list[list[int]]:
    answer: list[list[int]] = asked(connection, rows, *users, table=table)["rows"]
    return answer


def asked(connection: Connection, rows: Sequence[Any], *users: str | None, table: str) -> dict[str, Any]:
    row = connection.execute(
        "select public.bridge_visible(%s, %s, %s)",
        (table, json.dumps(rows), json.dumps([claims(user) for user in users])),
    ).fetchone()
    assert row is not None
    answer: dict[str, Any] = json.loads(row[0])
    return answer


def note(number: int, owner: str | None, body: str = "1") -> dict[str, Any]:
    return {"id": number, "owner_id": owner, "body": body}


def test_each_user_sees_what_its_policies_show(connection: Connection):
    """Rows that are in no table, under each user's role and claims; restrictive policies count."""
    rows = [note(1, ANN), note(2, BOB), note(3, None, "9"), note(-1, ANN)]
    assert visible(connection, rows, ANN, BOB, None) == [[0, 2], [1, 2], []]


def test_a_row_that_makes_the_policy_fail_is_seen_by_nobody(connection: Connection):
    """The other rows have their own answer."""
    assert visible(connection, [note(1, None, "x"), note(2, None, "7")], ANN) == [[1]]


def test_rows_that_the_table_holds_exactly_so_are_named(connection: Connection):
    """Found by their primary key, of whatever columns; a value that is none of its column's spoils no other row."""
    connection.execute(
        "create type public.mood as enum ('ok');"
        "create table public.parts (a text, b timestamptz, mood public.mood, t numeric, data json, primary key (a, b));"
        """insert into public.parts values ('x', '2026-01-01 12:00+02', 'ok', 1.50, '{"a": 1, "b": [1.0]}'),"""
        " ('y', 'infinity', null, 'NaN', null)"
    )
    first = {"a": "x", "b": "2026-01-01T10:00:00Z", "mood": "ok", "t": 1.5, "data": {"b": [1], "a": 1}}
    second = {"a": "y", "b": "infinity", "mood": None, "t": "NaN", "data": None}
    rows = [
        {**first, "t": 2},
        first,
        {**first, "mood": "gone"},
        {**first, "b": "2026-01-01T10:00:01Z"},
        {**first, "mood": None},
        second,
        {"a": "x"},
    ]
    assert asked(connection, rows, ANN, table="public.parts")["current"] == [1, 5]
    assert asked(connection, [], ANN, table="public.parts") == {"rows": [[]], "current": []}


def test_a_row_that_changes_while_it_is_asked_about_is_not_current(connection: Connection):
    """Also where it is as it was in the end."""
    connection.execute("insert into public.notes values (1, null, 'a')")
    note = {"id": 1, "owner_id": None, "body": "a"}
    assert asked(connection, [note], ANN, table="public.notes")["current"] == [0]
    held = connection.execute(
        "select public.bridge_held('public.notes', %s)", (json.dumps([note]),)
    ).fetchone()
    connection.execute("update public.notes set body = 'b'; update public.notes set body = 'a'")
    again = connection.execute(
        "select public.bridge_held('public.notes', %s)", (json.dumps([note]),)
    ).fetchone()
    assert held is not None
    assert again is not None
    assert held[0].keys() == again[0].keys() == {"0"}
    assert held != again


def test_names_of_any_kind(connection: Connection):
    """Tables and columns that need quotes, and a subquery that refers to the row by its table's name."""
    connection.execute("insert into public.notes values (7, %s, '1')", (ANN,))
    rows = [{"id": 1, "Owner": ANN}, {"id": 7, "Owner": BOB}]
    assert visible(connection, rows, ANN, BOB, table='public.Odd "name') == [[0, 1], [1]]


def test_columns_of_any_name(connection: Connection):
    """What the query is made of has names that no column of a table has."""
    connection.execute("create table public.g (id int primary key, value int, ordinality int, g int)")
    connection.execute("alter table public.g enable row level security")
    connection.execute("create policy p on public.g using (value = ordinality and g > 0)")
    rows = [{"id": n, "value": 1, "ordinality": n, "g": 1} for n in (1, 2)]
    assert visible(connection, rows, ANN, table="public.g") == [[0]]


def test_helpers_find_their_tables_as_in_a_request(connection: Connection):
    """A function without a search_path of its own looks into schema public."""
    connection.execute(
        "create function public.any_note() returns boolean language plpgsql as"
        " $$ begin return exists (select 1 from notes); end $$;"
        "create policy helper on public.notes for select to anon using (public.any_note())"
    )
    assert visible(connection, [note(1, ANN)], None) == [[]]
    connection.execute("create policy seen on public.notes for select to anon using (true)")
    connection.execute("drop policy helper on public.notes")
    assert visible(connection, [note(1, ANN)], None) == [[0]]


def test_what_a_helper_sets_does_not_reach_the_next_question(connection: Connection):
    """SET LOCAL inside a function holds for the transaction: the next user is asked as the first was."""
    connection.execute(
        "create function public.unbound() returns boolean language plpgsql security definer as"
        " $$ begin set local row_security = off; return true; end $$;"
        "drop policy own on public.notes; drop policy number on public.notes;"
        "create policy helper on public.notes using (public.unbound()"
        " and (select count(*) from public.dialogs) >= 0)"
    )
    assert visible(connection, [note(1, ANN), note(2, ANN)], ANN, BOB) == [[0, 1], [0, 1]]


def test_a_table_without_privilege_or_policy_shows_nothing(connection: Connection):
    """As a SELECT would answer 42501, or no row."""
    connection.execute("drop policy own on public.notes; drop policy number on public.notes")
    assert visible(connection, [note(1, ANN)], ANN) == [[]]
    connection.execute("alter table public.notes disable row level security")
    assert visible(connection, [note(1, ANN)], ANN, None) == [[0], [0]]
    connection.execute("revoke all on public.notes from authenticated")
    assert visible(connection, [note(1, ANN)], ANN, None) == [[], [0]]


def test_circles_show_nothing(connection: Connection):
    """Where SELECT answers 42P17 nobody sees anything."""
    connection.execute(
        "create policy circle on public.notes for select using (exists (select 1 from public.notes n))"
    )
    assert visible(connection, [note(1, ANN)], ANN) == [[]]


def test_the_caller_is_itself_again_afterwards(connection: Connection):
    """Role, claims and search_path of the session are put back."""
    connection.execute('set local request.jwt.claims = \'{"sub": "x"}\'')
    before = connection.execute("select current_user, current_setting('search_path')").fetchone()
    visible(connection, [note(1, None, "x")], ANN, None)
    after = connection.execute("select current_user, current_setting('search_path')").fetchone()
    assert after == before
    assert connection.execute("select current_setting('request.jwt.claims')").fetchone() == ('{"sub": "x"}',)


@pytest.mark.parametrize(
    ("table", "role", "message"),
    [
        ("public.nothing", "anon", "table public.nothing does not exist"),
        ("public.notes", "service_role", "role service_role is not one of anon and authenticated"),
    ],
)
def test_a_wrong_question_is_refused(connection: Connection, table: str, role: str, message: str):
    """With what is so; nobody can be asked about but clients."""
    with pytest.raises(psycopg.Error, match=message):
        connection.execute(
            "select public.bridge_visible(%s, '[]', %s)",
            (table, json.dumps([{"role": role, "claims": "{}"}])),
        )


def test_only_the_worker_may_ask(actors: Actors):
    """A client could ask what others see."""
    call = "select public.bridge_visible('public.dialogs', '[]', '[]')"
    for role in ("anon", "authenticated"):
        assert actors.affected(actors.owner, call, role=role) == "42501"
    assert actors.affected(None, call, role="service_role") == 1


def test_the_marker_changes_with_the_catalog_only(connection: Connection):
    """Rows that are written change nothing; policies, functions, grants and columns do."""

    def marker() -> Any:
        return connection.execute("select public.bridge_catalog_marker()").fetchone()

    seen = [marker()]
    connection.execute("insert into public.notes values (1, null, 'x'); analyze public.notes")
    assert marker() == seen[0]
    for statement in (
        "create policy more on public.notes using (true)",
        "alter policy more on public.notes using (false)",
        "create function public.f() returns int language sql as 'select 1'",
        "create or replace function public.f() returns int language sql as 'select 2'",
        "revoke select on public.notes from anon",
        "alter table public.notes add column more int",
        "alter table public.notes disable row level security",
        "create table public.a (id int primary key)",
        "create table public.b (id int primary key, a int references public.a)",
        "create table public.c (id int primary key, b int references public.b, a int)",
        "alter table public.c add foreign key (a) references public.a",
        "create role some_role",
        "grant some_role to authenticated",
    ):
        connection.execute(statement)
        assert marker() not in seen, statement
        seen.append(marker())
