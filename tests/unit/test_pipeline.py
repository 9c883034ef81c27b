"""What the audience hears, for each story that a source can tell."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import structlog
from typing_extensions import override

from bridge.authorization import Authorizer
from bridge.authorization.planset import PlanSet
from bridge.clock import ManualClock
from bridge.errors import RpcError, SourceError
from bridge.events import Change, Gap, Live, Paused, Principal, Resumed, Row
from bridge.pipeline import TURN_S
from bridge.position import Position
from tests.support.catalogs import ANN, BOB, planset, table
from tests.support.pipeline import (
    NOTES,
    OWN,
    STARTED,
    Stage,
    ann,
    insert,
    note_event,
    own_notes,
    running,
    shared_notes,
)


class Ticking(ManualClock):
    """A clock that goes on by more than a turn each time that somebody looks."""

    @override
    def monotonic_s(self) -> float:
        self.advance(2 * TURN_S)
        return super().monotonic_s()


async def test_from_the_first_live_on_changes_are_delivered_in_order():
    """Loading comes before it; who connected earlier is told to read again; the start is said once."""
    async with running() as stage:
        assert stage.pipeline.state == "down"
        assert await stage.tell(Live(), insert(1), insert(2)) == [*STARTED, "note 1 to 1", "note 2 to 1"]
        assert stage.first_lives == 1


async def test_others_have_their_turn_while_changes_wait():
    """Also where each transaction ends by the next one's first change, so that there always is one at hand."""
    async with running() as stage:
        await stage.tell(Live())
        before = len(stage.heard.log)
        stage.pipeline._clock = Ticking()
        stage.source.tell(*(insert(n, txid=str(n)) for n in range(1, 101)))
        seen = set()
        while len(stage.heard.log) < before + 100:
            await asyncio.sleep(0)
            seen.add(len(stage.heard.log) - before)
        assert len(seen) > 10


async def test_a_gap_forgets_history_and_is_announced_once_it_is_over():
    """`down`, then everything is loaded again, then `resync` with the reason, then `live`."""
    async with running() as stage:
        await stage.tell(Live())
        assert await stage.tell(Gap(reason="upstream_silent")) == ["forget", "down"]
        assert await stage.tell(Live(), insert(3)) == [
            "catching_up",
            "gap: upstream_silent",
            "live",
            "note 3 to 1",
        ]
        assert (stage.database.loads, stage.first_lives) == (2, 1)


async def test_nothing_is_delivered_before_the_rows_are_loaded():
    """Changes wait behind the load; a Gap that comes meanwhile loads everything once more."""
    async with running() as stage:
        stage.database.open.clear()
        stage.source.tell(Live(), insert(1), Gap(reason="queue_overflow"), Live(), insert(2))
        async with asyncio.timeout(5):
            while not stage.database.loads:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert stage.heard.log == ["catching_up"]
        assert await stage.pipeline.decide(ann, [note_event()]) == [None]
        stage.database.open.set()
        await stage.source.told()
        again = ["forget", "down", "catching_up", "gap: queue_overflow", "live", "note 2 to 1"]
        assert stage.heard.log == [*STARTED, "note 1 to 1", *again]


async def test_a_change_between_gap_and_live_is_not_delivered():
    """The look-up rows may be stale, so nobody knows who may see it; the load that follows covers it."""
    async with running() as stage:
        await stage.tell(Live())
        assert await stage.tell(Gap(reason="upstream_silent"), insert(1)) == ["forget", "down"]


async def test_a_load_that_fails_is_tried_again():
    """Which the log says, and whoever asks; nobody is told `live` before one succeeds."""
    async with running() as stage:
        stage.database.failures = [SourceError(f"{why}: wait") for why in ("away", "busy", "busy")]
        with structlog.testing.capture_logs() as logged:
            stage.source.tell(Live())
            async with asyncio.timeout(5):
                while stage.pipeline.trouble != "busy: wait":  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await stage.source.told()
        assert (stage.heard.log, stage.pipeline.trouble) == (STARTED, "")
        failed = [entry for entry in logged if entry["event"] == "load_failed"]
        assert [(entry["reason"], entry["attempt"]) for entry in failed] == [
            ("away: wait", 1),
            ("busy: wait", 2),
        ]
        assert stage.database.loads == 4


async def test_a_catalog_that_changes_after_the_journals_end_was_read_is_read_again():
    """A trigger may have been off: what the past says of a row would undo what nobody recorded."""
    with structlog.testing.capture_logs() as logged:
        async with running() as stage:

            def altered() -> PlanSet:
                stage.database.marker = "2"
                return own_notes()

            stage.database.plans = altered
            stage.source.keeps_past = True
            assert await stage.tell(Live()) == STARTED
            assert stage.database.loads == 2
    assert "reading again" in next(e["reason"] for e in logged if e["event"] == "load_failed")


async def test_a_catalog_that_changes_all_the_time_does_not_keep_a_start_from_its_end():
    """Somebody makes tables and drops them: of the triggers and the policies two readings say the same."""
    async with running() as stage:

        def altered() -> PlanSet:
            stage.database.marker += "+"
            return own_notes()

        stage.database.plans, stage.source.keeps_past = altered, True
        assert await stage.tell(Live()) == STARTED
        assert stage.database.loads == 2


async def test_policies_that_read_a_further_table_are_live_once_it_is_captured():
    """The source joins again with it; only the Live after that is one for the clients."""
    async with running() as stage:
        await stage.tell(Live())
        stage.database.plans = shared_notes
        heard = await stage.tell(Gap(reason="upstream_restarted"), Live(), insert(1))
        assert stage.source.tables == [("public.notes", "public.members")]
        # The Gap of the new join is the second; the note lies before it.
        again = ["forget", "down", "catching_up", "gap: tables_changed", "live"]
        assert heard == ["forget", "down", "catching_up", *again]


async def test_an_altered_table_is_loaded_again_and_the_change_delivered():
    """The change lacks a column that the plans read: read the catalog, apply it once more."""
    async with running() as stage:
        await stage.tell(Live())
        stage.database.plans = lambda: planset(table("notes", NOTES, "true"), watched=["notes"])
        assert await stage.tell(insert(1, new={"id": 1})) == [
            "forget",
            "down",
            "catching_up",
            "gap: catalog_changed",
            "live",
            "note 1 to 1",
        ]


async def test_a_change_that_fits_no_catalog_is_dropped_and_the_next_one_comes():
    """Once more is enough: the clients were told to read again, and the log names the table only."""
    async with running() as stage:
        await stage.tell(Live())
        with structlog.testing.capture_logs() as logged:
            heard = await stage.tell(insert(1, new={"id": 1, "body": "canary"}), insert(2))
        assert heard[-2:] == ["live", "note 2 to 1"]
        dropped = [entry for entry in logged if entry["event"] == "change_dropped"]
        assert [entry["table"] for entry in dropped] == ["public.notes"]
        assert "canary" not in str(logged)


async def test_a_row_that_cannot_be_read_for_a_membership_is_a_gap():
    """What a new member may see now lies in the database, which is away: everything is read anew."""
    async with running(shared_notes) as stage:
        await stage.tell(Live())
        heard = await stage.tell(insert(1, name="public.members", new={"note_id": 7, "user_id": ANN}))
        assert heard[:5] == ["forget", "down", "catching_up", "gap: database_unreachable", "live"]


async def test_a_database_that_does_not_answer_who_sees_a_row_is_a_gap():
    """Nothing is delivered, the clients are told that upstream is down and then to read again."""

    def asked() -> PlanSet:
        return planset(table("notes", NOTES, "(body ~ 'a'::text)"), watched=["notes"])

    async with running(asked) as stage:
        await stage.tell(Live())
        heard = await stage.tell(insert(1))
        assert heard[:5] == ["forget", "down", "catching_up", "gap: database_unreachable", "live"]
        assert not any(entry.startswith("note") for entry in heard)


async def test_policies_that_take_too_long_cost_those_who_are_not_decided():
    """They read again; nothing is loaded, upstream stays live, and the log says it once a minute."""

    def asked() -> PlanSet:
        using = "((owner_id = auth.uid()) OR (body ~ 'a'::text))"
        return planset(table("notes", f"{NOTES}, body text", using), watched=["notes"])

    async with running(asked) as stage:
        stage.database.is_slow = True
        await stage.tell(Live())
        other: Row = {"id": 1, "owner_id": None, "body": "x"}
        with structlog.testing.capture_logs() as logged:
            mine: Row = {"id": 2, "owner_id": ANN, "body": "x"}
            assert await stage.tell(insert(1, new=other)) == ["note 1 to 0", "resync to 1"]
            assert await stage.tell(insert(2, new=mine)) == ["note 2 to 1"]
            await stage.tell(insert(1, new=other))
            stage.clock.advance(60)
            await stage.tell(insert(1, new=other))
        assert [entry["event"] for entry in logged] == ["question_timed_out"] * 2
        assert (stage.database.loads, stage.pipeline.state) == (1, "live")


def own_or_asked() -> PlanSet:
    """Whoever owns a note sees it; of the others Postgres says."""
    using = "((owner_id = auth.uid()) OR (body ~ 'a'::text))"
    return planset(table("notes", f"{NOTES}, body text", using), watched=["notes"])


def note(n: int, owner: str | None = None) -> Change:
    return insert(n, new={"id": n, "owner_id": owner, "body": "x"})


async def test_changes_that_wait_are_asked_about_together():
    """In one call, in order; what memory knows of one in between waits for those before it, not for those after."""
    async with running(own_or_asked) as stage:
        stage.database.sees = frozenset((ann,))
        await stage.tell(Live())
        heard = await stage.tell(note(1, ANN), note(2), note(3, ANN), note(4), note(5))
        assert heard == [f"note {n} to 1" for n in range(1, 6)]
        assert [[row["id"] for row in rows] for rows in stage.database.asked] == [[2, 4, 5]]


async def test_only_so_many_changes_are_asked_about_at_once():
    """More each time, as the answers are quick."""
    async with running(own_or_asked) as stage:
        stage.database.sees = frozenset((ann,))
        await stage.tell(Live())
        heard = await stage.tell(*(note(n) for n in range(300)))
        assert heard == [f"note {n} to 1" for n in range(300)]
        assert [len(rows) for rows in stage.database.asked] == [8, 16, 32, 64, 100, 80]


async def test_a_gap_among_changes_that_are_asked_about_keeps_its_place():
    """What came before it is delivered, what comes after it is not."""
    async with running(own_or_asked) as stage:
        stage.database.sees = frozenset((ann,))
        await stage.tell(Live())
        assert await stage.tell(note(1), note(2), Gap(reason="upstream_silent"), note(3)) == [
            "note 1 to 1",
            "note 2 to 1",
            "forget",
            "down",
        ]


async def test_a_change_that_does_not_fit_comes_after_those_that_do():
    """The questions of earlier changes are answered by the plans that they were asked by."""
    async with running(own_or_asked) as stage:
        stage.database.sees = frozenset((ann,))
        await stage.tell(Live())
        heard = await stage.tell(note(1), insert(2, new={"id": 2}), note(3))
        again = ["forget", "down", "catching_up", "gap: catalog_changed", "live"]
        assert heard == ["note 1 to 1", *again, "note 3 to 1"]


async def test_changes_about_which_the_database_does_not_answer_are_applied_once_more():
    """After everything was loaded anew; one that does not go through then is the last that is tried."""
    async with running(own_or_asked) as stage:
        await stage.tell(Live())
        heard = await stage.tell(note(1), note(2, ANN))
        again = ["forget", "down", "catching_up", "gap: database_unreachable", "live"]
        assert heard == again
        assert [[row["id"] for row in rows] for rows in stage.database.asked] == [[1], [1]]


async def test_a_question_that_takes_too_long_costs_those_whom_it_was_about():
    """Of all changes that were asked about with it; they read again once."""
    async with running(own_or_asked) as stage:
        stage.database.is_slow = True
        await stage.tell(Live())
        heard = await stage.tell(note(1), note(2, ANN), note(3))
        assert heard == ["note 1 to 0", "note 2 to 1", "note 3 to 0", "resync to 1"]


async def test_who_may_have_missed_something_reads_again_when_it_suits_many_changes():
    """A helper that may look at anything: who saw a row that is gone cannot be asked about."""

    def by_helper() -> PlanSet:
        return planset(table("notes", NOTES, "public.can_read(id)"), watched=["notes"])

    async with running(by_helper) as stage, asyncio.TaskGroup() as tasks:
        stage.database.sees = frozenset()
        reminding = tasks.create_task(stage.pipeline.reminders.run())
        await stage.tell(Live(), *(insert(n) for n in range(8)))
        stage.heard.log.clear()
        gone = [
            Change(
                table="public.notes",
                action="DELETE",
                new=None,
                old={"id": n},
                commit_timestamp="t",
                received_s=0.0,
            )
            for n in range(8)
        ]
        await stage.tell(*gone)
        assert stage.heard.log.count("reminded: 1") == 1
        assert len(stage.heard.log) == 9
        reminding.cancel()


async def test_a_change_of_a_table_that_is_not_captured_is_ignored():
    """A leftover of an earlier join."""
    async with running() as stage:
        await stage.tell(Live())
        assert await stage.tell(insert(1, name="public.gone"), insert(2)) == ["note 2 to 1"]


async def test_a_commit_timestamp_without_a_form_does_not_stop_the_stream():
    """It only measures."""
    async with running() as stage:
        heard = await stage.tell(Live(), insert(1, at=""), insert(2, at="2026-01-01T00:00:00.000Z"))
        assert heard == [*STARTED, "note 1 to 1", "note 2 to 1"]


async def test_what_a_user_sees_is_answered_while_live():
    """As of now; unknown as soon as something may be missing."""
    async with running() as stage:
        await stage.tell(Live())
        [view] = await stage.pipeline.decide(ann, [note_event()])
        assert view is not None
        assert view.action == "INSERT"
        await stage.tell(Gap(reason="upstream_silent"))
        assert await stage.pipeline.decide(ann, [note_event()]) == [None]


async def test_a_defect_ends_the_process():
    """What nobody foresaw is not repeated for ever: the supervisor starts a clean process."""

    async def load() -> Authorizer:
        raise ValueError("x")

    stage = Stage(own_notes)
    stage.pipeline._loading._load = load
    stage.source.tell(Live())
    with pytest.raises(ValueError, match="x"):
        await stage.pipeline.run()


async def test_the_past_is_remembered_and_told_to_nobody():
    """What was committed before the rows were loaded; where it cannot be told from there on, it begins anew."""
    async with running() as stage:
        altered = insert(2, new={"id": 2}, id=2, position="2")
        truncated = Gap(reason="table_truncated", table="public.notes", id=3)
        stage.source.there = Position(3)
        stage.source.pages = [[insert(1, id=1), altered], [truncated, insert(3, id=4, name="public.gone")]]
        stage.source.keeps_past = True
        past = ["public.notes 1 is past: 1", "public.gone 4 is past: 0"]
        assert await stage.tell(Live(), insert(4, position="4")) == [
            "catching_up",
            *past,
            *STARTED[1:],
            "note 4 to 1",
        ]
        assert stage.heard.began == ["v 0", "v 0", "v 0"]
        assert (stage.heard.opened, stage.heard.position) == (1, "4")


async def test_who_was_a_member_before_a_truncate_of_the_past_is_none():
    """The rows that are loaded show it; where it came while they were, they are loaded again."""
    for there in (Position(2), Position(1)):
        async with running(shared_notes) as stage:
            truncated = Gap(reason="table_truncated", table="public.members", id=2)
            member = insert(1, name="public.members", new={"note_id": 7, "user_id": ANN}, id=1)
            stage.source.pages = [[member], [truncated]]
            stage.source.keeps_past = True
            stage.source.there = there
            load = stage.database.load

            async def loading(stage: Stage = stage, load: Callable[[], Any] = load) -> Authorizer:
                authorizer: Authorizer = await load()
                if stage.database.loads == 2:
                    stage.source.there = Position(2)
                return authorizer

            stage.pipeline._loading._load = loading
            heard = await stage.tell(Live(), insert(7, id=3, position="3", new={"id": 7, "owner_id": None}))
            assert heard[-1] == "note 7 to 0"
            assert stage.database.loads == (1 if there.after == 2 else 3)


async def test_a_truncated_table_is_read_again_where_a_policy_reads_it():
    """Once, without waiting for anything; of another one nobody is told."""
    async with running() as stage:
        await stage.tell(Live())
        other = Gap(reason="table_truncated", table="public.other", id=1)
        assert await stage.tell(other, insert(1)) == ["note 1 to 1"]
        watched = Gap(reason="table_truncated", table="public.notes", id=2)
        assert await stage.tell(watched, insert(2)) == [
            "forget",
            "down",
            "catching_up",
            "gap: table_truncated",
            "live",
            "note 2 to 1",
        ]


async def test_a_change_that_cannot_be_read_makes_look_up_rows_wrong():
    """A membership that ended by it would go on; a message is only missing."""
    async with running(shared_notes) as stage:
        await stage.tell(Live())
        message = Gap(reason="row_unreadable", table="public.notes", id=1)
        assert await stage.tell(message, insert(1)) == ["note 1 to 0"]
        membership = Gap(reason="row_unreadable", table="public.members", id=2)
        assert (await stage.tell(membership))[-2:] == ["gap: row_unreadable", "live"]
        stage.source.pages, stage.source.keeps_past, before = [[message]], True, stage.database.loads
        stage.source.there = Position(0)
        await stage.tell(Live())
        assert stage.database.loads == before + 1  # a message that came meanwhile is no reason to load again


def numbered_notes() -> PlanSet:
    """The notes are the table 2."""
    notes = msgspec.structs.replace(table("notes", NOTES, OWN), oid=2)
    return planset(notes, watched=["notes"])


async def test_rows_of_another_table_are_of_the_past_and_loaded_once():
    """Of before a restore, which gives tables other oids, or of one that had the name: nobody is told of them."""
    async with running(numbered_notes) as stage:
        stage.source.there, stage.source.keeps_past = Position(2), True
        stage.source.pages = [[insert(1, id=1, oid=1), insert(2, id=2, oid=7), insert(3, id=3, oid=2)]]
        assert await stage.tell(Live()) == ["catching_up", "public.notes 3 is past: 1", *STARTED[1:]]
        assert stage.heard.began == ["v 0", "v 0", "v 0"]
        assert stage.database.loads == 1


async def test_a_row_of_a_table_that_is_newer_than_the_catalog_has_it_read_again():
    """Live, and where the swap came while it was loaded: each row of another table is followed by a load, once."""
    async with running(numbered_notes) as stage:
        stage.source.keeps_past = True
        await stage.tell(Live())
        told = await stage.tell(insert(1, id=1, oid=3))
        assert "note 1 to 1" not in told
        assert await stage.tell(insert(2, id=2, oid=2)) == ["note 2 to 1"]
        assert stage.database.loads == 2

        stage.source.pages = [[insert(3, id=3, oid=3)]]
        rewind = stage.source.rewind

        async def rewind_later() -> tuple[Position, Position]:
            stage.source.there = Position(3) if stage.database.loads > 2 else Position(2)
            return await rewind()

        stage.source.rewind = rewind_later  # type: ignore[method-assign]
        await stage.tell(Live())
        assert stage.database.loads == 4


async def test_a_past_that_cannot_be_read_is_tried_again_with_the_rows():
    """A journal that was pruned on the way; a database that went away is only asked again for what is left."""
    async with running() as stage:
        past, failures = stage.source.past, [RpcError("away"), SourceError("pruned"), RpcError("away")]

        async def failing() -> Sequence[Change | Gap] | None:
            if failures:
                raise failures.pop()
            return await past()

        stage.source.past = failing  # type: ignore[method-assign]
        assert await stage.tell(Live()) == STARTED
        assert stage.database.loads == 2


async def test_a_pause_is_shown_and_loses_nothing():
    """The clients' status says so; decisions go on, and nobody reads again."""
    async with running() as stage:
        await stage.tell(Live(), insert(1))
        assert await stage.tell(Paused()) == ["down"]
        assert stage.pipeline.state == "down"
        assert await stage.tell(Resumed(), insert(2)) == ["live", "note 2 to 1"]
        assert await stage.tell(Gap(reason="journal_pruned"), Resumed()) == ["forget", "down"]


async def test_a_change_that_is_read_again_is_not_told_twice():
    """With a journal, what failed is in the past that is read after it."""
    async with running(shared_notes) as stage:
        stage.source.keeps_past = True
        await stage.tell(Live())
        heard = await stage.tell(insert(1, name="public.members", new={"note_id": 7, "user_id": ANN}))
        assert heard == ["forget", "down", "catching_up", "gap: database_unreachable", "live"]


async def test_who_comes_in_the_middle_of_a_transaction_reads_again():
    """Its first change was decided without them, and is not in the history yet when they ask for what they missed."""
    bob = Principal(role="authenticated", user_id=BOB)
    async with running(shared_notes) as stage:
        members = [
            insert(n, name="public.members", new={"note_id": note, "user_id": user})
            for n, note, user in ((1, 7, BOB), (3, 8, ANN))
        ]

        async def row(_table: str, key: Row) -> Row:
            stage.database.roster.add(bob)
            return {"id": key["id"], "owner_id": None}

        stage.database.row, stage.database.sees = row, frozenset({ann})  # type: ignore[method-assign]
        await stage.tell(Live(), members[0])
        note = insert(2, new={"id": 7, "owner_id": None}, txid="5")
        assert await stage.tell(note, msgspec.structs.replace(members[1], txid="5", last=True)) == [
            "note 7 to 0",
            "note 8 to 1",
            "resync to 1",
        ]


async def test_a_transaction_of_the_past_is_kept_as_it_was_at_its_end():
    """Who comes back is shown no state between two statements; the position is that of all of it."""
    async with running() as stage:
        shown = insert(1, id=1, position="1", txid="5")
        hidden = msgspec.structs.replace(
            shown, action="UPDATE", old=shown.new, new={"id": 1, "owner_id": BOB}, id=2, position="2"
        )
        stage.source.there, stage.source.keeps_past = Position(2), True
        stage.source.pages = [[shown, hidden, insert(3, id=3, position="3", txid="6")]]
        heard = await stage.tell(Live())
        assert heard[1:4] == [
            f"public.notes {past}" for past in ("2 is past: 1", "2 is past: 0", "3 is past: 1")
        ]
