"""New rows that come together: who sees each is what is found for it alone."""

import msgspec
import pytest

from bridge.authorization.rows import CatalogChangedError
from bridge.events import Change
from tests.support.catalogs import ANN, BOB, planset
from tests.support.stage import (
    D1,
    D2,
    DIALOGS,
    MEMBERS,
    MESSAGES,
    ann,
    asked_stage,
    change,
    message,
    nothing,
    stage,
    stage_of,
    told,
)


def written(*dialogs: str) -> list[Change]:
    """A message in each of these dialogs."""
    return [change("messages", "INSERT", message(dialog)) for dialog in dialogs]


async def test_each_row_goes_to_those_who_see_it() -> None:
    """Whatever was found for the row before it; a look-up row that changes between two runs counts."""
    made = stage(members=[(D1, ANN), (D2, BOB)])
    rows = written(D1, D2, D1)
    assert [set(told([one])) for one in made.insert(rows)] == [{ANN}, {BOB}, {ANN}]

    await made.apply(change("members", "INSERT", {"dialog_id": D1, "user_id": BOB}), nothing)
    assert [set(told([one])) for one in made.insert(rows)] == [{ANN, BOB}, {BOB}, {ANN, BOB}]


def test_what_may_be_more_than_a_new_row_ends_a_run() -> None:
    """What comes behind it waits for it."""
    messages = msgspec.structs.replace(MESSAGES, oid=1)
    made = stage_of(planset(DIALOGS, messages, MEMBERS, watched=["dialogs", "messages"]))
    first, second = written(D1, D1)
    others = (
        change("messages", "DELETE", old=message()),
        change("messages", "UPDATE", message(), message()),
        change("members", "INSERT", {"dialog_id": D2, "user_id": ANN}),  # policies look into it
        change("elsewhere", "INSERT", {}),
        msgspec.structs.replace(first, oid=2),  # of another table than the plans are of
    )

    assert [len(made.insert([first, other, second])) for other in others] == [1] * len(others)


def test_what_only_postgres_knows_ends_a_run() -> None:
    """Nothing was applied of it: it is taken up by itself."""
    row = {"id": D1, "owner_id": BOB, "title": "one"}

    assert asked_stage(ann).insert([change("dialogs", "INSERT", row)]) == []


def test_a_row_that_fits_no_plan_is_refused_in_its_turn() -> None:
    """Not before those that come before it."""
    made = stage(members=[(D1, ANN)])
    altered = change("messages", "INSERT", {"id": 1})

    assert len(made.insert([*written(D1), altered])) == 1
    with pytest.raises(CatalogChangedError, match="no column"):
        made.insert([altered])
