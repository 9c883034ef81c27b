"""Reading the journal by its protocol: nothing is missed and nothing comes twice, whatever runs at the same time."""

import json
import random
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import Connection, Database
from tests.support.journal import JournalReader
from tests.support.stack import migrate

INSERT = "insert into public.t (body) values (%s) returning id"


@pytest.fixture
def table(db: Connection) -> Connection:
    """A watched table."""
    db.execute("create table public.t (id int generated always as identity primary key, body text)")
    db.execute("select public.bridge_watch('public.t')")
    return db


def insert(connection: Connection, body: str) -> None:
    """Write a row that is told by its body."""
    connection.execute("insert into public.t (body) values (%s)", (body,))


def bodies(reader: JournalReader) -> list[str]:
    """Return what was read, in order."""
    return [row.new["body"] for row in reader.seen]


def test_the_answer_has_the_documented_form(table: Connection):
    """Rows are lists, records and transactions are texts, times are UTC to the millisecond."""
    table.execute("set timezone = 'Asia/Tokyo'")
    insert(table, "a")
    table.execute("update bridge.journal set recorded_at = '2026-01-02 03:04:05.678901+00'")
    (txid, oid) = (
        table.execute("select txid::text, 'public.t'::regclass::oid from bridge.journal").fetchone() or ()
    )
    page = JournalReader(table).page()
    assert set(page) == {"epoch", "xmin", "xmax", "pruned", "more", "rows"}
    assert page["rows"] == [
        [
            1,
            "public.t",
            "INSERT",
            '{"id": 1, "body": "a"}',
            None,
            "2026-01-02T03:04:05.678Z",
            txid,
            False,
            0,
            oid,
        ]
    ]
    assert (page["pruned"], page["more"]) == (0, False)
    assert 0 < int(page["xmin"]) <= int(page["xmax"])


def test_the_worker_reads_under_its_role(table: Connection):
    """service_role may call all that it takes, and sees the rows through RLS."""
    insert(table, "a")
    table.execute("set role service_role")
    reader = JournalReader(table)
    reader.read()
    assert bodies(reader) == ["a"]
    table.execute("begin transaction read only")  # as PostgREST calls a stable function
    assert reader.read() == []


@pytest.mark.parametrize("max_rows", [1, 2, 3, 7, 100])
def test_pages_hold_every_row_once_and_in_order(table: Connection, max_rows: int):
    """Rows after the position and rows in holes alike, however small the pages are."""
    for n in range(7):
        insert(table, str(n))
    table.execute("delete from bridge.journal where id in (2, 5)")
    reader = JournalReader(table, max_rows=max_rows)
    reader.holes = {2: 0, 3: 0, 4: 0}
    reader.after = 4
    reader.read()
    assert [row.id for row in reader.seen] == [3, 4, 6, 7] or max_rows < 3
    assert sorted(row.id for row in reader.seen) == [3, 4, 6, 7]


def test_a_page_is_cut_before_it_is_too_large_to_answer(table: Connection):
    """After 16 MB, and at least one row is in it."""
    for n in range(5):
        table.execute("insert into public.t (body) values (%s || repeat('x', 9000000))", (str(n),))
    page = JournalReader(table).page()
    assert (len(page["rows"]), page["more"]) == (2, True)
    reader = JournalReader(table)
    assert [body[0] for body in (row.new["body"] for row in reader.read())] == list("01234")


@pytest.mark.parametrize(
    "arguments", ["null", "0, null", "0, '[]', 0", "0, '[]', null", "-1, '[]', -5", "0, '[[\"x\", 1]]'"]
)
def test_bad_input_is_refused(db: Connection, arguments: str):
    """Rather than answered with nothing, which would mean that there is nothing."""
    with pytest.raises(psycopg.Error) as raised:
        db.execute(f"select public.bridge_journal_since({arguments})".encode())
    assert raised.value.sqlstate in ("22023", "22P02")


def test_the_epoch_changes_when_ids_may_come_again(table: Connection):
    """After a TRUNCATE of the journal, and when it was made anew."""
    reader = JournalReader(table)
    first = reader.page()["epoch"]
    insert(table, "a")
    table.execute("select public.bridge_prune_journal(0)")
    assert reader.page()["epoch"] == first
    table.execute("truncate bridge.journal")
    second = reader.page()["epoch"]
    table.execute("drop schema bridge cascade")
    migrate(table)
    assert len({first, second, reader.page()["epoch"]}) == 3


# Horizon


def test_a_smaller_id_that_is_committed_later_is_read(database: Database, table: Connection):
    """Ids are handed out before commit: the hole is kept until it is filled."""
    slow = database.connect(autocommit=False)
    insert(slow, "slow")
    insert(table, "quick")
    reader = JournalReader(table)
    reader.read()
    assert reader.read() == []
    assert list(reader.holes) == [1]
    slow.commit()
    reader.read()
    assert bodies(reader) == ["quick", "slow"]
    assert reader.holes == {}


def test_an_id_that_was_rolled_back_is_given_up(database: Database, table: Connection):
    """At the second look, also where nothing else happens in the database."""
    with table.transaction(force_rollback=True):
        insert(table, "never")
    insert(table, "a")
    reader = JournalReader(table)
    reader.read()
    assert list(reader.holes) == [1]
    reader.read()
    assert reader.holes == {}


def test_a_hole_stays_open_under_a_transaction_that_began_after_the_last_that_ended(
    database: Database, table: Connection
):
    """A snapshot's own xmax is one past what has ended: a younger transaction may have the missing id."""
    older, younger = database.connect(autocommit=False), database.connect(autocommit=False)
    older.execute("select pg_current_xact_id()")
    for _ in range(3):  # begun after it, and still running: what is missing may be far beyond
        database.connect(autocommit=False).execute("select pg_current_xact_id()")
    insert(younger, "younger")
    insert(older, "older")
    older.commit()
    reader = JournalReader(table)
    for _ in range(3):
        reader.read()
    assert (bodies(reader), list(reader.holes)) == (["older"], [1])
    younger.commit()
    reader.read()
    assert bodies(reader) == ["older", "younger"]


def test_parts_of_a_transaction_do_not_close_its_holes(database: Database, table: Connection):
    """A savepoint has a transaction id of its own, which ends before the transaction does."""
    slow = database.connect(autocommit=False)
    insert(slow, "a")
    with slow.transaction(force_rollback=True):
        insert(slow, "never")
    with slow.transaction():
        insert(slow, "b")
    insert(table, "quick")
    reader = JournalReader(table)
    for _ in range(3):
        reader.read()
    assert sorted(reader.holes) == [1, 2, 3]
    slow.commit()
    reader.read()
    assert bodies(reader) == ["quick", "a", "b"]


def _writes(random_: random.Random, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield statements of transactions without end; what is committed is noted by the caller."""
    number = 0
    while True:
        yield ("begin", ())
        for _ in range(random_.randint(1, 4)):
            match random_.choices(["insert", "savepoint", "back"], [6, 2, 2])[0]:
                case "insert":
                    number += 1
                    yield ("insert", (f"{name}{number}",))
                case "savepoint":
                    yield ("savepoint s", ())
                case _:
                    yield ("rollback to s", ())
        yield (random_.choice(["commit", "commit", "commit", "rollback"]), ())


class Writer:
    """Runs random transactions on a connection of its own, and knows what it has committed."""

    def __init__(self, connection: Connection, random_: random.Random, name: str) -> None:
        self._connection = connection
        self._statements = _writes(random_, name)
        self._pending: list[str] = []
        self._savepoints: list[int] = []
        self.committed: list[str] = []

    def step(self) -> str:
        """Run the next statement, and return it."""
        statement, parameters = next(self._statements)
        match statement:
            case "insert":
                self._connection.execute(INSERT, parameters)
                self._pending += parameters
            case "rollback to s":
                if not self._savepoints:
                    return statement
                self._connection.execute("rollback to s")
                del self._pending[self._savepoints[-1] :]
            case _:
                self._connection.execute(statement.encode())
                if statement == "savepoint s":
                    self._savepoints.append(len(self._pending))
        if statement in ("commit", "rollback"):
            self.committed += self._pending if statement == "commit" else []
            self._pending, self._savepoints = [], []
        return statement

    def finish(self) -> None:
        """Go on to the end of the transaction."""
        while self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.step()


@pytest.mark.parametrize("seed", range(12))
def test_every_committed_row_is_read_once_in_any_interleaving(
    database: Database, table: Connection, seed: int
):
    """Transactions that last for hundreds of statements of others, reads of all page sizes, pruning in between."""
    random_ = random.Random(seed)
    writers = [Writer(database.connect(), random_, name) for name in "abcdef"]
    weights = [1, 1, 5, 5, 20, 20]  # the first take as long as thirty of the last
    reader = JournalReader(database.connect(), max_rows=random_.choice([1, 3, 10_000]))
    for _ in range(500):
        random_.choices(writers, weights)[0].step()
        if random_.random() < 0.2:
            reader.read()
        if random_.random() < 0.05:
            reader.read()
            reader.read()
            # Nobody else writes now: what is in the table is read, and what is open must not be pruned.
            table.execute("select public.bridge_prune_journal(0)")
    for writer in writers:
        writer.finish()
    reader.read()
    committed = [body for writer in writers for body in writer.committed]
    assert len(committed) > 50
    assert sorted(bodies(reader)) == sorted(committed)
    reader.read()
    assert reader.holes == {}


def test_every_committed_row_is_read_once_while_all_write_at_once(database: Database, table: Connection):
    """Real concurrency: six writers, a reader that never rests, and pruning behind it."""
    stop = threading.Event()
    failures: list[BaseException] = []
    random_ = random.Random(0)
    writers = [Writer(database.connect(), random.Random(n), name) for n, name in enumerate("abcdef")]

    def write(writer: Writer, transactions: int) -> None:
        try:
            for _ in range(transactions):
                while writer.step() not in ("commit", "rollback"):
                    pass
        except BaseException as error:  # noqa: BLE001 - told by the test below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(writer, 150)) for writer in writers]
    reader = JournalReader(database.connect(), max_rows=50)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reader.read()
        if random_.random() < 0.1:
            table.execute("select public.bridge_prune_journal(1)")
    stop.set()
    for thread in threads:
        thread.join()
    reader.read()
    assert failures == []
    committed = [body for writer in writers for body in writer.committed]
    assert len(committed) > 500
    read = bodies(reader)
    assert len(read) == len(set(read))
    assert set(read) <= set(committed)
    # A reader that was held up for a second may find that rows are gone: it is told so, never left without a word.
    assert set(read) == set(committed) or reader.gaps > 0


def test_a_reader_finds_its_rows_beside_many_holes(table: Connection):
    """Holes of a thousand rolled-back inserts, asked for as ranges."""
    for n in range(3):
        insert(table, str(n))
        with table.transaction(force_rollback=True):
            table.execute("insert into public.t (body) select 'never' from generate_series(1, 1000)")
    insert(table, "last")
    (text,) = table.execute(  # type: ignore[misc]
        "select public.bridge_journal_since(3004, '[[2, 1001], [1003, 2002], [2004, 3003]]')"
    ).fetchone()
    assert json.loads(text)["rows"] == []
    reader = JournalReader(table)
    reader.read()
    assert bodies(reader) == ["0", "1", "2", "last"]
    reader.read()
    assert reader.holes == {}


def test_holes_beyond_the_position_do_not_tell_a_row_twice(table: Connection):
    """A range that reaches past `after` ends there."""
    for n in range(3):
        insert(table, str(n))
    (text,) = table.execute("select public.bridge_journal_since(2, '[[1, 9]]')").fetchone()  # type: ignore[misc]
    rows: list[list[Any]] = json.loads(text)["rows"]
    assert [row[0] for row in rows] == [1, 2, 3]


def test_a_hole_costs_a_look_into_the_index(table: Connection):
    """However long the journal is: a worker that starts has hundreds of holes, and reads them with each page."""
    table.execute("insert into public.t (body) select 'x' from generate_series(1, 5000)")
    table.execute("delete from bridge.journal where id % 20 = 0")
    holes = [[id_, id_] for id_ in range(20, 4980, 20)]
    fetched = "select idx_tup_fetch from pg_stat_xact_all_tables where relid = 'bridge.journal'::regclass"
    with table.transaction():
        before = table.execute(fetched.encode()).fetchone()
        table.execute("select public.bridge_journal_since(4990, %s, 2000)", (json.dumps(holes),))
        after = table.execute(fetched.encode()).fetchone()
    assert before is not None
    assert after is not None
    assert after[0] - (before[0] or 0) < 100
