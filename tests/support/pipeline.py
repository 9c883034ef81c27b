"""A pipeline between a source that tells what the test says and an audience that writes down what it hears."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bridge.authorization import Authorizer, Deliver, Effect, Resync, Roster
from bridge.authorization.planset import PlanSet
from bridge.authorization.rows import RowMemory
from bridge.backoff import Backoff
from bridge.clock import ManualClock
from bridge.errors import AskedTimeoutError, RpcError, SourceError
from bridge.events import Change, Event, Gap, Live, Principal, Row, RowEvent, Seen, UpstreamState
from bridge.pipeline import Pipeline
from bridge.position import Position
from tests.support.catalogs import ANN, planset, table

ann = Principal(role="authenticated", user_id=ANN)

NOTES = "id int, owner_id uuid"
OWN = "(owner_id = auth.uid())"
BY_MEMBERSHIP = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.note_id = notes.id) AND (m.user_id = auth.uid()))))"
)
MEMBERS = table("members", "note_id int, user_id uuid", key=("note_id", "user_id"), rls=False)


def own_notes(columns: str = NOTES) -> PlanSet:
    """Whoever owns a note sees it."""
    return planset(table("notes", columns, OWN), watched=["notes"])


def shared_notes() -> PlanSet:
    """Whoever is a member sees it: a further table has to be captured."""
    return planset(table("notes", NOTES, BY_MEMBERSHIP), MEMBERS, watched=["notes"])


class Script:
    """A source that tells what the test says, and joins anew when it gets other tables."""

    def __init__(self) -> None:
        self._told: deque[Event] = deque()
        self._more = asyncio.Event()
        self._taken = asyncio.Event()
        self.tables: list[tuple[str, ...]] = []
        self.pages: list[list[Change | Gap]] = []
        self.there = Position(0)
        self.trouble = ""
        self._pages: deque[list[Change | Gap]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._told)

    def take(self) -> Event | None:
        return self._told.popleft() if self._told else None

    async def next_event(self) -> Event:
        while not self._told:
            for _ in range(2):  # who only looks whether there is something gives up
                await asyncio.sleep(0)
            self._taken.set()
            self._more.clear()
            await self._more.wait()
        return self._told.popleft()

    async def rest(self, _txid: str) -> Event | None:
        return self._told.popleft() if self._told else None

    keeps_past = False
    position = Position(0)

    def version(self, digest: str) -> str:
        return f"v{digest}"

    async def rewind(self) -> tuple[Position, Position]:
        self._pages = deque(self.pages)
        return Position(0), self.there

    async def past(self) -> Sequence[Change | Gap] | None:
        return self._pages.popleft() if self._pages else None

    def reload(self) -> None:
        self.tell(Live())

    def set_tables(self, tables: Sequence[str]) -> bool:
        self.tables.append(tuple(tables))
        if not self.keeps_past:
            self.tell(Gap(reason="tables_changed"), Live())
        return not self.keeps_past

    def tell(self, *events: Event) -> None:
        self._told.extend(events)
        self._taken.clear()
        self._more.set()

    async def told(self) -> None:
        """Wait until everything has been carried as far as it goes."""
        async with asyncio.timeout(5):
            await self._taken.wait()


class Heard:
    """An audience that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.began: list[str] = []
        self.opened = 0
        self.position = ""

    def begin(self, version: str, position: Position) -> None:
        self.began.append(f"{version[:1]} {position.text()}")

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.log.append("close")

    def remember(self, change: Change, effects: Sequence[Effect]) -> None:
        self.log.append(f"{change.table} {change.id} is past: {len(effects)}")

    def deliver(self, change: Change, effects: Sequence[Effect]) -> None:
        self.position = change.position
        for effect in effects:
            if isinstance(effect, Resync):
                self.log.append(f"resync to {len(effect.principals)}")
            elif isinstance(effect, Deliver):
                users = [p.user_id for delivery in effect.deliveries for p in delivery.principals]
                self.log.append(f"note {effect.event.key['id']} to {len(users)}")

    def remind(self, resync: Resync) -> None:
        self.log.append(f"reminded: {len(resync.principals)}")

    def announce_status(self, state: UpstreamState) -> None:
        self.log.append(state)

    def announce_gap(self, reason: str) -> None:
        self.log.append(f"gap: {reason}")

    def forget_history(self) -> None:
        self.log.append("forget")


class Database:
    """Builds authorization stages of the plans that hold at the time.

    Attributes:
        plans: Compiles what holds now.
        failures: Raised, one by one, instead of an answer.
        open: While it is not set, loads wait.
        loads: How often one was asked for.
        is_slow: Whether it answers, but not in time who sees a row.
        sees: Who sees every row; None where it does not answer that.
        asked: The rows of each question.
    """

    def __init__(self, plans: Callable[[], PlanSet]) -> None:
        self.plans = plans
        self.failures: list[SourceError] = []
        self.open = asyncio.Event()
        self.open.set()
        self.loads = 0
        self.marker = "1"
        self.is_slow = False
        self.sees: frozenset[Principal] | None = None
        self.asked: list[list[Row]] = []
        self.roster = Roster(linger_s=60, clock=ManualClock())

    async def load(self) -> Authorizer:
        self.loads += 1
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        plans = self.plans()
        roster = self.roster = Roster(linger_s=60, clock=ManualClock())
        roster.add(ann)
        return Authorizer(
            plans,
            memory=RowMemory(plans, dialog_columns={}, remembered_limit=10),
            roster=roster,
            dialog_columns={},
            dialog_table="",
            marker=self.marker,
        )

    async def catalog_marker(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return self.marker

    async def compile_again(self) -> PlanSet:
        return self.plans()

    async def row(self, table: str, key: Row) -> Row | None:
        raise RpcError(f"{table} cannot be read, {len(key)} columns: try again")

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        self.asked.append(list(rows))
        if self.is_slow:
            raise AskedTimeoutError(f"{table} takes too long: wait")
        if self.sees is not None:
            everything = frozenset(range(len(rows)))
            return Seen([everything if p in self.sees else frozenset() for p in principals], everything)
        raise RpcError(f"{table} cannot be asked, {len(rows)} rows for {len(principals)} users: try again")


class Stage:
    """A pipeline that runs, and what stands around it."""

    def __init__(self, plans: Callable[[], PlanSet]) -> None:
        self.source, self.heard, self.database = Script(), Heard(), Database(plans)
        self.first_lives = 0
        self.clock = ManualClock()
        self.pipeline = Pipeline(
            source=self.source,
            load=self.database.load,
            compile_again=self.database.compile_again,
            database=self.database,
            audience=self.heard,
            tables=("public.notes",),
            clock=self.clock,
            backoff=Backoff(base_s=0.01, cap_s=0.02, random=lambda: 0.5),
            on_first_live=self._first_live,
        )

    def _first_live(self) -> None:
        self.first_lives += 1

    async def tell(self, *events: Event) -> list[str]:
        """Tell these; return what was heard of it."""
        before = len(self.heard.log)
        self.source.tell(*events)
        await self.source.told()
        return self.heard.log[before:]


@contextlib.asynccontextmanager
async def running(plans: Callable[[], PlanSet] = own_notes) -> AsyncIterator[Stage]:
    """Run a pipeline."""
    stage = Stage(plans)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stage.pipeline.run())
        try:
            yield stage
        finally:
            task.cancel()


def insert(
    n: int, *, name: str = "public.notes", new: Row | None = None, at: str = "t", **fields: Any
) -> Change:
    """A note of Ann's."""
    row = {"id": n, "owner_id": ANN} if new is None else new
    return Change(
        table=name, action="INSERT", new=row, old=None, commit_timestamp=at, received_s=999.5, **fields
    )


def note_event() -> RowEvent:
    row = {"id": 1, "owner_id": ANN}
    return RowEvent(
        table="public.notes",
        new=row,
        old=None,
        key={"id": 1},
        dialog_id=None,
        commit_timestamp="t",
        received_s=0.0,
    )


STARTED = ["catching_up", "gap: upstream_started", "live"]
