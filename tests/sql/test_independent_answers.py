"""``bridge_visible()``: each answer is as if nobody else had been asked, and nothing of it stays."""

from collections.abc import Iterator

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Connection
from tests.sql.test_visible import ANN, BOB, note, visible

SCHEMA = """
create table public.notes (id int primary key, owner_id uuid, body text);
alter table public.notes enable row level security;
create table public.log (id int generated always as identity primary key, user_id uuid);
create function public.my_id() returns uuid language plpgsql as $$
declare
    known text := nullif(current_setting('app.me', true), '');
begin
    if known is null then
        known := auth.uid()::text;
        perform set_config('app.me', known, true);
    end if;
    return known::uuid;
end $$;
create function public.once() returns boolean language plpgsql security definer as $$
begin
    if exists (select from public.log) then
        return false;
    end if;
    insert into public.log (user_id) values (auth.uid());
    return true;
end $$;
"""


@pytest.fixture
def connection(migrated: EmbeddedPostgres) -> Iterator[Connection]:
    """A superuser's connection whose work is rolled back."""
    with psycopg.connect(migrated.url()) as one:
        one.execute(SCHEMA)
        yield one
        one.rollback()


def policy(connection: Connection, using: str) -> None:
    """Let ``using`` say who sees a note."""
    connection.execute(f"create policy p on public.notes for select using ({using})")


def test_what_a_helper_keeps_in_a_setting_reaches_nobody_else(connection: Connection):
    """A setting that holds for the transaction, as a request has one of its own."""
    policy(connection, "owner_id = public.my_id()")
    assert visible(connection, [note(1, ANN), note(2, BOB)], ANN, BOB) == [[0], [1]]
    assert connection.execute("select nullif(current_setting('app.me', true), '')").fetchone() == (None,)


def test_what_a_helper_writes_does_not_stay(connection: Connection):
    """The next user is asked as the first was, and the table is as before."""
    policy(connection, "public.once()")
    assert visible(connection, [note(1, None)], ANN, BOB) == [[0], [0]]
    assert connection.execute("select count(*) from public.log").fetchone() == (0,)


def test_rows_asked_one_by_one_do_not_reach_each_other(connection: Connection):
    """Where one row makes the policy fail, each of the others is asked for itself."""
    policy(connection, "body::int > 0 and public.once()")
    rows = [note(1, None, "x"), note(2, None, "1"), note(3, None, "2")]
    assert visible(connection, rows, ANN, BOB) == [[1, 2], [1, 2]]
    assert connection.execute("select count(*) from public.log").fetchone() == (0,)


def test_a_failing_user_leaves_nothing_to_the_next(connection: Connection):
    """What was set before the failure is undone with it."""
    policy(connection, "owner_id = public.my_id() and body::int > 0")
    rows = [note(1, ANN, "x"), note(2, BOB, "1"), note(3, ANN, "1")]
    assert visible(connection, rows, ANN, BOB) == [[2], [1]]
