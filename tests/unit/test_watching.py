"""Policies that change, and policies that cannot be checked."""

import asyncio

import pytest
from structlog.testing import capture_logs

from bridge.authorization.planset import PlanSet
from bridge.certainty import CERTAIN_S
from bridge.errors import BridgeError, ConfigError, RpcError
from bridge.events import Live
from tests.support.catalogs import planset, table
from tests.support.pipeline import NOTES, Stage, ann, insert, note_event, own_notes, running


async def test_policies_change_between_two_changes():
    """The marker says that the catalog changed: plans that mean something else take effect, with a resync."""
    async with running() as stage:
        await stage.tell(Live(), insert(1))
        await stage.pipeline.catalog.check()
        stage.database.marker = "2"
        stage.heard.log.clear()
        await stage.pipeline.catalog.check()  # another marker, but the same meaning
        assert stage.heard.log == []
        stage.database.marker = "3"
        stage.database.plans = lambda: planset(table("notes", NOTES, "false"), watched=["notes"])
        await stage.pipeline.catalog.check()
        await stage.pipeline.catalog.check()  # it has its turn once
        heard = await stage.tell()
        assert heard == ["forget", "catching_up", "gap: policies_changed", "live"]
        assert "note 2 to 1" not in await stage.tell(insert(2))


MAY_BE_STALE = ["close", "down"]


async def unchecked(stage: Stage) -> None:
    """Have the catalog not be checked for as long as policies count, and longer."""
    for elapsed_s in (CERTAIN_S - 1, 1):
        stage.clock.advance(elapsed_s)
        stage.database.failures.append(RpcError("the endpoint is away: trying again"))
        with pytest.raises(RpcError):
            await stage.pipeline.catalog.check()


async def test_policies_that_cannot_be_checked_decide_nothing():
    """For a while they do; then changes and those who come back wait until it is known that they still hold."""
    async with running() as stage:
        await stage.tell(Live(), insert(1))
        stage.heard.log.clear()
        await unchecked(stage)
        stage.source.tell(insert(2))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (stage.heard.log, stage.pipeline.certainty.is_lost) == (MAY_BE_STALE, True)
        await stage.pipeline.catalog.check()
        await stage.source.told()
        assert stage.heard.log == [*MAY_BE_STALE, "live", "note 2 to 1"]
        assert (stage.heard.opened, stage.database.loads) == (2, 1)


async def test_a_catalog_that_cannot_be_asked_for_is_not_said_each_time():
    """Once, and ever more rarely; the reason is known until it can be."""
    async with running() as stage, asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        await stage.tell(Live())
        stage.database.failures += [RpcError("away: wait"), RpcError("away: wait"), RpcError("refused: wait")]
        catalog = stage.pipeline.catalog
        with capture_logs() as logs:
            watching = tasks.create_task(catalog.run(0))
            while catalog.trouble.reason != "refused: wait":  # noqa: ASYNC110
                await asyncio.sleep(0)
            while catalog.trouble.reason:  # noqa: ASYNC110
                await asyncio.sleep(0)
            watching.cancel()
        said = [(entry["reason"], entry["attempt"]) for entry in logs]
        assert said == [("away: wait", 1), ("refused: wait", 3)]


async def test_policies_that_changed_unseen_decide_nothing_that_waited():
    """All is loaded again first; clients read again."""
    async with running() as stage:
        await stage.tell(Live(), insert(1))
        stage.heard.log.clear()
        await unchecked(stage)
        stage.source.tell(insert(2))
        stage.database.marker = "2"
        stage.database.plans = lambda: planset(table("notes", NOTES, "false"), watched=["notes"])
        await stage.pipeline.catalog.check()
        await stage.source.told()
        assert stage.heard.log[:5] == [*MAY_BE_STALE, "forget", "catching_up", "gap: catalog_changed"]
        assert not [line for line in stage.heard.log if line.startswith("note 2 to 1")]
        assert stage.pipeline.state == "live"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("table public.notes does not exist: create it, or correct BRIDGE_TABLES"),
        RpcError("bridge_catalog() did not answer: trying again"),
    ],
)
async def test_a_watched_table_that_is_gone_is_waited_for(error: BridgeError):
    """Nothing is delivered meanwhile, and the worker lives: also where the changed catalog cannot be read."""
    async with running() as stage:
        await stage.tell(Live(), insert(1))
        stage.database.marker = "2"
        stage.heard.log.clear()

        def gone() -> PlanSet:
            stage.database.plans = own_notes
            raise error

        stage.database.plans = gone
        await stage.pipeline.catalog.check()
        await stage.pipeline.catalog.check()  # it has its turn once
        heard = await stage.tell()
        assert heard == ["forget", "catching_up", "gap: policies_changed", "live"]
        assert "note 2 to 1" in await stage.tell(insert(2))


async def test_a_replay_waits_while_the_policies_may_have_changed():
    """It goes on by those that hold."""
    async with running() as stage, asyncio.TaskGroup() as tasks:
        await stage.tell(Live())
        await unchecked(stage)
        replay = tasks.create_task(stage.pipeline.decide(ann, [note_event()]))
        await asyncio.sleep(0)
        assert not replay.done()
        await stage.pipeline.catalog.check()
        assert [view and view.action for view in await replay] == ["INSERT"]
