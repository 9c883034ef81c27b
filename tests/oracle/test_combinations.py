"""The constructs of all other files, combined at random below AND, OR, NOT, CASE and COALESCE."""

import os
import random

import pytest

from tests.oracle.agreement import agree
from tests.oracle.test_changes import SHAPES, run
from tests.oracle.test_corners import using
from tests.oracle.test_corners import world as world  # noqa: PLC0414 - the fixture
from tests.oracle.world import World

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "120")) // 4
FAILING = ("integer overflow", "text to enum", "setting as number")
"""What fails in Postgres for some rows: which branch is computed first, and decides without it, is its secret."""

PARTS = [text for name, text in sorted(SHAPES.items()) if not name.startswith(("deep", "many", *FAILING))]


def combined(choice: random.Random, depth: int = 3) -> str:
    """Return a condition made of some of the parts."""
    if depth == 0 or choice.random() < 0.25:
        return f"({choice.choice(PARTS)})"
    a, b, c = (combined(choice, depth - 1) for _ in range(3))
    return choice.choice(
        [
            f"({a} and {b})",
            f"({a} or {b})",
            f"(not {a})",
            f"coalesce({a}, {b})",
            f"case when {a} then {b} else {c} end",
            f"({a} is not true)",
            f"({a} is null)",
            f"(({a}) = ({b}))",
            f"exists (select 1 from o.members mm where mm.room_id = rooms.id and mm.user_id = auth.uid() and {a})",
            f"exists (select 1 from o.profiles pp where pp.id = auth.uid() and (pp.is_admin or {a}))",
            f"owner_id in (select pp.id from o.profiles pp where {a})",
        ]
    )


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_a_combination(world: World, seed: int) -> None:
    """Every user sees what Postgres shows them."""
    choice = random.Random(seed)
    agree(
        world,
        *using(combined(choice)),
        f"create policy q on o.rooms as restrictive for select using ({combined(choice, 1)} is not false)",
    )


@pytest.mark.parametrize("seed", range(EXAMPLES // 3))
def test_a_combination_after_changes(world: World, seed: int) -> None:
    """Also after rows have changed."""
    run(world, *using(combined(random.Random(f"changes {seed}"), 2)))
