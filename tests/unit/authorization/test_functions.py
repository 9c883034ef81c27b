"""Functions: which one a call means, who may call it, and its body."""

import msgspec
import pytest

from bridge.authorization import functions
from bridge.authorization.algebra import TRUE
from bridge.authorization.catalog import Argument, Function, Role
from bridge.errors import CompileError
from tests.support.catalogs import catalog, function

YES = function("public.yes", "room uuid", "boolean", "select true")


def test_a_call_means_the_function_of_that_name_and_number_of_arguments() -> None:
    """Overloading by number is told apart, by type not."""
    other = function("public.yes", "", "boolean", "select false")

    assert functions.find(catalog(functions=[YES, other]), "public.yes", 1) == YES
    for known, count in (([], 1), ([YES], 2), ([YES, YES], 1)):
        with pytest.raises(CompileError, match="is not supported in memory"):
            functions.find(catalog(functions=known), "public.yes", count)


def test_the_owner_and_those_with_execute_may_call() -> None:
    """EXECUTE of a role, of one it inherits from, or of PUBLIC."""
    member = Role("member", superuser=False, bypassrls=False, inherit=True, member_of=("boss",))
    mine = function("public.yes", "", "boolean", "select true", owner="boss", execute=["anon"])
    database = catalog(functions=[mine], roles=[member])

    assert [functions.may_execute(database, mine, name) for name in ("anon", "member", "authenticated")] == (
        [True, True, False]
    )
    assert functions.may_execute(database, YES, "authenticated")


def test_parameters_have_numbers_and_names() -> None:
    """Both mean the argument."""
    assert functions.parameters(YES, [TRUE]) == {"$1": TRUE, "room": TRUE}


@pytest.mark.parametrize("source", ["select true", "SELECT true;", "  select true -- yes\n"])
def test_the_body_is_one_expression(source: str) -> None:
    """However it is written."""
    body = functions.body(function("a.b", "", "boolean", source))

    assert body["A_Const"]["boolval"] == {"boolval": True}


@pytest.mark.parametrize(
    "source", ["", "select true, false", "select true where false", "values (true)", "sel"]
)
def test_another_body_is_refused(source: str) -> None:
    """It may answer no row, or more than one value."""
    with pytest.raises(CompileError):
        functions.body(function("a.b", "", "boolean", source))


@pytest.mark.parametrize(
    "other",
    [
        function("public.yes", "room uuid", "boolean", "begin return true; end", language="plpgsql"),
        function("public.yes", "room uuid", "boolean", "select true", returns_set=True),
        function("public.yes", "room uuid", "boolean", "select true", strict=True),
        function("public.yes", "room uuid o", "boolean", "select true"),
    ],
)
def test_a_function_of_another_kind_is_refused(other: Function) -> None:
    """Other languages, sets, STRICT, and output arguments."""
    with pytest.raises(CompileError, match=r"function public\.yes\(\)"):
        functions.find(catalog(functions=[other]), "public.yes", 1)


def test_a_parameter_without_a_name_has_its_number() -> None:
    """As in old-style functions."""
    unnamed = msgspec.structs.replace(YES, arguments=(Argument(None, "uuid"),))

    assert functions.parameters(unnamed, [TRUE]) == {"$1": TRUE}


def test_supabases_own_readers_of_claims_are_known_by_their_body() -> None:
    """One that was replaced, or overloaded, is a function as any other."""
    replaced = function("auth.uid", "", "uuid", "select null::uuid")

    assert functions.reads_claim(catalog(), "auth.uid", "sub")
    assert not functions.reads_claim(catalog(), "auth.uid", "role")
    assert not functions.reads_claim(catalog(), "auth.jwt", "sub")
    assert not functions.reads_claim(catalog(auth=[replaced]), "auth.uid", "sub")
    assert not functions.reads_claim(catalog(functions=[replaced]), "auth.uid", "sub")
