"""RPC as PostgREST answers it: shapes, roles, statuses."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClientOptions, acreate_client

from bridge.local.stack import LocalStack
from tests.support.stack import local_stack

USER = "11111111-1111-1111-1111-111111111111"
FUNCTIONS = """
create type public.pair as (a int, b text);
create table public.notes (id int primary key);
create function public.hello(name text default 'you') returns text language sql stable as $$select 'hi ' || name$$;
create function public.nothing() returns text language sql stable as 'select null::text';
create function public.as_json() returns json language sql stable as $$select '{"b": 1.50, "a": [1,  2]}'::json$$;
create function public.numbers(n int) returns setof int language sql stable as 'select generate_series(1, n)';
create function public.rows(n int) returns table (x int) language sql stable as 'select generate_series(1, n)';
create function public.one_pair() returns public.pair language sql stable as $$select (1, 'x')::public.pair$$;
create function public.outs(a int, out twice int, out thrice int) language sql stable as 'select 2 * a, 3 * a';
create function public.total(variadic parts int[]) returns int language sql stable
    as 'select sum(p)::int from unnest(parts) p';
create function public.whole(o jsonb, l text[]) returns jsonb language sql stable
    as 'select jsonb_build_object(''o'', o, ''l'', to_jsonb(l))';
create function public.note(id int) returns void language sql as 'insert into public.notes values (id)';
create function public.who() returns jsonb language sql stable
    as 'select jsonb_build_object(''role'', current_user, ''uid'', auth.uid())';
create function public.secret() returns int language sql stable as 'select 1';
revoke execute on function public.secret() from public, anon, authenticated;
create function public.fails(state text) returns int language plpgsql stable
    as $$begin raise exception using errcode = state, message = 'no', detail = 'why', hint = 'do'; end$$;
create function public.either(a int) returns int language sql stable as 'select 1';
create function public.either(a text) returns int language sql stable as 'select 1';
"""


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """A stack with some functions."""
    with local_stack(migrations=False) as stack, psycopg.connect(stack.database_url) as connection:
        connection.execute(FUNCTIONS.encode())
        connection.execute("revoke insert on public.notes from anon")
        connection.commit()
        yield stack


async def rpc(
    project: LocalStack, name: str, arguments: dict[str, Any] | None = None, *, key: str | None = None
) -> httpx.Response:
    """Call a function, as service_role unless told otherwise."""
    headers = {"Authorization": f"Bearer {key or project.service_role_key}"}
    async with httpx.AsyncClient() as client:
        return await client.post(f"{project.url}/rest/v1/rpc/{name}", json=arguments or {}, headers=headers)


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("hello", {"name": "Zoë"}, '"hi Zoë"'),
        ("hello", {}, '"hi you"'),
        ("nothing", {}, "null"),
        ("as_json", {}, '{"b": 1.50, "a": [1,  2]}'),
        ("numbers", {"n": 3}, "[1, 2, 3]"),
        ("numbers", {"n": 0}, "[]"),
        ("rows", {"n": 2}, '[{"x":1}, \n {"x":2}]'),
        ("one_pair", {}, '{"a":1,"b":"x"}'),
        ("outs", {"a": 2}, '{"twice":4,"thrice":6}'),
        ("total", {"parts": [1, 2, 3]}, "6"),
        ("whole", {"o": {"k": None}, "l": ["a", "b,c"]}, '{"l": ["a", "b,c"], "o": {"k": null}}'),
    ],
)
async def test_results_have_the_shape_of_postgrest(
    project: LocalStack, name: str, arguments: dict[str, Any], answer: str
):
    """A scalar is bare, a set an array, a row an object; JSON passes as it is written."""
    response = await rpc(project, name, arguments)

    assert (response.status_code, response.text) == (200, answer)


async def test_a_void_function_has_no_content(project: LocalStack):
    """It ran, was committed, and answers 204 without a body."""
    response = await rpc(project, "note", {"id": 7})

    assert (response.status_code, response.content) == (204, b"")
    with psycopg.connect(project.database_url) as connection:
        assert connection.execute("select count(*) from public.notes where id = 7").fetchone() == (1,)


async def test_a_function_runs_as_the_role_of_the_token(project: LocalStack):
    """With the claims set, so that auth.uid() answers; without a token as anon."""
    token = project.token(USER)

    assert (await rpc(project, "who", key=token)).json() == {"role": "authenticated", "uid": USER}
    async with httpx.AsyncClient() as client:
        url = f"{project.url}/rest/v1/rpc/who"
        assert (await client.get(url)).json() == {"role": "anon", "uid": None}
        by_key = await client.get(url, headers={"apikey": project.service_role_key})
        assert by_key.json()["role"] == "service_role"


async def test_get_takes_its_arguments_from_the_query_and_writes_nothing(project: LocalStack):
    """A function that writes cannot be called with GET: 405, and nothing is written."""
    headers = {"apikey": project.service_role_key}
    async with httpx.AsyncClient(base_url=f"{project.url}/rest/v1/rpc/", headers=headers) as client:
        assert (await client.get("numbers", params={"n": "2"})).json() == [1, 2]
        refused = await client.get("note", params={"id": "8"})

    assert (refused.status_code, refused.json()["code"]) == (405, "25006")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("P0001", 400),
        ("22023", 400),
        ("23505", 409),
        ("42501", 403),
        ("PT418", 418),
        ("57014", 500),
        ("P0002", 500),
    ],
)
async def test_errors_of_the_database_keep_their_code(project: LocalStack, state: str, status: int):
    """The body is Postgres's, the status PostgREST's."""
    response = await rpc(project, "fails", {"state": state})

    assert response.status_code == status
    assert response.json() == {"code": state, "details": "why", "hint": "do", "message": "no"}


async def test_a_function_without_the_grant_is_refused(project: LocalStack):
    """401 for anon, who may sign in; 403 for a user, who may not."""
    for key, status in ((project.anon_key, 401), (project.token(USER), 403)):
        response = await rpc(project, "secret", key=key)
        assert (response.status_code, response.json()["code"]) == (status, "42501")
    assert (await rpc(project, "secret")).status_code == 200


async def test_an_unknown_function_or_argument_is_not_found(project: LocalStack):
    """404 PGRST202, with what was looked for."""
    response = await rpc(project, "hello", {"b": 1, "a": 2})

    assert response.status_code == 404
    assert response.json() == {
        "code": "PGRST202",
        "details": "Searched for the function public.hello with parameters a, b or with a single unnamed"
        " json/jsonb parameter, but no matches were found in the schema cache.",
        "hint": None,
        "message": "Could not find the function public.hello(a, b) in the schema cache",
    }
    assert (await rpc(project, "no_such")).json()["message"] == (
        "Could not find the function public.no_such without parameters in the schema cache"
    )


async def test_an_ambiguous_call_is_refused(project: LocalStack):
    """300 PGRST203, never a guess."""
    response = await rpc(project, "either", {"a": 1})

    assert (response.status_code, response.json()["code"]) == (300, "PGRST203")


async def test_a_bad_token_is_refused(project: LocalStack):
    """401: malformed, of another project, expired, with a role that does not exist."""
    for key, code in (
        ("garbage", "PGRST301"),
        (LocalStack().service_role_key, "PGRST301"),
        (project.token(USER, ttl_s=-1), "PGRST303"),
        (project.token(USER, role="nobody"), "22023"),
    ):
        response = await rpc(project, "who", key=key)
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_body_that_is_no_object_is_refused(project: LocalStack):
    """400 PGRST102."""
    async with httpx.AsyncClient() as client:
        headers = {"apikey": project.service_role_key}
        response = await client.post(f"{project.url}/rest/v1/rpc/who", content=b"[", headers=headers)

    assert (response.status_code, response.json()["code"]) == (400, "PGRST102")


async def test_the_supabase_package_calls_functions(project: LocalStack):
    """Its ``rpc`` returns what the function returned, and raises what it raised."""
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        client = await acreate_client(project.url, project.service_role_key, options)
        assert (await client.rpc("hello", {"name": "x"}).execute()).data == "hi x"
        assert (await client.rpc("rows", {"n": 1}).execute()).data == [{"x": 1}]
        with pytest.raises(APIError) as refused:
            await client.rpc("fails", {"state": "P0001"}).execute()
        assert (refused.value.code, refused.value.details, refused.value.hint) == ("P0001", "why", "do")


async def test_the_other_addresses_of_a_project_answer(project: LocalStack):
    """The key set is empty: tokens are HS256."""
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{project.url}/rest/v1/")).status_code == 200
        keys = await client.get(f"{project.url}/auth/v1/.well-known/jwks.json")

    assert keys.json() == {"keys": []}
