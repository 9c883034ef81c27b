"""Calls: built-in functions, settings, and SQL functions put in place."""

import msgspec
import pytest

from bridge.authorization.algebra import Claims, Const, Fails, IsNull
from bridge.authorization.expressions import failure
from bridge.authorization.functions import Argument, Function
from tests.support.catalogs import BOB, function
from tests.support.policies import answer, refused, translated

MEMBER = function(
    "public.is_member",
    "room integer, who uuid",
    "boolean",
    "select exists (select 1 from members m where m.room_id = room and m.user_id = $2)",
)


def test_a_function_is_put_in_place() -> None:
    """Its arguments have names and numbers."""
    assert answer("public.is_member(room_id, auth.uid())", [MEMBER])
    assert not answer("public.is_member(3, auth.uid())", [MEMBER])


def test_a_strict_function_of_null_is_null() -> None:
    """Whatever its body would say."""
    strict = function("public.yes", "a uuid", "boolean", "select true", strict=True)

    assert answer("public.yes(owner_id)", [strict], owner_id=None) is None
    assert answer("public.yes(owner_id)", [strict]) is True


def test_a_default_stands_for_a_missing_argument() -> None:
    """As pg_get_expr prints it; a required one has to be given."""
    mine = Function(
        schema="public",
        name="mine",
        returns="boolean",
        returns_set=False,
        language="sql",
        strict=False,
        security_definer=False,
        owner="postgres",
        source="select a = b",
        arguments=(Argument("a", "uuid"), Argument("b", "uuid", default="auth.uid()")),
        execute=("public",),
    )

    assert [answer("public.mine(owner_id)", [mine], uid=uid) for uid in (BOB, None)] == [False, None]
    refused("public.mine()", r"public.mine\(\) is not supported", [mine])


def test_a_function_that_may_not_be_called_fails_the_query() -> None:
    """EXECUTE is looked at before any row is."""
    hidden = function("public.f", "", "boolean", "select true", execute=["anon"])

    assert isinstance(failure([translated("public.f()", [hidden])]), Fails)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("select true; select false", "not a single SELECT"),
        ("delete from members", "not a single SELECT"),
        ("with gone as (delete from members returning role) select exists (select 1 from gone)", "writes"),
        ("sel", "grammar"),
        ("select public.f()", "calls itself"),
    ],
)
def test_another_body_is_refused(source: str, reason: str) -> None:
    """Postgres runs it."""
    refused("public.f()", reason, [function("public.f", "", "boolean", source)])


def test_settings_of_a_function() -> None:
    """A search path is followed; what may change the answer is left to Postgres."""
    body = "select exists (select 1 from members)"
    path = msgspec.structs.replace(
        function("public.f", "", "boolean", body), config=("search_path=public, pg_temp",)
    )
    empty = msgspec.structs.replace(path, config=('search_path=""',))
    zone = msgspec.structs.replace(path, config=("TimeZone=Asia/Tokyo",))

    assert answer("public.f()", [path])
    refused("public.f()", "table members is not known|is not known", [empty])
    refused("public.f()", "settings of its own", [zone])


def test_an_empty_path_holds_for_what_is_called() -> None:
    """A function without a path of its own looks where its caller does; one called by a policy in public."""
    inner = function("public.inner", "", "boolean", "select exists (select 1 from members)")
    outer = function("public.outer", "", "boolean", "select public.inner()")
    empty = msgspec.structs.replace(outer, config=('search_path=""',))

    assert answer("public.outer()", [inner, outer])
    refused("public.outer()", "is not known", [inner, empty])


def test_overloaded_functions_are_told_apart_by_their_arguments() -> None:
    """Where only one fits."""
    one = function("public.f", "a uuid", "boolean", "select true")
    other = function("public.f", "a text", "boolean", "select false")

    assert [answer(f"public.f({column})", [one, other]) for column in ("owner_id", "body")] == [True, False]
    refused("public.f(null)", "overloaded", [one, other])


def test_settings_of_the_request() -> None:
    """The claims are those of the user; there are no headers behind a WebSocket."""
    assert translated("current_setting('request.headers', true) is null") == IsNull(Const(None, "text"))
    assert translated("current_setting('request.jwt.claims', true)::jsonb is null") == IsNull(Claims())
    refused("current_setting('app.x', true) = 'a'", "current_setting")
    refused("current_setting('request.headers') = 'a'", "current_setting")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("string_agg(body, ',' order by id) = ''", "agg_order|not supported"),
        ("left(body, 1) = 'a'", "left"),
        ("row_number() over () = 1", "over"),
        ("timezone('Europe/Berlin', now()) is null", "other than UTC"),
        ("timezone('utc', body) is null", "at a time zone"),
        ("cardinality(array(select m.role from members m)) = 1", "of a subquery"),
        ("nothing.at_all()", "nothing.at_all"),
    ],
)
def test_other_calls_are_refused(text: str, reason: str) -> None:
    """With their name."""
    refused(text, reason)


@pytest.mark.parametrize(
    ("returns", "source"),
    [("other", "select 1"), ("boolean", "select 1"), ("void", "select")],
)
def test_a_result_of_another_type_is_refused(returns: str, source: str) -> None:
    """Rather than a guess what it converts to."""
    refused("public.f() is null", "public.f", [function("public.f", "", returns, source)])
