"""How the journal stays bounded: what is pruned, what holds it back, and how a reader learns of it."""

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Connection, Database
from tests.support.journal import JournalReader
from tests.support.stack import MIGRATIONS, migrate

JOURNAL = next(path for path in MIGRATIONS if path.name.endswith("journal.sql"))

HOUR_S = 3600


@pytest.fixture
def table(db: Connection) -> Connection:
    """A watched table."""
    db.execute("create table public.t (id int primary key)")
    db.execute("select public.bridge_watch('public.t')")
    return db


def insert(connection: Connection, first: int, last: int | None = None) -> None:
    """Write rows whose journal ids are the same as theirs, as long as nothing else was written."""
    connection.execute(
        "insert into public.t select generate_series(%s::int, %s::int)", (first, last or first)
    )


def age(db: Connection, up_to: int, seconds: float) -> None:
    """Have the rows up to an id recorded so long ago."""
    db.execute(
        "update bridge.journal set recorded_at = clock_timestamp() - make_interval(secs => %s) where id <= %s",
        (seconds, up_to),
    )


def before(db: Connection, age_s: float) -> int:
    """Ask for the id after which everything of the last seconds stands."""
    (id_,) = db.execute("select public.bridge_journal_before(%s)", (age_s,)).fetchone()  # type: ignore[misc]
    return int(id_)


def prune(db: Connection, keep_s: float = 0) -> int:
    """Prune, and return how many rows are gone."""
    (removed,) = db.execute("select public.bridge_prune_journal(%s)", (keep_s,)).fetchone()  # type: ignore[misc]
    return int(removed)


def ids(db: Connection) -> list[int]:
    """Return the ids that are there."""
    return [row[0] for row in db.execute("select id from bridge.journal order by id")]


def pruned(db: Connection) -> int:
    """Return the largest id that is said to be gone."""
    (id_,) = db.execute("select id from bridge.journal_pruned").fetchone()  # type: ignore[misc]
    return int(id_)


# From when on


def test_what_was_committed_in_the_last_seconds_stands_after_the_id(table: Connection):
    """With two minutes more for transactions that took long."""
    insert(table, 1, 9)
    age(table, 6, 200)
    age(table, 3, HOUR_S)
    assert [before(table, age_s) for age_s in (0, 60, 100, HOUR_S - 130, HOUR_S)] == [6, 6, 3, 3, 0]


def test_an_empty_journal_begins_where_it_was_pruned(table: Connection):
    """At 0, or at the last id that is gone."""
    assert before(table, 300) == 0
    insert(table, 1, 4)
    assert prune(table) == 4
    assert before(table, 300) == 4


@pytest.mark.parametrize("seed", range(5))
def test_halving_finds_what_a_scan_would(table: Connection, seed: int):
    """Over ids with gaps of any size, at the beginning, in between and at the end."""
    random_ = random.Random(seed)
    chosen = sorted(random_.sample(range(1, random_.choice([70, 5000, 10**12])), 60))
    ages_s = sorted((random_.uniform(130, 10_000) for _ in chosen), reverse=True)
    table.cursor().executemany(
        "insert into bridge.journal (id, relation, action, recorded_at) overriding system value "
        "values (%s, 'public.t', 'TRUNCATE', clock_timestamp() - make_interval(secs => %s))",
        list(zip(chosen, ages_s, strict=True)),
    )
    for _ in range(50):
        age_s = random_.uniform(0, 11_000)
        old = [id_ for id_, its_s in zip(chosen, ages_s, strict=True) if its_s > age_s + 120]
        found = before(table, age_s)
        assert found == (old[-1] if old else 0) or min(abs(age_s + 120 - its_s) for its_s in ages_s) < 1


def test_the_search_reads_a_few_rows_of_many(table: Connection):
    """Not the journal from its beginning."""
    table.execute(
        "insert into bridge.journal (relation, action, recorded_at) "
        "select 'public.t', 'TRUNCATE', clock_timestamp() - make_interval(secs => 100000 - g) from generate_series(1, 90000) g"
    )
    table.execute("vacuum analyze bridge.journal")
    table.execute("select pg_stat_force_next_flush()")
    reads = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'journal'"
    (already,) = table.execute(reads).fetchone()  # type: ignore[misc]
    assert 80_000 < before(table, 19_000) < 90_000
    table.execute("select pg_stat_force_next_flush()")
    (then,) = table.execute(reads).fetchone()  # type: ignore[misc]
    assert then - already < 60


def test_what_is_not_committed_yet_is_after_the_id(database: Database, table: Connection):
    """However long ago it was recorded: a reader that begins there finds it when it is committed."""
    insert(table, 1)
    slow = database.connect(autocommit=False)
    insert(slow, 2)
    insert(table, 3, 5)
    # As if all of it was long ago: what is recorded within the next hour stands after the last id.
    ask = "select bridge.journal_horizon(clock_timestamp() + interval '1 hour')"
    assert table.execute(ask).fetchone() == (1,)
    reader = JournalReader(table, after=1)
    reader.read()
    slow.commit()
    reader.read()
    assert [row.id for row in reader.seen] == [3, 4, 5, 2]
    assert table.execute(ask).fetchone() == (5,)


def test_the_transactions_of_the_moment_count(database: Database, table: Connection):
    """Also when the caller's transaction has looked at them before."""
    insert(table, 1)
    table.execute("begin")
    table.execute("select count(*) from pg_stat_activity")
    slow = database.connect(autocommit=False)
    insert(slow, 2)
    assert prune(table) == 1
    insert(table, 3)
    assert prune(table) == 0
    table.execute("rollback")


# Pruning


def test_only_what_is_older_is_pruned(table: Connection):
    """A prefix of the ids; the last of them is written down."""
    insert(table, 1, 9)
    age(table, 4, 100)
    assert (prune(table, 200), pruned(table)) == (0, 0)
    assert (prune(table, 50), pruned(table)) == (4, 4)
    assert ids(table) == [5, 6, 7, 8, 9]
    assert prune(table, 50) == 0
    assert (prune(table), pruned(table), ids(table)) == (5, 9, [])
    assert prune(table) == 0


def test_a_day_is_kept_unless_told_otherwise(table: Connection):
    """The default of pg_cron's job and of the worker."""
    insert(table, 1, 2)
    age(table, 2, 23 * HOUR_S)
    age(table, 1, 25 * HOUR_S)
    table.execute("select public.bridge_prune_journal()")
    assert ids(table) == [2]


@pytest.mark.parametrize("function", ["bridge_prune_journal", "bridge_journal_before"])
@pytest.mark.parametrize("seconds", ["null", "-1", "'nan'", "'infinity'"])
def test_no_time_at_all_is_refused(db: Connection, function: str, seconds: str):
    """With advice."""
    with pytest.raises(psycopg.errors.InvalidParameterValue) as raised:
        db.execute(f"select public.{function}({seconds})".encode())
    assert raised.value.diag.message_hint


def test_a_running_transaction_keeps_what_was_recorded_since_it_began(database: Database, table: Connection):
    """So that nothing is pruned at or after an id that may yet be committed."""
    insert(table, 1)
    slow = database.connect(autocommit=False)
    insert(slow, 2)
    insert(table, 3)
    assert (prune(table), pruned(table)) == (1, 1)
    reader = JournalReader(table, after=1)
    reader.read()
    slow.commit()
    reader.read()
    assert ([row.id for row in reader.seen], reader.gaps) == ([3, 2], 0)
    assert (prune(table), pruned(table)) == (2, 3)


def test_a_reader_that_was_asleep_is_told_that_rows_are_gone(table: Connection):
    """`pruned` is beyond what it has, and the rest comes all the same."""
    insert(table, 1, 3)
    reader = JournalReader(table)
    reader.read()
    insert(table, 4, 6)
    prune(table)
    insert(table, 7)
    reader.read()
    assert ([row.id for row in reader.seen], reader.gaps) == ([1, 2, 3, 7], 1)
    reader.read()
    assert reader.gaps == 1


def test_a_hole_that_was_filled_and_pruned_unread_is_told(database: Database, table: Connection):
    """Its reader is past `pruned`, but not with all that is before it."""
    slow = database.connect(autocommit=False)
    insert(slow, 1)
    insert(table, 2)
    reader = JournalReader(table)
    reader.read()
    slow.commit()
    assert prune(table) == 2
    insert(table, 3)
    reader.read()
    assert ([row.id for row in reader.seen], reader.gaps) == ([2, 3], 1)


def test_a_row_that_comes_after_later_ids_were_pruned_goes_with_the_next(table: Connection):
    """It has an id that counts as gone; where a transaction's beginning cannot be known, it may happen."""
    insert(table, 1, 3)
    prune(table)
    table.execute(
        "insert into bridge.journal (id, relation, action) overriding system value values (2, 'public.t', 'TRUNCATE')"
    )
    reader = JournalReader(table, after=3)
    reader.holes = {2: 10**9}
    reader.read()
    assert [row.id for row in reader.seen] == [2]
    assert (prune(table), ids(table), pruned(table)) == (1, [], 3)


def test_a_backlog_goes_in_parts(table: Connection):
    """At most 20,000 rows at once, or a tenth: Realtime reads them all, and delays what is new meanwhile."""
    table.execute(
        "insert into bridge.journal (relation, action) select 'public.t', 'TRUNCATE' from generate_series(1, 45000)"
    )
    assert prune(table) == 20_001
    assert pruned(table) == 20_001
    assert prune(table) == 20_001
    assert prune(table) == 4_998
    table.execute(
        "insert into bridge.journal (id, relation, action) overriding system value "
        "select 1000000 + g * 10, 'public.t', 'TRUNCATE' from generate_series(1, 300) g"
    )
    table.execute(
        "insert into bridge.journal (id, relation, action) overriding system value values (2000000, 'public.t', 'TRUNCATE')"
    )
    assert prune(table) == 300  # ids stand for rows: gaps are passed in large steps
    assert prune(table) == 1


def test_two_do_not_prune_at_once(database: Database, table: Connection):
    """The second leaves it to the first, and does not wait."""
    insert(table, 1, 3)
    other = database.connect(autocommit=False)
    other.execute("select id from bridge.journal_pruned for update")
    table.execute("set lock_timeout = '1s'")
    assert prune(table) == 0
    other.rollback()
    assert prune(table) == 3


def test_the_worker_prunes_under_its_role(table: Connection):
    """It may delete by age only."""
    insert(table, 1, 3)
    table.execute("set role service_role")
    assert (before(table, 0), prune(table)) == (0, 3)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        table.execute("delete from bridge.journal")


# Schedule

CRON = """
create schema cron;
create table cron.job (jobid bigint generated always as identity, schedule text, command text, jobname {type} unique);
create function cron.schedule(job_name {type}, schedule text, command text) returns bigint language sql as $$
    insert into cron.job (schedule, command, jobname) values ($2, $3, $1)
    on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command
    returning jobid
$$;
create function cron.schedule(schedule text, command text) returns bigint language sql as 'select 0::bigint';
create function cron.unschedule(job_name {type}) returns boolean language plpgsql as $$ begin
    delete from cron.job where jobname = $1;
    if not found then
        raise 'could not find valid entry for job ''%''', $1;
    end if;
    return true;
end $$;
create function cron.unschedule(job_id bigint) returns boolean language sql as 'select false';
"""
"""What pg_cron has of it; the names of jobs are text since 1.5, and were of type name."""


def notices_of(db: Connection, act: Callable[[], Any]) -> list[str]:
    """Return what the server says while ``act`` runs."""
    said: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    db.add_notice_handler(note)
    act()
    db.remove_notice_handler(note)
    return said


def jobs(db: Connection) -> list[tuple[Any, ...]]:
    """Return what pg_cron would run."""
    return db.execute("select jobname::text, schedule, command from cron.job").fetchall()


def test_without_pg_cron_the_worker_prunes(db: Connection):
    """The file says so, and applies."""
    said = notices_of(db, lambda: migrate(db))
    assert "there is no pg_cron: the worker prunes the journal" in said


@pytest.mark.parametrize("type_", ["text", "name"])
def test_pg_cron_prunes_where_it_is_there(db: Connection, type_: str):
    """One job, whatever pg_cron's version is; the undo takes it away."""
    db.execute(CRON.format(type=type_).encode())
    for _ in range(2):
        migrate(db)
        assert jobs(db) == [("bridge_prune_journal", "* * * * *", "select public.bridge_prune_journal()")]
    db.execute((JOURNAL.parent.parent / "undo" / JOURNAL.name).read_bytes())
    assert jobs(db) == []


def test_the_scheduled_command_prunes(db: Connection):
    """It is a statement that runs by itself."""
    db.execute(CRON.format(type="text").encode())
    migrate(db)
    db.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
    age(db, 1, 25 * HOUR_S)
    for _, _, command in jobs(db):
        db.execute(command.encode())
    assert ids(db) == []


def test_a_schedule_of_ones_own_is_kept(db: Connection):
    """Somebody keeps rows for a week: applying the file again leaves that."""
    db.execute(CRON.format(type="text").encode())
    own = ("bridge_prune_journal", "*/5 * * * *", "select public.bridge_prune_journal(604800)")
    db.execute("select cron.schedule(%s, %s, %s)", own)
    assert "the journal is pruned by pg_cron already" in notices_of(db, lambda: migrate(db))
    assert jobs(db) == [own]


def test_pg_cron_that_may_not_be_used_hinders_nothing(db: Connection, postgres: EmbeddedPostgres):
    """The file applies, with a warning that says what to do."""
    db.execute(CRON.format(type="text").encode())
    db.execute("create or replace function cron.schedule(job_name text, schedule text, command text) returns bigint "
               "language plpgsql as $$ begin raise insufficient_privilege; end $$")  # fmt: skip
    said = notices_of(db, lambda: migrate(db))
    assert any("pg_cron may not be used" in line for line in said)
