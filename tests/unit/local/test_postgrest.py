"""PostgREST's statuses and its choice among functions, without a database."""

import pytest

from bridge.local.postgrest import Argument, Function, Problem, choose, status_of

A = Argument("a", "integer", required=True, variadic=False)
B = Argument("b", "text", required=False, variadic=False)


def function(*arguments: Argument) -> Function:
    """A function that returns a scalar."""
    return Function(
        returns_set=False, returns_row=False, returns_void=False, read_only=True, arguments=arguments
    )


@pytest.mark.parametrize(
    ("sqlstate", "status"),
    [
        ("23505", 409),
        ("40001", 500),
        ("08006", 503),
        ("22P02", 400),
        ("42883", 404),
        ("XX000", 500),
        ("PT404", 404),
    ],
)
def test_a_state_has_its_status(sqlstate: str, status: int):
    """The state's own entry comes before that of its class; any other is the caller's fault."""
    assert status_of(sqlstate, "", anonymous=False) == status


def test_what_is_forbidden_depends_on_who_asks():
    """Whoever has not signed in may yet do so: 401; for others it is 403."""
    assert status_of("42501", "", anonymous=True) == 401
    assert status_of("42501", "", anonymous=False) == 403


@pytest.mark.parametrize(
    ("names", "found"), [(["a"], True), (["a", "b"], True), (["b"], False), ([], False), (["a", "c"], False)]
)
def test_a_function_takes_all_it_requires_and_nothing_it_does_not_know(names: list[str], found: bool):  # noqa: FBT001
    """Arguments with a default may be left out."""
    assert function(A, B).takes(names) is found


def test_of_several_functions_the_one_that_fits_is_chosen():
    """By the names of the arguments; two that fit are an error."""
    one, two = function(A), function(A, Argument("c", "text", required=True, variadic=False))

    assert choose("f", [one, two], ["a"], posted=True) is one
    assert choose("f", [one, two], ["a", "c"], posted=True) is two
    with pytest.raises(Problem) as refused:
        choose("f", [one, function(A, B)], ["a"], posted=True)
    assert refused.value.status == 300
    assert "public.f(a => integer), public.f(a => integer, b => text)" in refused.value.body["message"]
