"""What is known of rows: before a change, after it, and where it was never known."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from bridge.authorization.rows import CatalogChangedError, RowMemory
from bridge.events import Action, Change, Row
from tests.support.catalogs import planset, put_rows, table

DIALOGS = table(
    "dialogs",
    "id uuid, owner_id uuid, title text",
    "((owner_id = auth.uid()) OR (EXISTS ( SELECT 1 FROM public.members m"
    " WHERE ((m.dialog_id = dialogs.id) AND (m.user_id = auth.uid())))))",
)
MESSAGES = table(
    "messages",
    "id int, dialog_id uuid, body text",
    "(EXISTS ( SELECT 1 FROM public.dialogs d WHERE (d.id = messages.dialog_id)))",
)
MEMBERS = table("members", "dialog_id uuid, user_id uuid, role text", key=("dialog_id", "user_id"), rls=False)


def memory(limit: int = 100) -> RowMemory:
    return RowMemory(
        planset(DIALOGS, MESSAGES, MEMBERS, watched=["dialogs", "messages"]),
        dialog_columns={"public.dialogs": "id", "public.messages": "dialog_id"},
        remembered_limit=limit,
    )


def change(name: str, action: Action, new: Row | None = None, old: Row | None = None) -> Change:
    return Change(
        table=f"public.{name}", action=action, new=new, old=old, commit_timestamp="t", received_s=0.0
    )


def reader(row: Row | None) -> tuple[Callable[[str, Row], Awaitable[Row | None]], list[tuple[str, Row]]]:
    """Return a read_row that answers ``row``, and the list of what it was asked."""
    asked: list[tuple[str, Row]] = []

    async def read_row(name: str, key: Row) -> Row | None:
        asked.append((name, key))
        return row

    return read_row, asked


M1 = {"id": 1, "dialog_id": "d1", "body": "x"}
D1 = {"id": "d1", "owner_id": "u1", "title": "t"}


def test_a_change_has_to_hold_what_the_plans_read() -> None:
    """A column that was dropped since means that the catalog has to be read again."""
    rows = memory()
    rows.check(change("messages", "INSERT", M1))
    rows.check(change("messages", "DELETE", None, {"id": 1}))
    rows.check(change("members", "INSERT", {"dialog_id": "d1", "user_id": "u1"}))

    with pytest.raises(CatalogChangedError, match=r"public\.messages has no column dialog_id"):
        rows.check(change("messages", "INSERT", {"id": 1}))
    with pytest.raises(CatalogChangedError, match=r"public\.members has no column user_id"):
        rows.check(change("members", "INSERT", {"dialog_id": "d1", "role": "x"}))


def test_a_change_has_to_hold_what_announcements_show() -> None:
    """A dialog is announced as a whole row, so a dropped column of it is noticed, too."""
    with pytest.raises(CatalogChangedError, match=r"public\.dialogs has no column title"):
        memory().check(change("dialogs", "INSERT", {"id": "d1", "owner_id": "u1"}))


def test_the_key_is_that_before_the_change() -> None:
    """From the old row where it names the whole key, else from the new one."""
    rows = memory()

    assert rows.key_row(change("messages", "UPDATE", {**M1, "id": 2}, {"id": 1})) == {"id": 1}
    assert rows.key_row(change("messages", "UPDATE", M1)) == {"id": 1}
    with pytest.raises(CatalogChangedError, match="does not name its primary key"):
        rows.key_row(change("members", "DELETE", None, {"dialog_id": "d1"}))


def test_the_row_before_comes_from_the_change_or_from_memory() -> None:
    """What the change brings is preferred; what was seen before fills in."""
    rows = memory()
    old = {"id": 1, "dialog_id": "d0", "body": "y"}

    assert rows.before(change("messages", "INSERT", M1)) is None
    assert rows.before(change("messages", "UPDATE", M1, old)) == old
    assert rows.before(change("messages", "UPDATE", M1, {"id": 1})) is None
    rows.store(change("messages", "INSERT", M1))
    assert rows.before(change("messages", "UPDATE", M1, {"id": 1})) == {"id": 1, "dialog_id": "d1"}
    rows.store(change("messages", "DELETE", None, {"id": 1}))
    assert rows.before(change("messages", "DELETE", None, {"id": 1})) is None


def test_the_row_before_can_come_from_a_look_up_table() -> None:
    """Dialogs are looked into by messages; what is held of them serves when they were forgotten."""
    rows = memory(limit=1)
    put_rows(rows.lookups["public.dialogs"], [D1])

    assert rows.before(change("dialogs", "DELETE", None, {"id": "d1"})) == {"id": "d1", "owner_id": "u1"}
    assert rows.before(change("dialogs", "DELETE", None, {"id": "d2"})) is None


def test_look_up_rows_before_and_after() -> None:
    """Only the needed columns; a table that no policy reads has none."""
    rows = memory()
    put_rows(rows.lookups["public.members"], [{"dialog_id": "d1", "user_id": "u1"}])
    key = {"dialog_id": "d1", "user_id": "u1"}

    assert rows.lookup_rows(change("messages", "INSERT", M1)) == (None, None)
    assert rows.lookup_rows(change("members", "UPDATE", {**key, "role": "x"}, key)) == (
        ("d1", "u1"),
        ("d1", "u1"),
    )
    assert rows.lookup_rows(change("members", "DELETE", None, key)) == (("d1", "u1"), None)


def test_storing_follows_a_changed_primary_key() -> None:
    """The row under the old key is gone, in look-up tables and in memory."""
    rows = memory()
    rows.store(change("dialogs", "INSERT", D1))
    rows.store(change("dialogs", "UPDATE", {**D1, "id": "d2"}, {"id": "d1"}))

    assert set(rows.lookups["public.dialogs"].rows) == {"d2"}
    assert rows.before(change("dialogs", "UPDATE", D1, {"id": "d2"})) == {**D1, "id": "d2"}
    rows.store(change("dialogs", "DELETE", None, {"id": "d2"}))
    assert not rows.lookups["public.dialogs"].rows


async def test_a_row_is_found_in_memory_or_read() -> None:
    """A remembered row is not read, a deleted one neither; one that was read may be of the future, and is not kept."""
    rows = memory()
    read_row, asked = reader(D1)

    assert await rows.find("public.dialogs", {"id": "d1"}, read_row) == D1
    assert asked == [("public.dialogs", {"id": "d1"})]
    assert rows.before(change("dialogs", "UPDATE", D1, {"id": "d1"})) is None
    assert not rows.remembers("public.dialogs", D1)
    rows.store(change("dialogs", "INSERT", D1))
    assert rows.remembers("public.dialogs", D1)
    assert await rows.find("public.dialogs", {"id": "d1"}, read_row) == D1
    rows.store(change("dialogs", "DELETE", None, {"id": "d1"}))
    assert await rows.find("public.dialogs", {"id": "d1"}, read_row) is None
    assert len(asked) == 1


@pytest.mark.parametrize("row", [None, {"id": "d1"}])
async def test_a_row_that_cannot_be_read_is_gone(row: Row | None) -> None:
    """No row, or one without the columns that deciding needs: nobody is told of it."""
    read_row, _ = reader(row)

    assert await memory().find("public.dialogs", {"id": "d1"}, read_row) is None


def test_a_look_up_row_that_was_never_seen_is_taken_from_the_change() -> None:
    """If the old row holds all that is needed; a membership's key does."""
    rows = memory()
    key = {"dialog_id": "d1", "user_id": "u1"}
    gone = change("members", "DELETE", None, key)

    assert rows.is_unseen(gone)
    assert rows.lookup_rows(gone) == (("d1", "u1"), None)
    assert rows.lookup_rows(change("dialogs", "DELETE", None, {"id": "d1"})) == (None, None)
    assert not rows.is_unseen(change("members", "INSERT", key))
    assert not rows.is_unseen(change("messages", "DELETE", None, {"id": 1}))
    put_rows(rows.lookups["public.members"], [key])
    assert not rows.is_unseen(gone)


def test_a_table_that_is_only_looked_into_is_not_remembered() -> None:
    """Its rows are in the look-up table, as of the last change."""
    rows = memory()
    key = {"dialog_id": "d1", "user_id": "u1"}
    rows.store(change("members", "INSERT", key))

    assert set(rows.lookups["public.members"].rows) == {("d1", "u1")}
    assert "public.members" not in rows.remembered
    rows.store(change("messages", "INSERT", M1))
    assert "public.messages" not in rows.lookups


def test_a_watched_table_without_a_dialog_needs_no_column_for_it() -> None:
    """Its key and what its policies read are enough."""
    rows = RowMemory(planset(MEMBERS, watched=["members"]), dialog_columns={}, remembered_limit=1)

    assert rows.remembered["public.members"].columns == ("dialog_id", "user_id")


def swapped(name: str, oid: int | None) -> Change:
    """A change of the table with this oid, under a name."""
    return msgspec.structs.replace(change(name, "INSERT", M1), oid=oid)


def numbered() -> RowMemory:
    """Rows of tables with oids, and one that the plans do not read."""
    tables = [msgspec.structs.replace(t, oid=n) for n, t in enumerate((DIALOGS, MESSAGES, MEMBERS), start=1)]
    other = msgspec.structs.replace(table("other", "id int"), oid=4)
    plans = planset(*tables, other, watched=["dialogs", "messages"])
    return RowMemory(plans, dialog_columns={"public.messages": "dialog_id"}, remembered_limit=1)


def test_a_change_is_of_the_table_that_the_plans_are_of() -> None:
    """Or of one that they do not read; where the journal does not say which, its name tells."""
    rows = numbered()
    assert rows.concerns(swapped("messages", 2))
    assert rows.concerns(swapped("messages", None))
    assert not rows.concerns(swapped("other", 4))
    assert not rows.concerns(swapped("unknown", 9))
    assert memory().concerns(swapped("messages", 9))  # the functions in the database are older
    rows.check(swapped("messages", 2))
    rows.check(swapped("messages", None))
    memory().check(swapped("messages", 9))


@pytest.mark.parametrize(
    ("name", "oid"),
    [("messages", 4), ("messages", 9), ("messages", 3), ("members_old", 3)],
    ids=["another", "new", "another of ours", "renamed"],
)
def test_a_name_that_is_another_tables_now_has_the_catalog_read_again(name: str, oid: int) -> None:
    """Before anything of it is stored or shown."""
    with pytest.raises(CatalogChangedError, match="another table"):
        numbered().concerns(swapped(name, oid))
    if name == "messages":
        with pytest.raises(CatalogChangedError, match="another table"):
            numbered().check(swapped(name, oid))


def test_a_table_that_is_written_like_one_of_ours_is_none_of_them() -> None:
    """``"public.x".y`` and ``public."x.y"``, of which the catalog knows both."""
    twin = msgspec.structs.replace(table("y", "id int"), schema="public.x", oid=6)
    ours = msgspec.structs.replace(table("x.y", "id int, owner_id uuid", "(owner_id = auth.uid())"), oid=7)
    plans = planset(ours, twin, watched=["x.y"])
    rows = RowMemory(plans, dialog_columns={}, remembered_limit=1)
    row = {"id": 1, "owner_id": "u1"}
    mine, other = (msgspec.structs.replace(change("x.y", "INSERT", row), oid=oid) for oid in (7, 6))
    assert rows.concerns(mine)
    assert not rows.concerns(other)
    rows.check(mine)
    with pytest.raises(CatalogChangedError, match="written so"):
        rows.check(other)
