"""A membership brings its dialog into sight, or takes it away; each row is told of once."""

from bridge.authorization.authorizer import Deliver
from bridge.authorization.catalog import Table
from bridge.authorization.functions import Function
from tests.support.catalogs import ANN, BOB, function, planset, table
from tests.support.stage import D1, D2, Project, ann, bob, change, message, nothing, stage, stage_of, told


async def test_a_new_member_is_told_of_the_dialog() -> None:
    """The dialog appears as an INSERT of the whole row; its messages follow from that, without a resync."""
    made = stage()

    effects = await made.apply(change("members", "INSERT", {"dialog_id": D1, "user_id": BOB}), nothing)
    assert told(effects) == {BOB: [("dialogs", "INSERT")]}
    effect = effects[0]
    assert isinstance(effect, Deliver)
    assert effect.event.new == {"id": D1, "owner_id": ANN, "title": "one"}


async def test_a_removed_member_is_told_that_the_dialog_is_gone() -> None:
    """The withdrawal comes with the membership's DELETE, and no message after it."""
    made = stage(members=[(D1, BOB)])
    gone = change("members", "DELETE", None, {"dialog_id": D1, "user_id": BOB})

    assert told(await made.apply(gone, nothing)) == {BOB: [("dialogs", "DELETE")]}
    assert told(await made.apply(change("messages", "INSERT", message()), nothing)) == {}


async def test_the_owner_keeps_the_dialog_and_reads_its_messages_again() -> None:
    """Who sees the dialog all the same hears of it nothing, so a resync tells of the messages."""
    made = stage(members=[(D1, ANN)])
    gone = change("members", "DELETE", None, {"dialog_id": D1, "user_id": ANN})

    assert told(await made.apply(gone, nothing)) == {ANN: [("resync", "UPDATE")]}


async def test_a_membership_of_nobody_here_asks_nothing() -> None:
    """Only for those on the roster is a row read."""
    made = stage(ann)
    joined = change("members", "INSERT", {"dialog_id": D2, "user_id": BOB})

    assert told(await made.apply(joined, Project(fails=True))) == {}


async def test_a_dialog_that_is_not_remembered_is_read() -> None:
    """A membership can bring a dialog into sight that has not changed for years."""
    made = stage(bob)

    joined = change("members", "INSERT", {"dialog_id": D2, "user_id": BOB})
    stored = Project({"id": D2, "owner_id": ANN, "title": "x"}, sees=[bob])
    assert told(await made.apply(joined, stored)) == {BOB: [("dialogs", "INSERT")]}


async def test_a_dialog_that_is_read_is_shown_to_those_who_see_it_by_then() -> None:
    """It may have been changed since the membership, which may have ended before that."""
    joined = change("members", "INSERT", {"dialog_id": D2, "user_id": BOB})

    stored = Project({"id": D2, "owner_id": ANN, "title": "x"})
    assert ("dialogs", "INSERT") not in told(await stage(bob).apply(joined, stored)).get(BOB, [])
    assert stored.asked == [("public.dialogs", [{"id": D2, "owner_id": ANN, "title": "x"}], [bob])]


def owns() -> tuple[Table, Function]:
    """Dialogs whose policy looks, with its owner's rights, into dialogs themselves."""
    body = "select exists (select 1 from public.dialogs d where d.id = dialog and d.owner_id = auth.uid())"
    helper = function("public.owns", "dialog uuid", "boolean", body, definer=True)
    return table("dialogs", "id uuid, owner_id uuid, title text", "public.owns(id)"), helper


async def test_a_table_that_looks_into_itself_tells_each_change_once() -> None:
    """The change is the event: its row is not announced beside it, nor as it was before."""
    dialogs, helper = owns()
    made = stage_of(planset(dialogs, watched=["dialogs"], functions=[helper]))
    row = {"id": D1, "owner_id": ANN, "title": "one"}

    assert told(await made.apply(change("dialogs", "INSERT", row), nothing)) == {ANN: [("dialogs", "INSERT")]}
    given = change("dialogs", "UPDATE", {**row, "owner_id": BOB}, {"id": D1})
    assert told(await made.apply(given, nothing)) == {
        ANN: [("dialogs", "DELETE")],
        BOB: [("dialogs", "INSERT")],
    }
    assert told(await made.apply(change("dialogs", "DELETE", None, {"id": D1}), nothing)) == {
        BOB: [("dialogs", "DELETE")]
    }


async def test_a_membership_that_was_never_seen_withdraws_what_it_may_have_shown() -> None:
    """Upstream drops what came and went between two polls; withdrawing too much does no harm."""
    made = stage()
    gone = change("members", "DELETE", None, {"dialog_id": D1, "user_id": BOB})

    assert told(await made.apply(gone, nothing)) == {BOB: [("dialogs", "DELETE")]}


async def test_a_membership_that_is_first_seen_by_its_update_shows_its_dialog() -> None:
    """Its INSERT was dropped, so nobody was told of the dialog."""
    made = stage()
    key = {"dialog_id": D1, "user_id": BOB}

    assert told(await made.apply(change("members", "UPDATE", {**key, "role": "x"}, key), nothing)) == {
        BOB: [("dialogs", "INSERT")]
    }


async def test_a_dialog_that_is_gone_again_is_announced_to_nobody() -> None:
    """There is no row to show; of its messages, which a resync tells of, neither."""
    joined = change("members", "INSERT", {"dialog_id": D2, "user_id": BOB})

    assert told(await stage(bob).apply(joined, nothing)) == {BOB: [("resync", "UPDATE")]}
