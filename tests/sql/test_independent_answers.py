"""``bridge_visible()``: each answer is as if nobody else had been asked, and nothing of it stays."""

import psycopg
import pytest

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


SETTINGS = {
    "request.headers": '{"apikey": "service"}',
    "request.cookies": '{"a": "b"}',
    "request.method": "POST",
    "request.path": "/rpc/bridge_visible",
    "request.jwt.claim.role": "service_role",
    "request.jwt.claim.sub": ANN,
    "request.jwt.claim.email": "a@example.com",
    "request.header.apikey": "service",
}


def test_the_workers_own_request_is_not_the_users(connection: Connection):
    """Its headers and claims, also under the names of old PostgREST versions, read as not set; afterwards they are again."""
    for name, value in SETTINGS.items():
        connection.execute("select set_config(%s, %s, true)", (name, value))
        policy(connection, f"nullif(current_setting('{name}', true), '') is not null")
        assert visible(connection, [note(1, ANN)], ANN, BOB, None) == [[], [], []], name
        assert connection.execute("select current_setting(%s)", (name,)).fetchone() == (value,)
        connection.execute("drop policy p on public.notes")


def test_a_user_is_who_its_claims_say(connection: Connection):
    """Supabase's auth.uid() prefers the old setting, which would be the worker's."""
    connection.execute("select set_config('request.jwt.claim.sub', %s, true)", (ANN,))
    policy(
        connection,
        "owner_id = coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),"
        " nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid",
    )
    assert visible(connection, [note(1, ANN), note(2, BOB)], ANN, BOB) == [[0], [1]]


def test_what_is_not_set_is_null_to_the_policies(connection: Connection):
    """As where there is no request: not an empty text, which is no JSON."""
    policy(connection, "current_setting('request.headers', true) is null")
    assert visible(connection, [note(1, ANN)], ANN) == [[0]]


def test_an_assertion_that_fails_is_a_no(connection: Connection):
    """Postgres's OTHERS leaves it out; the other rows have their own answer."""
    connection.execute(
        "create function public.checked(i int) returns boolean language plpgsql as"
        " $$ begin assert i > 1; return true; end $$"
    )
    policy(connection, "public.checked(id)")
    assert visible(connection, [note(1, None), note(2, None)], ANN) == [[1]]


def test_a_statement_timeout_ends_the_call(connection: Connection):
    """It is no answer, not even a no; the session is as before."""
    policy(connection, "pg_sleep(id) is not null")
    connection.execute("set local statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled), connection.transaction():
        visible(connection, [note(5, None)], ANN)
    assert connection.execute("select current_user").fetchone() == ("postgres",)


def test_who_may_not_ask_is_told_so(connection: Connection):
    """A caller that cannot become the user is an error, not a no."""
    policy(connection, "true")
    connection.execute("create role lonely; grant execute on all functions in schema public to lonely")
    connection.execute("set session authorization lonely")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="role"):
        visible(connection, [note(1, None)], ANN)
