"""Functions that policies call: what a call gives them, and where names in their bodies are looked for."""

import msgspec
import pytest

from bridge.authorization.functions import SESSION_PATH, Argument
from tests.support.catalogs import function

INT = "pg_catalog.int4"
PLAIN = function("public.f", "", INT, "select 1")


@pytest.mark.parametrize(
    ("arguments", "accepted"),
    [
        ([], {0}),
        ([Argument("a", INT), Argument("b", INT, default="1")], {1, 2}),
        ([Argument("a", INT), Argument("out", INT, "o"), Argument("both", INT, "b")], {2}),
        ([Argument("rest", f"{INT}[]", "v")], set()),
    ],
)
def test_how_many_arguments_a_call_may_give(arguments: list[Argument], accepted: set[int]) -> None:
    """Those with a default may be left out; what it gives back is no part of a call, VARIADIC is not known."""
    found = msgspec.structs.replace(PLAIN, arguments=tuple(arguments))

    assert {count for count in range(4) if found.accepts(count)} == accepted


def test_what_a_function_gives_back() -> None:
    """OUT, INOUT and the columns of RETURNS TABLE."""
    arguments = tuple(Argument(mode, INT, mode) for mode in "iobvt")
    found = msgspec.structs.replace(PLAIN, arguments=arguments)

    assert [argument.name for argument in found.outputs] == ["o", "b", "t"]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ((), SESSION_PATH),
        (("search_path=",), ()),
        (('search_path="$user", public, "Chat"', "statement_timeout=1s"), ("public", "Chat")),
        (("search_path=pg_catalog, private, pg_temp",), ("private",)),
    ],
)
def test_where_names_in_a_body_are_looked_for(config: tuple[str, ...], path: tuple[str, ...]) -> None:
    """Where its SET says, or where the caller's are."""
    assert msgspec.structs.replace(PLAIN, config=config).search_path(SESSION_PATH) == path
