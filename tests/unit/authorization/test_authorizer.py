"""The stage: who experiences a change, as what, and who has to read again."""

from collections.abc import Sequence

import msgspec
import pytest

from bridge import metrics
from bridge.authorization.authorizer import Authorizer, Deliver
from bridge.authorization.experience import Shifted
from bridge.authorization.rows import CatalogChangedError
from bridge.errors import AskedTimeoutError, RpcError
from bridge.events import Action, Principal, Row, RowEvent, Seen, View
from tests.support.catalogs import ANN, BOB, CAT, planset, policy, table
from tests.support.stage import (
    D1,
    D2,
    DIALOGS,
    MEMBERS,
    Project,
    ann,
    asked_stage,
    bob,
    cat,
    change,
    message,
    nothing,
    stage,
    stage_of,
    told,
)


async def test_an_insert_reaches_those_who_see_it() -> None:
    """A message is an INSERT for the members of its dialog, for nobody else."""
    made = stage(members=[(D1, ANN), (D1, BOB)])

    effects = await made.apply(change("messages", "INSERT", message()), nothing)
    assert told(effects) == {ANN: [("messages", "INSERT")], BOB: [("messages", "INSERT")]}


async def test_an_event_without_an_audience_is_still_an_effect() -> None:
    """History needs it: whoever comes back may have been a member by then."""
    effects = await stage().apply(change("messages", "INSERT", message()), nothing)

    assert [type(effect) for effect in effects] == [Deliver]
    assert told(effects) == {}


async def test_only_who_is_not_decided_is_asked_about() -> None:
    """The owner sees the row by memory; of the others here Postgres says."""
    made = asked_stage(ann, bob, cat)
    row = {"id": D1, "owner_id": ANN, "title": "one"}
    project = Project(sees=[bob])

    assert told(await made.apply(change("dialogs", "INSERT", row), project)) == {
        ANN: [("dialogs", "INSERT")],
        BOB: [("dialogs", "INSERT")],
    }
    ((name, rows, principals),) = project.asked
    assert (name, rows, set(principals)) == ("public.dialogs", [row], {bob, cat})


async def test_a_database_that_does_not_answer_delivers_nothing() -> None:
    """The error is the caller's, who loads everything again."""
    with pytest.raises(RpcError):
        await asked_stage(bob).apply(
            change("dialogs", "INSERT", {"id": D1, "owner_id": None, "title": "x"}), Project(fails=True)
        )


class SlowProject(Project):
    """One whose policies take too long."""

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        raise AskedTimeoutError(f"{table}, {len(rows)} rows, {len(principals)} users: wait")


async def test_whom_memory_decides_waits_for_no_slow_policy() -> None:
    """The others hear nothing of the change but that they have to read again; the row is remembered all the same."""
    counter = metrics.UNDELIVERABLE.labels("public.dialogs", "asked_timeout")
    made, before = asked_stage(ann, bob), counter._value.get()
    row = {"id": D1, "owner_id": ANN, "title": "one"}

    effects = await made.apply(change("dialogs", "INSERT", row), SlowProject())
    assert told(effects) == {ANN: [("dialogs", "INSERT")], BOB: [("resync", "UPDATE")]}
    assert counter._value.get() == before + 1
    effects = await made.apply(
        change("dialogs", "UPDATE", {**row, "owner_id": BOB}, {"id": D1}), SlowProject()
    )
    assert told(effects) == {ANN: [("resync", "UPDATE")], BOB: [("resync", "UPDATE")]}
    effects = await made.apply(change("dialogs", "DELETE", None, {"id": D1}), nothing)
    assert told(effects) == {BOB: [("dialogs", "DELETE")]}


async def test_a_replayed_event_is_not_decided_by_a_slow_policy() -> None:
    """That it is not known is an error, not a no."""
    row = {"id": D1, "owner_id": ANN, "title": "one"}
    asked = msgspec.structs.replace(event(row), table="public.dialogs", key={"id": D1})
    with pytest.raises(AskedTimeoutError):
        await asked_stage(bob).decide(bob, [asked], SlowProject())


async def test_a_failed_read_applies_nothing() -> None:
    """The same change can be applied again, once the database answers."""
    made = stage(bob)
    joined = change("members", "INSERT", {"dialog_id": D2, "user_id": BOB})

    with pytest.raises(RpcError):
        await made.apply(joined, Project(fails=True))
    assert not made.memory.lookups["public.members"].rows


async def test_a_change_that_does_not_fit_applies_nothing() -> None:
    """The plans are older than the table."""
    made = stage()
    with pytest.raises(CatalogChangedError):
        await made.apply(change("members", "INSERT", {"dialog_id": D1}), nothing)
    assert not made.memory.lookups["public.members"].rows


async def test_an_unread_column_of_a_look_up_row_concerns_nobody() -> None:
    """A member's role that no policy reads is no change of sight."""
    made = stage(members=[(D1, BOB)])
    key = {"dialog_id": D1, "user_id": BOB}

    assert await made.apply(change("members", "UPDATE", {**key, "role": "admin"}, key), nothing) == []


async def test_a_global_switch_makes_its_user_read_again() -> None:
    """An admin flag has no row column at all: every row may come into sight, so: resync, that user only."""
    admin = (
        "(EXISTS ( SELECT 1 FROM public.members m"
        " WHERE ((m.user_id = auth.uid()) AND (m.role = 'admin'::text))))"
    )
    messages = table(
        "messages", "id int, dialog_id uuid, sender_id uuid", f"((sender_id = auth.uid()) OR {admin})"
    )
    made = stage_of(planset(DIALOGS, messages, MEMBERS, watched=["dialogs", "messages"]), ann, bob)
    made.memory.remembered["public.dialogs"].put({"id": D1, "owner_id": BOB, "title": "one"})
    joined = change("members", "INSERT", {"dialog_id": D1, "user_id": BOB, "role": "admin"})

    assert told(await made.apply(joined, nothing)) == {BOB: [("resync", "UPDATE")]}


async def test_a_deleted_dialog_withdraws_its_messages() -> None:
    """Messages that are visible through the dialog's row need no resync when that row is told of."""
    own = "(EXISTS ( SELECT 1 FROM public.dialogs d WHERE (d.id = messages.dialog_id)))"
    dialogs = table("dialogs", "id uuid, owner_id uuid", "(owner_id = auth.uid())")
    made = stage_of(
        planset(dialogs, table("messages", "id int, dialog_id uuid", own), watched=["dialogs", "messages"])
    )
    await made.apply(change("dialogs", "INSERT", {"id": D1, "owner_id": ANN}), nothing)

    given = change("dialogs", "UPDATE", {"id": D1, "owner_id": BOB}, {"id": D1})
    assert told(await made.apply(given, nothing)) == {
        ANN: [("dialogs", "DELETE")],
        BOB: [("dialogs", "INSERT")],
    }
    assert told(await made.apply(change("dialogs", "DELETE", None, {"id": D1}), nothing)) == {
        BOB: [("dialogs", "DELETE")]
    }


def event(new: Row | None = None, old: Row | None = None, announced: Action | None = None) -> RowEvent:
    return RowEvent(
        table="public.messages",
        new=new,
        old=old,
        key={"id": 1},
        dialog_id=D1,
        commit_timestamp="t",
        received_s=0.0,
        announced=announced,
    )


@pytest.mark.parametrize(
    ("of", "who", "expected"),
    [
        (event(new=message()), bob, "INSERT"),
        (event(new=message()), cat, None),
        (event(new=message(), old=message(D2)), bob, "INSERT"),
        (event(new=message(D2), old=message()), bob, "DELETE"),
        (event(new=message(), old=message()), bob, "UPDATE"),
        (event(new=message(), old={"id": 1}), bob, "UPDATE"),
        (event(new=message(), old={"id": 1}), cat, None),
        (event(old=message()), bob, "DELETE"),
        (event(old={"id": 1}), bob, None),
        (event(new=message(), announced="INSERT"), bob, "INSERT"),
        (event(new=message(), announced="INSERT"), cat, None),
        (event(old={"id": 1}, announced="DELETE"), bob, "DELETE"),
    ],
)
async def test_a_replayed_event_is_decided_as_of_now(
    of: RowEvent, who: Principal, expected: Action | None
) -> None:
    """Who comes back experiences what the rows of today say."""
    (view,) = await stage(members=[(D1, BOB)]).decide(who, [of], nothing)

    hides_old = of.old == {"id": 1} and expected == "UPDATE"  # who saw the row before is not known
    assert view == (None if expected is None else View(action=expected, hides_old=hides_old))


async def test_a_replayed_event_of_a_role_without_a_plan_is_nothing() -> None:
    """Neither is one of a table that is not watched any more."""
    stranger = Principal(role="service_role", user_id=None)

    assert await stage().decide(stranger, [event(new=message())], nothing) == [None]


async def test_a_replayed_event_that_memory_cannot_decide_is_asked_about() -> None:
    """All of one client's events in one call."""
    made, project = asked_stage(bob), Project(sees=[bob])
    row = {"id": D1, "owner_id": None, "title": "one"}
    of = msgspec.structs.replace(event(new=row), table="public.dialogs", key={"id": D1})

    assert await made.decide(bob, [of, of], project) == [View(action="INSERT")] * 2
    assert len(project.asked) == 1


async def test_who_is_in_a_dialog_that_is_deleted_need_not_read_again() -> None:
    """Its members go after it, by a cascade; also who is away, whose replay knows them as members no more."""
    made = stage(bob, members=[(D1, BOB)])
    deleted = change("dialogs", "DELETE", None, {"id": D1, "owner_id": ANN, "title": "one"})
    assert told(await made.apply(deleted, nothing)) == {BOB: [("dialogs", "DELETE")]}
    effects = await made.apply(change("members", "DELETE", None, {"dialog_id": D1, "user_id": BOB}), nothing)
    assert told(effects) == {BOB: [("dialogs", "DELETE")]}
    (announced,) = (effect.event for effect in effects if isinstance(effect, Deliver))
    assert (announced.only, announced.key, announced.new) == (frozenset({BOB}), {"id": D1}, None)


async def test_whose_sight_a_membership_may_change_is_said_of_everybody() -> None:
    """Also of users who are not here: who of them comes back later has to read again."""
    made = stage(members=[(D1, ANN)])

    effects = await made.apply(change("members", "INSERT", {"dialog_id": D1, "user_id": "nobody"}), nothing)
    shifted = [effect for effect in effects if isinstance(effect, Shifted)]
    assert shifted == [Shifted(ann.role, frozenset({"nobody"}))]


async def test_the_past_is_taken_in_and_told_to_nobody() -> None:
    """Watched rows for those who come back, whose sight changed, and the rows as they are after it."""
    made = stage()
    member = {"dialog_id": D1, "user_id": BOB}

    effects = made.pass_by(change("members", "INSERT", member), is_loaded=False)
    assert effects == [Shifted(bob.role, frozenset({BOB}))]
    (sent,) = made.pass_by(change("messages", "INSERT", message()), is_loaded=False)
    assert isinstance(sent, Deliver)
    assert (sent.event.key, sent.deliveries) == ({"id": 1}, ())
    assert told(await made.apply(change("messages", "UPDATE", message(), message()), nothing)) == {
        BOB: [("messages", "UPDATE")]
    }
    made.pass_by(change("members", "DELETE", None, member), is_loaded=False)
    for action, new, old in (("INSERT", {"dialog_id": D1}, None), ("DELETE", None, {"dialog_id": D1})):
        with pytest.raises(CatalogChangedError):  # of the table as it was before
            made.pass_by(change("members", action, new, old), is_loaded=False)
    # What was there before the rows were loaded is in them, or gone since, with a TRUNCATE of which no row tells.
    assert made.pass_by(change("members", "INSERT", member), is_loaded=True) == effects
    assert told(await made.apply(change("messages", "UPDATE", message(), message()), nothing)) == {}


BLOCKED = "(NOT (EXISTS ( SELECT 1 FROM public.blocks b WHERE ((b.blocker = auth.uid()) AND (b.blocked = comments.author_id)))))"
COMMENTED = "(EXISTS ( SELECT 1 FROM public.docs d WHERE ((d.id = comments.doc_id) AND {})))"
PRIVATE = "((d.owner_id = auth.uid()) OR (auth.uid() = ANY (d.editors)))"


def commented(condition: str, *present: Principal) -> Authorizer:
    comments = table(
        "comments",
        "id int, doc_id uuid, author_id uuid",
        policy(COMMENTED.format(condition), roles=["authenticated"]),
        policy(BLOCKED, name="b", permissive=False, roles=["authenticated"]),
    )
    docs = table("docs", "id uuid, owner_id uuid, editors _uuid, open bool", rls=False)
    blocks = table("blocks", "blocker uuid, blocked uuid", key=("blocker", "blocked"), rls=False)
    return stage_of(planset(comments, docs, blocks, watched=["comments"]), *present)


def doc(owner: str | None, editors: Sequence[str] | None = (), *, is_open: bool = False) -> Row:
    return {"id": D1, "owner_id": owner, "editors": None if editors is None else [*editors], "open": is_open}


async def test_a_private_look_up_row_concerns_those_it_names() -> None:
    """Nobody has its comments at hand; who saw them, or does, reads again, and nobody else."""
    made = commented(PRIVATE)

    for number, (action, new, old, who) in enumerate(
        [
            ("INSERT", doc(ANN), None, {ANN}),
            ("UPDATE", doc(ANN, [BOB]), doc(ANN), {ANN, BOB}),
            ("UPDATE", doc(CAT, [BOB]), doc(ANN, [BOB]), {ANN, BOB, CAT}),
            ("UPDATE", doc(CAT, None), doc(CAT, [BOB]), {CAT, BOB}),
            ("UPDATE", doc(None, None), doc(CAT, None), {CAT}),
            ("DELETE", None, doc(None, None), set()),
            ("DELETE", None, doc(BOB), {ANN, BOB, CAT}),  # it was never known
        ]
    ):
        effects = await made.apply(change("docs", action, new, old), nothing)  # type: ignore[arg-type]
        assert told(effects) == {user: [("resync", "UPDATE")] for user in who}, number
        shifts = [effect for effect in effects if isinstance(effect, Shifted)]
        assert shifts == ([Shifted("authenticated", frozenset(who) if number < 6 else None)] if who else [])


async def test_a_look_up_row_for_all_concerns_everybody() -> None:
    """Until it is private, and when it becomes so."""
    made = commented(f"({PRIVATE} OR d.open)", ann, bob)
    all_of_them = {ANN: [("resync", "UPDATE")], BOB: [("resync", "UPDATE")]}

    effects = await made.apply(change("docs", "INSERT", doc(ANN, is_open=True)), nothing)
    assert told(effects) == all_of_them
    effects = await made.apply(change("docs", "UPDATE", doc(ANN), doc(ANN, is_open=True)), nothing)
    assert told(effects) == all_of_them
    assert told(await made.apply(change("docs", "UPDATE", doc(BOB), doc(ANN)), nothing)) == all_of_them
    assert told(await made.apply(change("docs", "DELETE", None, doc(BOB)), nothing)) == {
        BOB: [("resync", "UPDATE")]
    }


async def test_a_private_look_up_row_of_the_past_concerns_those_it_names() -> None:
    """They read again when they come back, others do not."""
    made = commented(PRIVATE)

    assert made.pass_by(change("docs", "UPDATE", doc(BOB), doc(ANN)), is_loaded=True) == [
        Shifted("authenticated", frozenset({ANN, BOB}))
    ]
