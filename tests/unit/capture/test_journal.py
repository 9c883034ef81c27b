"""What leaves the journal, whatever transactions, stream and reads do in between."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.capture.journal import AGAIN_S, ARRIVE_S, MAX_HELD, POLL_EVERY_S, READ_EVERY_S, Journal
from bridge.clock import ManualClock
from bridge.events import Change, Event, Gap, Live, Paused, Resumed
from bridge.journal import JournalPage, JournalRow
from bridge.position import Position
from tests.support.journal_model import JournalModel, order_is_kept


class Interleaving:
    """Steps of a database, of a stream and of one reader, in any order."""

    def __init__(self, random_: random.Random, *, lossless: bool) -> None:
        self.random = random_
        self.lossless = lossless
        self.model = JournalModel()
        self.clock = ManualClock()
        self.journal = Journal(Position(0), "1", lossless=lossless)
        self.lives = False
        self.left: list[int] = []
        self.said: list[Event] = []
        # Some runs have much of one thing and little of another.
        steps = [self.write, self.commit, self.end, self.move_stream, self.bring, self.read, self.fail]
        self.steps = random_.choices(steps, [8, 8, 4, 1, 10, 6, 1], k=20)

    # The database

    def write(self) -> None:
        """Write a row in a new transaction, or in one that is open."""
        if len(self.model.open) < 3 and self.random.random() < 0.5:
            self.model.begin()
        if self.model.open:
            self.model.write(self.random.choice(self.model.open), self.random.randrange(4))

    def commit(self) -> None:
        """Commit one; sometimes it is not in sight yet."""
        if self.model.open:
            transaction = self.random.choice(self.model.open)
            self.model.send(transaction)
            if self.random.random() < 0.8:
                self.model.end(transaction)
        if not self.lives:
            self.model.wal.clear()

    def end(self) -> None:
        """Roll one back, or have a commit come into sight."""
        if self.model.open:
            self.model.end(self.random.choice(self.model.open))

    # The stream

    def move_stream(self) -> None:
        """Drop out, or come back."""
        self.lives = not self.lives
        self.model.wal.clear()
        if self.lossless:
            # Like a slot: its start waits until what was committed before is in sight.
            for transaction in [one for one in self.model.open if one.sent]:
                self.model.end(transaction)
        self.journal.receive_stream(lives=self.lives)
        self.take()

    def bring(self) -> None:
        """Bring a row, or the one after it, once or twice; or lose it."""
        while self.model.wal and self.random.random() < 0.8:
            if not self.lossless and self.random.random() < 0.2:
                self.model.wal.rotate(-1)
            row = self.model.wal.popleft()
            if self.lossless or self.random.random() < 0.8:
                for _ in range(self.random.choice([1, 1, 2])):
                    self.journal.receive_row(
                        msgspec.structs.replace(row, received_s=self.clock.monotonic_s())
                    )
                    self.take()

    # The reader

    def read(self) -> None:
        """Ask, and be answered after the database has gone on; where nothing waits for it, the stream too."""
        asked, flows = self.journal.ask(), self.journal.flows
        if flows:
            self.flow(self.random.choice([0, 0, 1]))
        position, snapshot = self.journal.position, self.model.snapshot()
        self.go_on()
        max_rows = self.random.choice([1, 2, 100, 100, 100])
        page = self.model.page(snapshot, position.after, position.holes, max_rows)
        self.go_on()
        if flows:
            self.flow(self.random.choice([0, 1, 4, 16]))
        self.clock.advance(self.random.choice([0.0, 0.0, ARRIVE_S / 3, ARRIVE_S]))
        self.journal.receive_page(page, self.clock.monotonic_s(), asked)
        self.take()

    def flow(self, steps: int) -> None:
        """Go on with the database and the stream."""
        for _ in range(steps):
            moves = [self.move_stream] * self.random.randrange(2)
            self.random.choice([self.bring, self.bring, self.go_on, self.go_on, self.commit, *moves])()

    def fail(self) -> None:
        self.go_on()
        self.journal.receive_failure(self.clock.monotonic_s())
        self.take()

    def go_on(self) -> None:
        for _ in range(self.random.choice([0, 0, 1, 3])):
            self.random.choice([self.write, self.commit, self.end])()

    def take(self) -> None:
        while (event := self.journal.take()) is not None:
            if isinstance(event, Change):
                self.left.append(event.id)
                assert event.position == self.journal.position.text()
            else:
                self.said.append(event)

    def finish(self) -> None:
        """Let all that is open end; who reads when it says so has everything soon."""
        for transaction in list(self.model.open):
            self.model.end(transaction)
        for _ in range(40):
            read_at_s = self.journal.read_at_s(stream_waits=False)
            self.clock.advance(max(0.0, read_at_s - self.clock.monotonic_s()))
            position = self.journal.position
            page = self.model.page(self.model.snapshot(), position.after, position.holes, 10_000)
            self.journal.receive_page(page, self.clock.monotonic_s(), self.journal.ask())
            self.take()


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), lossless=st.booleans())
def test_every_committed_row_leaves_once_and_in_order(seed: int, lossless: bool):  # noqa: FBT001
    """Rows lost, doubled, late; a stream that comes and goes; slow transactions; reads cut, slow or failed."""
    one = Interleaving(random.Random(seed), lossless=lossless)
    for _ in range(100):
        one.random.choice(one.steps)()
    one.finish()
    assert sorted(one.left) == sorted(one.model.committed)
    assert order_is_kept(one.model, one.left)
    assert one.journal.waiting == 0
    assert one.journal.position.holes == []
    assert one.said == [Paused(), Resumed()] * (len(one.said) // 2)


# One at a time


class Reader:
    """A journal beside its database, with a stream that lives and that a read has confirmed."""

    def __init__(self, **options: Any) -> None:
        self.model = JournalModel()
        self.clock = ManualClock()
        self.journal = Journal(Position(0), "1", **options)
        self.journal.receive_stream(lives=True)
        self.read()

    def read(self, max_rows: int = 100) -> list[Any]:
        """Read, and once more when the stream has had time to bring what was found."""
        left = self.read_once(max_rows)
        if self.journal.read_at_s(stream_waits=True) == self.clock.monotonic_s() + ARRIVE_S:
            self.clock.advance(ARRIVE_S + 0.001)
            left += self.read_once(max_rows)
        return left

    def read_once(self, max_rows: int = 100) -> list[Any]:
        position = self.journal.position
        page = self.model.page(self.model.snapshot(), position.after, position.holes, max_rows)
        self.journal.receive_page(page, self.clock.monotonic_s(), self.journal.ask())
        return self.take()

    def bring(self, *ids: int) -> list[Any]:
        """Have the stream bring these rows; return what leaves."""
        left: list[Any] = []
        for id_ in ids:
            row = next(row for row in self.model.wal if row.id == id_)
            self.journal.receive_row(msgspec.structs.replace(row, received_s=self.clock.monotonic_s()))
            left += self.take()
        return left

    def fail(self) -> list[Any]:
        self.journal.receive_failure(self.clock.monotonic_s())
        return self.take()

    def take(self) -> list[Any]:
        """Return what leaves: changes as their ids, other events as they are."""
        left: list[Any] = []
        while (event := self.journal.take()) is not None:
            left.append(event.id if isinstance(event, Change) else event)
        return left

    def read_in_s(self, *, stream_waits: bool = False) -> float:
        return self.journal.read_at_s(stream_waits=stream_waits) - self.clock.monotonic_s()


def test_the_next_row_leaves_at_once():
    """Without a read, which is due in three seconds anyhow."""
    reader = Reader()
    reader.model.commit(1, 2)
    assert reader.bring(1, 2) == [1, 2]
    assert reader.read_in_s() == READ_EVERY_S
    assert reader.read() == []


def test_rows_that_overtook_others_leave_in_order_when_all_have_come():
    """Also without a read; others behind them still wait."""
    reader = Reader()
    reader.model.commit(1, 2, 3, 4, 5)
    assert reader.bring(3, 2, 5) == []
    assert reader.read_in_s(stream_waits=True) == READ_EVERY_S
    assert reader.bring(1) == [1, 2, 3]
    assert reader.read_in_s() == float("-inf")
    assert reader.read() == [4, 5]


@pytest.mark.parametrize("is_read", [False, True])
def test_who_commits_last_comes_last_whatever_the_ids_are(is_read: bool):  # noqa: FBT001
    """A removal that is committed while a message is being written comes before it, if the stream has both."""
    reader = Reader()
    message = reader.model.begin()
    reader.model.write(message, 1)
    reader.model.commit(2)
    reader.model.send(message)
    if is_read:
        reader.model.write(reader.model.begin(), 3)  # a hole, so that a read is needed
        assert reader.bring(2) == []
    reader.model.end(message)
    assert reader.bring(*([1] if is_read else [2, 1])) == [2, 1]


def test_frames_out_of_order_do_not_tell_the_order():
    """By their ids then: the times of their commits are not as the frames come."""
    reader = Reader()
    reader.model.commit(1)
    reader.model.commit(1)
    assert reader.bring(2, 1) == [1, 2]
    torn = reader.model.begin()
    for _ in range(2):
        reader.model.write(torn, 1)
    reader.model.commit(2)
    reader.model.send(torn)
    reader.model.end(torn)
    assert reader.bring(4, 5, 3) == [3, 4, 5]


def test_behind_a_hole_each_row_waits_for_a_read():
    """Until the one that has the missing id has ended; it is at once the next read's business."""
    reader = Reader()
    slow = reader.model.begin()
    reader.model.write(slow, 1)
    reader.model.commit(2)
    assert reader.bring(2) == []
    assert (reader.read_in_s(), reader.read()) == (float("-inf"), [2])
    reader.model.commit(3)
    assert (reader.bring(3), reader.read()) == ([], [3])
    reader.model.end(slow)
    assert (reader.read(), reader.journal.position.text()) == ([], "3")
    reader.model.commit(4)
    assert reader.bring(4) == [4]


@pytest.mark.parametrize("during_the_read", [False, True])
def test_a_hole_stays_open_under_whoever_began_after_the_last_that_ended(during_the_read: bool):  # noqa: FBT001
    """Also where it ends while the read is under way: its row is found by the next."""
    reader = Reader()
    reader.journal.receive_stream(lives=False)
    older, younger = reader.model.begin(), reader.model.begin()
    reader.model.write(younger, 1)
    reader.model.write(older, 2)
    reader.model.send(older)
    reader.model.end(older)
    snapshot = reader.model.snapshot()
    if during_the_read:
        reader.model.send(younger)
        reader.model.end(younger)
    reader.journal.receive_page(reader.model.page(snapshot, 0, [], 100), 0.0, reader.journal.ask())
    assert reader.take() == [2]
    if not during_the_read:
        assert (reader.read(), reader.read()) == ([], [])
        reader.model.send(younger)
        reader.model.end(younger)
    assert reader.read() == [1]


def test_what_the_stream_brings_during_a_read_is_not_taken_for_looked_at():
    """The hole before it is somebody's whom the read has not seen begin."""
    reader = Reader(lossless=True)
    asked = reader.journal.ask()
    page = reader.model.page(reader.model.snapshot(), 0, [], 100)
    slow = reader.model.begin()
    reader.model.write(slow, 1)
    reader.model.commit(2)
    assert reader.bring(2) == [2]
    reader.journal.receive_page(page, 0.0, asked)
    assert (reader.take(), reader.read()) == ([], [])
    reader.model.send(slow)
    reader.model.end(slow)
    assert reader.bring(1) == [1]


@pytest.mark.parametrize("lossless", [False, True])
def test_an_answer_from_before_the_stream_was_lost_counts_for_nothing(lossless: bool):  # noqa: FBT001
    """What the stream did not bring meanwhile is in none of both: a read is due at once."""
    reader = Reader(lossless=lossless)
    asked = reader.journal.ask()
    page = reader.model.page(reader.model.snapshot(), 0, [], 100)
    reader.model.commit(1)
    for lives in (False, True):
        reader.journal.receive_stream(lives=lives)
    reader.model.commit(1)
    reader.journal.receive_page(page, 0.0, asked)
    assert (reader.bring(2), reader.read_in_s()) == ([], float("-inf"))
    assert reader.read() == [1, 2]


def test_nothing_leaves_by_itself_until_a_read_has_found_what_came_before_the_stream():
    """Ids may belong to another line of time, or a lossless stream may have begun late."""
    for lossless in (False, True):
        reader = Reader(lossless=lossless)
        reader.journal.receive_stream(lives=False)
        assert reader.read_in_s() == float("-inf")
        assert (reader.read(), reader.read_in_s()) == ([], POLL_EVERY_S)
        reader.model.commit(1)
        reader.journal.receive_stream(lives=True)
        assert reader.read_in_s() == float("-inf")
        assert (reader.bring(1), reader.read()) == ([], [1])
        reader.model.commit(1)
        assert reader.bring(2) == [2]


def test_a_row_that_is_not_in_sight_yet_stays_for_the_next_read():
    """A commit is sent before snapshots see it; soon, but not at once."""
    reader = Reader()
    early, late = reader.model.begin(), reader.model.begin()
    reader.model.write(early, 1)
    reader.model.write(late, 2)
    reader.model.send(early)
    reader.model.send(late)
    assert (reader.bring(2), reader.read()) == ([], [])
    assert reader.read_in_s() == pytest.approx(AGAIN_S)
    reader.model.end(late)
    reader.model.end(early)
    assert reader.read() == [1, 2]


def test_a_row_whose_transaction_has_not_come_into_sight_is_not_taken_for_deleted():
    """However often one looks: with a synchronous standby that takes as long as the standby does."""
    reader = Reader()
    slow = reader.model.begin()
    for _ in range(2):
        reader.model.write(slow, 1)
    reader.model.send(slow)
    assert (reader.bring(2), [reader.read() for _ in range(3)]) == ([], [[], [], []])
    reader.model.end(slow)
    assert reader.read() == [1, 2]


def test_a_row_of_a_stream_that_ends_is_not_taken_for_one_of_the_next_epoch():
    """What the old primary had sent arrives after the new one was read: its id is another row's by now."""
    reader = Reader()
    reader.model.commit(1, 2)
    sent = reader.model.wal
    reader.model = JournalModel()
    reader.model.epoch = "2"
    for _ in range(3):
        reader.model.commit()
    reader.journal.restart(Position(0), "2")
    reader.journal.receive_row(sent[1])
    reader.journal.receive_stream(lives=False)
    assert [reader.read() for _ in range(3)] == [[], [], []]
    reader.model.commit(1, 2)
    assert reader.read() == [1, 2]


def test_a_row_that_somebody_has_deleted_leaves_all_the_same():
    """It was committed, and nobody waits for what no read will find."""
    reader = Reader()
    reader.model.commit(1, 2)
    del reader.model.committed[2]
    assert reader.bring(2) == []
    assert reader.read() == [1, 2]
    assert reader.journal.waiting == 0


def test_a_cut_page_is_followed_at_once_by_the_next():
    """Holes beyond it are not taken for looked at."""
    reader = Reader()
    reader.model.commit(1, 2, 3)
    assert (reader.read(2), reader.read_in_s()) == ([1, 2], float("-inf"))
    assert (reader.read(2), reader.read_in_s()) == ([3], READ_EVERY_S)


def test_a_database_that_fails_at_once_is_not_asked_at_once_again():
    """Also where a row that was found has waited for the stream for long enough."""
    reader = Reader()
    reader.model.commit(1)
    assert (reader.read_once(), reader.read_in_s()) == ([], pytest.approx(ARRIVE_S))
    reader.clock.advance(ARRIVE_S)
    assert reader.fail() == []
    assert reader.read_in_s() == pytest.approx(POLL_EVERY_S)
    reader.clock.advance(POLL_EVERY_S)
    assert reader.read() == [1]


def test_a_failed_read_is_told_only_where_something_waits():
    """Once; while the stream brings what follows, nobody has to know."""
    reader = Reader()
    assert (reader.fail(), reader.read_in_s()) == ([], POLL_EVERY_S)
    reader.model.commit(1, 2, 3)
    assert reader.bring(1) == [1]
    assert reader.bring(3) == []
    assert reader.read_in_s() == POLL_EVERY_S
    assert (reader.fail(), reader.fail()) == ([Paused()], [])
    assert reader.bring(2) == []
    assert reader.read() == [Resumed(), 2, 3]


def test_no_more_rows_are_held_than_a_bound():
    """The stream keeps the rest, however long reads fail."""
    reader = Reader()
    reader.model.commit(*range(MAX_HELD + 1))
    reader.bring(*range(2, MAX_HELD + 1))
    assert not reader.journal.full
    reader.bring(MAX_HELD + 1)
    assert reader.journal.full
    assert reader.read_in_s(stream_waits=True) == float("-inf")
    assert reader.fail() == [Paused()]
    assert reader.read_in_s(stream_waits=True) == POLL_EVERY_S
    assert reader.read(10_000) == [Resumed(), *range(1, MAX_HELD + 2)]


def test_a_table_that_was_emptied_is_a_gap_and_the_rest_comes_again():
    """Once, whether stream or read brought it."""
    for by_stream in (True, False):
        reader = Reader()
        reader.model.commit(1)
        reader.model.commit(2, action="TRUNCATE")
        left = reader.bring(1, 2) if by_stream else reader.read()
        assert left == [1, Gap(reason="table_truncated", table="public.t", id=2)]
        assert reader.bring(2) == reader.read() == []


def test_a_change_that_cannot_be_read_is_a_gap():
    """It may be the end of a membership, in whose row somebody has put a value that nests too deep."""
    reader = Reader()
    reader.model.commit(1, action="DELETE")
    deep = '{"a":' + "[" * 2_000 + "]" * 2_000 + "}"
    reader.model.committed[1] = msgspec.structs.replace(reader.model.committed[1], old_record=deep)
    assert reader.read() == [Gap(reason="row_unreadable", table="public.t", id=1)]
    assert reader.read() == []


def test_another_epoch_is_a_gap():
    """What was held is forgotten; so it is told until somebody begins anew."""
    reader = Reader()
    reader.model.commit(1, 2)
    assert reader.bring(2) == []
    reader.model.epoch = "2"
    assert reader.read() == [Gap(reason="journal_restarted"), Live()]
    assert (reader.journal.waiting, reader.read_in_s()) == (0, POLL_EVERY_S)
    assert reader.read() == [Gap(reason="journal_restarted"), Live()]
    reader.journal.restart(Position(0), "2")
    assert (reader.read_in_s(), reader.read()) == (float("-inf"), [1, 2])


@pytest.mark.parametrize(("read_before", "gap"), [(2, True), (3, False), (4, False)])
def test_rows_that_were_pruned_unread_are_a_gap(read_before: int, gap: bool):  # noqa: FBT001
    """Those that were read are none."""
    reader = Reader()
    reader.model.commit(*range(read_before))
    reader.read()
    reader.model.commit(*range(4 - read_before), 9)
    reader.model.prune(3)
    assert (reader.read()[:1] == [Gap(reason="journal_pruned")]) == gap


def test_a_hole_that_was_filled_and_pruned_unread_is_a_gap():
    """Its reader is past what was pruned, but not with all before it; and what the same page fills is read."""
    for pruned in (2, 0):
        reader = Reader()
        slow = reader.model.begin()
        reader.model.write(slow, 1)
        reader.model.commit(2)
        assert reader.read() == [2]
        reader.model.send(slow)
        reader.model.end(slow)
        reader.model.prune(pruned)
        reader.model.pruned = 2
        assert reader.read() == ([Gap(reason="journal_pruned"), Live()] if pruned else [1])


def test_a_row_that_no_trigger_wrote_is_passed_over():
    """Nothing stops there, but its table is named."""
    reader = Reader()
    reader.journal.receive_stream(lives=False)
    bad = [
        JournalRow(1, "public.t", "UPSERT", "{}", None, ""),
        JournalRow(2, "public.t", "INSERT", "[]", None, ""),
        JournalRow(3, "public.t", "INSERT", "{", None, ""),
        JournalRow(4, "public.t", "INSERT", '{"a":1.10}', None, ""),
    ]
    reader.journal.receive_page(
        JournalPage("1", "9", "9", 0, more=False, rows=bad), 0.0, reader.journal.ask()
    )
    passed = [Gap(reason="row_unreadable", table="public.t", id=id_) for id_ in (1, 2, 3)]
    assert reader.take() == [*passed, 4]
    assert reader.journal.position.text() == "4"
