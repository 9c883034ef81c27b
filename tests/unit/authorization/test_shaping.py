"""Events and deliveries: what fan-out is handed."""

from collections.abc import Sequence

import msgspec
import pytest

from bridge.authorization.shaping import Shaper, experience, views
from bridge.events import Action, Change, Delivery, Principal, Row, RowEvent, View
from tests.support.catalogs import ANN, BOB, planset, table

ann = Principal(role="authenticated", user_id=ANN)
bob = Principal(role="authenticated", user_id=BOB)
anon = Principal(role="anon", user_id=None)

MESSAGES = "public.messages"
SHAPER = Shaper(
    keys={MESSAGES: ("id",), "public.dialogs": ("id",), "public.tags": ("a", "b")},
    dialog_columns={MESSAGES: "dialog_id", "public.dialogs": "id"},
)


def change(action: Action, new: Row | None, old: Row | None, *, table_: str = MESSAGES) -> Change:
    return Change(table=table_, action=action, new=new, old=old, commit_timestamp="t", received_s=7.0)


@pytest.mark.parametrize(
    ("table_", "row", "expected"),
    [
        (MESSAGES, {"dialog_id": 5}, "5"),
        (MESSAGES, {"dialog_id": None}, None),
        (MESSAGES, {}, None),
        (MESSAGES, None, None),
        ("public.tags", {"dialog_id": 5}, None),
    ],
)
def test_a_dialog_id_is_text_or_unknown(table_: str, row: Row | None, expected: str | None) -> None:
    """The dialog of a row is named as text; a row of none has none."""
    assert SHAPER.dialog_id(table_, row) == expected


def test_an_insert_has_no_old_row() -> None:
    """INSERT: the new row, its key and its dialog."""
    new = {"id": 1, "dialog_id": "a", "body": "x"}

    assert SHAPER.committed(change("INSERT", new, None), {"id": 1}, None) == RowEvent(
        table=MESSAGES,
        new=new,
        old=None,
        key={"id": 1},
        dialog_id="a",
        dialog_column="dialog_id",
        commit_timestamp="t",
        received_s=7.0,
        id="-0",
    )


def test_a_row_that_moves_names_both_dialogs() -> None:
    """UPDATE: the dialog after the change, and the one before it where it differs."""
    new, old = {"id": 1, "dialog_id": "b"}, {"id": 1, "dialog_id": "a"}
    event = SHAPER.committed(change("UPDATE", new, {"id": 1}), {"id": 1}, old)

    assert (event.dialog_id, event.old_dialog_id, event.old) == ("b", "a", old)


def test_a_row_that_stays_names_one_dialog() -> None:
    """UPDATE within a dialog has no other one."""
    row = {"id": 1, "dialog_id": "a"}

    assert SHAPER.committed(change("UPDATE", row, {"id": 1}), {"id": 1}, row).old_dialog_id is None


def test_a_deleted_row_is_in_the_dialog_where_it_was() -> None:
    """DELETE: the dialog of the row before, as far as it is known."""
    known = SHAPER.committed(change("DELETE", None, {"id": 1}), {"id": 1}, {"id": 1, "dialog_id": "a"})
    unknown = SHAPER.committed(change("DELETE", None, {"id": 1}), {"id": 1}, None)

    assert (known.dialog_id, known.new, known.key) == ("a", None, {"id": 1})
    assert (unknown.dialog_id, unknown.old) == (None, {"id": 1})


def test_a_changed_primary_key_is_named_as_it_was() -> None:
    """Who loses sight of a row by the change of its key has to be told the key that they know."""
    event = SHAPER.committed(change("UPDATE", {"id": 2}, {"id": 1}), {"id": 1}, {"id": 1})

    assert event.key == {"id": 1}


def test_an_announcement_is_for_those_users_only() -> None:
    """A row that came into sight is an INSERT of the whole row, one that left it a DELETE of its key."""
    plan = planset(table("messages", "id int, dialog_id uuid", "true"), watched=["messages"]).plans[
        MESSAGES, "authenticated"
    ]
    row = {"id": 1, "dialog_id": "a", "body": "x"}
    cause = change("DELETE", None, {"x": 1}, table_="public.members")
    came, delivery = SHAPER.announcement(cause, plan, row, "INSERT", [ann, anon])
    left, _ = SHAPER.announcement(cause, plan, row, "DELETE", [ann])

    assert (came.new, came.old, came.key, came.announced) == (row, None, {"id": 1}, "INSERT")
    assert (came.only, came.dialog_id, came.commit_timestamp) == (frozenset({ANN, None}), "a", "t")
    assert (left.new, left.old, left.announced) == (None, {"id": 1}, "DELETE")
    assert delivery == Delivery(view=View(action="INSERT"), principals=(ann, anon))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], [("INSERT", [])]),
        ([], [ann], [("INSERT", [ann])]),
        ([ann], [], [("DELETE", [ann])]),
        ([ann, bob], [ann, bob], [("UPDATE", [ann, bob])]),
        ([ann], [bob], [("UPDATE", []), ("INSERT", [bob]), ("DELETE", [ann])]),
        ([ann, bob], [bob], [("UPDATE", [bob]), ("INSERT", []), ("DELETE", [ann])]),
    ],
)
def test_who_saw_and_who_sees_decide_the_views(
    before: list[Principal], after: list[Principal], expected: Sequence[tuple[Action, list[Principal]]]
) -> None:
    """Who sees the row before and after gets UPDATE, after only INSERT, before only DELETE."""
    assert views(before, after) == expected


@pytest.mark.parametrize(
    ("saw_old", "sees_new", "expected"),
    [(True, True, "UPDATE"), (False, True, "INSERT"), (True, False, "DELETE"), (False, False, None)],
)
def test_one_users_experience(saw_old: bool, sees_new: bool, expected: Action | None) -> None:  # noqa: FBT001
    """The same for one user."""
    assert experience(saw_old=saw_old, sees_new=sees_new) == expected


def test_events_of_one_change_have_names_of_their_own() -> None:
    """The same in every worker, whoever is there and in whatever order they are found."""
    inserted = msgspec.structs.replace(change("INSERT", {"id": 1}, None), id=7, stream="s")
    assert SHAPER.committed(inserted, {"id": 1}, None).id == "s-7"
    plan = planset(table("messages", "id int, dialog_id text", "true"), watched=["messages"]).plans[
        MESSAGES, "authenticated"
    ]
    names = [
        SHAPER.announcement(inserted, plan, row, action, [])[0].id
        for row, action in (({"id": 1}, "INSERT"), ({"id": 1}, "DELETE"), ({"id": 2}, "INSERT"))
    ]
    assert len(set(names)) == 3
    assert all(name.startswith("s-7.") for name in names)
