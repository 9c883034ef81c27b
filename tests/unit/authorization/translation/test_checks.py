"""What Postgres checks before it runs a query, in parts that are left to it."""

import pytest

from bridge.authorization.algebra import FALSE
from bridge.authorization.catalog import Grant
from bridge.authorization.composition import Sight, compose
from bridge.authorization.expressions import opaque
from tests.support.catalogs import catalog, function, table

COLUMNS = "id uuid, owner_id uuid, body text"
MINE = "(owner_id = auth.uid())"


def sight(
    policy: str, other: str = "true", *, grants: tuple[Grant, ...] = (Grant("authenticated"),)
) -> Sight:
    notes = table("notes", COLUMNS, policy)
    rooms = table("rooms", COLUMNS, other, grants=grants)
    hidden = function("public.hidden", "", "text", "select 'x'", execute=["anon"])
    return compose(catalog(notes, rooms, functions=[hidden]), notes, "authenticated")


ASKED = f"({MINE} OR (EXISTS ( SELECT 1 FROM public.rooms r WHERE (r.body ~ notes.body))))"


def test_what_is_asked_leaves_the_other_branches_alone() -> None:
    """Only the part that is not known is opaque."""
    found = sight(ASKED)

    assert found.because is None
    assert len(opaque(found.condition)) == 1


@pytest.mark.parametrize(
    ("policy", "other", "grants", "reason"),
    [
        (ASKED, "(EXISTS ( SELECT 1 FROM public.notes))", (Grant("authenticated"),), "in a circle"),
        (
            ASKED,
            "((EXISTS ( SELECT 1 FROM public.notes)) AND (body ~ 'x'::text))",
            (Grant("authenticated"),),
            "circle",
        ),
        (ASKED, "true", (Grant("anon"),), "public.rooms, where role authenticated lacks SELECT"),
        (f"({MINE} OR (body ~ public.hidden()))", "true", (), "public.hidden"),
        (
            f"({MINE} OR (EXISTS ( SELECT 1 FROM public.notes n WHERE (n.body ~ 'x'::text))))",
            "true",
            (),
            "circle",
        ),
    ],
)
def test_a_query_that_always_fails(policy: str, other: str, grants: tuple[Grant, ...], reason: str) -> None:
    """Nobody sees anything, also not by the branch that is known."""
    found = sight(policy, other, grants=grants)

    assert found.condition == FALSE
    assert reason in (found.because or "")


def test_a_table_that_is_not_known_is_not_checked() -> None:
    """Postgres knows it: it is asked."""
    found = sight(f"({MINE} OR (EXISTS ( SELECT 1 FROM extensions.things)))")

    assert found.because is None
    assert opaque(found.condition)
