"""Who experiences the change of a row: by who saw it before, and who sees it after."""

from bridge import metrics
from bridge.authorization.authorizer import Deliver
from tests.support.catalogs import ANN, BOB, CAT
from tests.support.stage import D1, D2, Project, ann, asked_stage, bob, change, message, nothing, stage, told


async def test_an_update_moves_a_row_between_dialogs() -> None:
    """Out of sight is a DELETE, into sight an INSERT, in sight of both an UPDATE."""
    made = stage(members=[(D1, ANN), (D1, BOB), (D2, BOB), (D2, CAT)])
    await made.apply(change("messages", "INSERT", message(D1)), nothing)

    effects = await made.apply(change("messages", "UPDATE", message(D2), {"id": 1}), nothing)
    assert told(effects) == {
        ANN: [("messages", "DELETE")],
        BOB: [("messages", "UPDATE")],
        CAT: [("messages", "INSERT")],
    }
    assert isinstance(effects[0], Deliver)
    assert (effects[0].event.dialog_id, effects[0].event.old_dialog_id) == (D2, D1)


async def test_a_delete_reaches_those_who_saw_the_row() -> None:
    """The primary key is enough, because the row is remembered."""
    made = stage(members=[(D1, BOB)])
    await made.apply(change("messages", "INSERT", message()), nothing)

    assert told(await made.apply(change("messages", "DELETE", None, {"id": 1}), nothing)) == {
        BOB: [("messages", "DELETE")]
    }


async def test_an_old_row_that_is_not_known_is_counted() -> None:
    """An UPDATE goes to those who see the row now, a DELETE to nobody."""
    counter = metrics.UNDELIVERABLE.labels("public.messages", "old_row_unknown")
    made = stage(bob, members=[(D1, BOB)])
    before = counter._value.get()

    assert told(await made.apply(change("messages", "UPDATE", message(), {"id": 1}), nothing)) == {
        BOB: [("messages", "UPDATE")]
    }
    assert told(await made.apply(change("messages", "DELETE", None, {"id": 2}), nothing)) == {}
    assert counter._value.get() == before + 2


async def test_the_old_and_the_new_row_are_asked_in_one_call() -> None:
    """Who saw it and sees it has an UPDATE, who sees it no more a DELETE."""
    made = asked_stage(ann, bob)
    row = {"id": D1, "owner_id": None, "title": "one"}
    await made.apply(change("dialogs", "INSERT", row), Project())
    project = Project(sees=[bob])
    project_rows = {**row, "owner_id": ANN}

    effects = await made.apply(change("dialogs", "UPDATE", project_rows, {"id": D1}), project)
    assert told(effects) == {ANN: [("dialogs", "INSERT")], BOB: [("dialogs", "UPDATE")]}
    assert len(project.asked) == 1
    assert project.asked[0][1] == [project_rows, row]
