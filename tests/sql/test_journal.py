"""What the journal records: of which tables, in which form and order, and who may do what with it."""

import json
import subprocess
from typing import Any

import psycopg
import pytest

from bridge.authorization.catalog import Table, decode_catalog
from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Actors, Connection, Database
from tests.support.stack import MIGRATIONS, migrate

JOURNAL = next(path for path in MIGRATIONS if path.name.endswith("journal.sql")).read_bytes()


def watch(db: Connection, definition: str, name: str = "public.t") -> None:
    """Make a table and journal it."""
    db.execute(f"create table {name} ({definition})".encode())
    db.execute("select public.bridge_watch(%s)", (name,))


def recorded(db: Connection) -> list[tuple[str, str, Any, Any]]:
    """Return (relation, action, new, old) of all rows, in order of their ids."""
    return [
        (relation, action, record and json.loads(record), old and json.loads(old))
        for relation, action, record, old in db.execute(
            "select relation, action, record, old_record from bridge.journal order by id"
        )
    ]


def actions(db: Connection) -> list[str]:
    """Return ``action relation`` of all rows."""
    return [f"{action} {relation}" for relation, action, _, _ in recorded(db)]


def oids(db: Connection) -> list[int]:
    """Return which table each row is of."""
    return [oid for (oid,) in db.execute("select relation_oid from bridge.journal order by id")]


def told(db: Connection, sql: str, *parameters: object) -> Any:
    """Return the one value that ``sql`` answers."""
    row = db.execute(sql.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def in_catalog(db: Connection, name: str) -> Table:
    """Return a table as the worker is told of it."""
    return decode_catalog(told(db, "select public.bridge_catalog()")).by_name[name]


# What is recorded


def test_each_action_has_the_whole_rows(db: Connection):
    """New row, old row or both; whatever the replica identity is."""
    watch(db, "id int primary key, body text")
    db.execute("insert into public.t values (1, 'a')")
    db.execute("update public.t set body = 'b'")
    db.execute("delete from public.t")
    db.execute("truncate public.t")
    a, b = {"id": 1, "body": "a"}, {"id": 1, "body": "b"}
    assert recorded(db) == [
        ("public.t", "INSERT", a, None),
        ("public.t", "UPDATE", b, a),
        ("public.t", "DELETE", None, b),
        ("public.t", "TRUNCATE", None, None),
    ]


def test_the_reference_tables_are_watched_from_the_start(db: Connection):
    """Dialogs, participants and messages, and the journal is published for it."""
    names = [row[0] for row in db.execute("select name from public.bridge_watched()")]
    assert names == ["public.dialog_participants", "public.dialogs", "public.messages"]
    published = db.execute(
        "select 1 from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'bridge'"
    ).fetchall()
    assert len(published) == 1


def test_bulk_loads_are_recorded_row_by_row(db: Connection):
    """COPY and statements of many rows, in the order of the rows."""
    watch(db, "id int primary key")
    with db.cursor().copy("copy public.t from stdin") as copy:
        copy.write("3\n1\n2\n")
    db.execute("insert into public.t select g from generate_series(9, 5, -1) as g")
    assert [new["id"] for _, _, new, _ in recorded(db)] == [3, 1, 2, 9, 8, 7, 6, 5]


def test_an_upsert_is_recorded_as_what_it_did(db: Connection):
    """INSERT or UPDATE, or nothing."""
    watch(db, "id int primary key, n int")
    db.execute("insert into public.t values (1, 1)")
    upsert = "insert into public.t values (1, 2), (2, 2) on conflict (id) do"
    db.execute(f"{upsert} update set n = excluded.n".encode())
    db.execute(f"{upsert} nothing".encode())
    db.execute("merge into public.t using (values (2), (3)) as v (id) on t.id = v.id "
               "when matched then delete when not matched then insert values (v.id, 0)")  # fmt: skip
    assert actions(db) == [
        "INSERT public.t",
        "UPDATE public.t",
        "INSERT public.t",
        "DELETE public.t",
        "INSERT public.t",
    ]


def test_a_changed_key_is_one_update_with_both_keys(db: Connection):
    """Not a delete and an insert."""
    watch(db, "id int primary key")
    db.execute("insert into public.t values (1)")
    db.execute("update public.t set id = 2")
    assert recorded(db)[-1] == ("public.t", "UPDATE", {"id": 2}, {"id": 1})


def test_what_is_rolled_back_leaves_no_row(db: Connection):
    """A transaction, and a part of one behind a savepoint."""
    watch(db, "id int primary key")
    with db.transaction():
        db.execute("insert into public.t values (1)")
        with db.transaction(force_rollback=True):
            db.execute("insert into public.t values (2)")
        db.execute("insert into public.t values (3)")
    with db.transaction(force_rollback=True):
        db.execute("insert into public.t values (4)")
    assert [new["id"] for _, _, new, _ in recorded(db)] == [1, 3]
    assert told(db, "select count(distinct txid) from bridge.journal") == 1


def test_what_replication_writes_is_recorded(db: Connection):
    """Under session_replication_role = replica ordinary triggers are off, and Realtime tells these changes too."""
    watch(db, "id int primary key")
    db.execute("set session_replication_role = replica")
    db.execute("insert into public.t values (1)")
    db.execute("truncate public.t")
    assert actions(db) == ["INSERT public.t", "TRUNCATE public.t"]


EVERY_TYPE = """
    id int primary key default 1, at timestamptz default '2026-01-02 03:04:05.678901+00', day date default '2026-01-02',
    span interval default '1 year 2 days 03:04:05', bytes bytea default '\\xdeadbeef', f4 real default 0.1,
    f8 double precision default 1e-7::float8 + 0.3, during tstzrange default '[2026-01-02 00:00+00,2026-01-03 00:00+00)',
    days daterange default '[2026-01-02,2026-02-01)', spans interval[] default '{1 day,02:00:00}',
    amount numeric default 12345678901234567890.10, big bigint default 9007199254740993, about regclass default 'pg_class'
"""


@pytest.mark.parametrize(
    "setting",
    [
        "timezone = 'America/New_York'",
        "datestyle = 'German'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "extra_float_digits = -3",
        "search_path = 'pg_catalog, public'",
    ],
)
def test_the_text_does_not_depend_on_who_writes(db: Connection, setting: str):
    """Every reader gets the form that bridge_rows() has in a default session."""
    watch(db, EVERY_TYPE)
    db.execute(f"set {setting}".encode())
    db.execute("insert into public.t default values")
    db.execute("reset all")
    text = told(db, "select record from bridge.journal")
    assert f"[{text}]" == told(db, "select public.bridge_rows('public.t')")
    assert '"amount": 12345678901234567890.10' in text
    assert told(db, "show timezone") == "UTC"


def test_who_may_write_a_row_runs_nothing_as_the_owner(db: Connection):
    """Types are looked for in a session's own schema first, unless that is named: one called text has checks."""
    watch(db, "id int primary key")
    db.execute("grant insert on public.t to authenticated; create table public.ran (by_whom name)")
    db.execute("grant insert on public.ran to authenticated; set role authenticated")
    db.execute(
        "create function pg_temp.note(pg_catalog.text) returns bool language plpgsql as "
        "$$ begin insert into public.ran values (current_user); return true; end $$"
    )
    db.execute("create domain pg_temp.text as pg_catalog.text check (pg_temp.note(value::pg_catalog.text))")
    db.execute("insert into public.t values (1)")
    db.execute("reset role")
    assert told(db, "select count(*) from bridge.journal") == 1
    assert told(db, "select count(*) from public.ran") == 0


def test_all_that_runs_as_its_owner_looks_into_pg_temp_last(db: Connection):
    """But for functions of plain SQL, which name no types."""
    unsafe = db.execute(
        "select oid::regprocedure::text from pg_proc where prosecdef and proname ~ '^(bridge_|record_change|journal_)' "
        "and not 'search_path=pg_catalog, pg_temp' = any(proconfig)"
    ).fetchall()
    assert unsafe == []


def test_the_writers_own_settings_stay_as_they_are(db: Connection):
    """Also within the transaction."""
    watch(db, "id int primary key")
    with db.transaction():
        db.execute("set local timezone = 'Asia/Tokyo'")
        db.execute("insert into public.t values (1)")
        assert told(db, "show timezone") == "Asia/Tokyo"


def test_columns_of_any_name(db: Connection):
    """Those that the trigger function uses itself, and those that need quotes."""
    names = [
        "id",
        "record",
        "old_record",
        "relation",
        "action",
        "new",
        "old",
        "tg_op",
        "whole",
        "Odd Name",
        "txid",
    ]
    watch(db, ", ".join(f'"{name}" int {"primary key" * (name == "id")}' for name in names))
    db.execute("insert into public.t values (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)")
    db.execute("update public.t set id = 0")
    row = dict(zip(names, range(1, 12), strict=True))
    assert recorded(db) == [("public.t", "INSERT", row, None), ("public.t", "UPDATE", row | {"id": 0}, row)]


def test_columns_may_come_and_go(db: Connection):
    """Dropped ones are not told, new and generated ones are."""
    watch(db, "id int primary key, gone text, body text, loud text generated always as (upper(body)) stored")
    db.execute("insert into public.t values (1, 'x', 'a')")
    db.execute("alter table public.t drop column gone, add column late int default 7")
    db.execute("update public.t set body = 'b'")
    assert recorded(db)[-1] == (
        "public.t",
        "UPDATE",
        {"id": 1, "body": "b", "loud": "B", "late": 7},
        {"id": 1, "body": "a", "loud": "A", "late": 7},
    )


def test_large_values_are_told_whole_when_they_did_not_change(db: Connection):
    """An update leaves what is stored out of line alone; upstream leaves it out."""
    watch(db, "id int primary key, body text, n int")
    db.execute(
        "insert into public.t select 1, string_agg(md5(g::text), ''), 1 from generate_series(1, 1000) as g"
    )
    db.execute("update public.t set n = 2")
    _, _, new, old = recorded(db)[-1]
    assert len(new["body"]) == len(old["body"]) == 32_000


# Names


def test_a_renamed_table_is_recorded_under_its_new_name(db: Connection):
    """The name is that of the moment, also after a move to another schema."""
    watch(db, "id int primary key")
    db.execute("insert into public.t values (1)")
    db.execute("alter table public.t rename to u")
    db.execute("insert into public.u values (2)")
    db.execute("create schema other")
    db.execute("alter table public.u set schema other")
    db.execute("truncate other.u")
    assert actions(db) == ["INSERT public.t", "INSERT public.u", "TRUNCATE other.u"]
    assert set(oids(db)) == {in_catalog(db, "other.u").oid}


def test_names_that_are_two_tables_are_told_apart(db: Connection):
    """One that was given to another table, and one that is written like another's without quotes."""
    watch(db, "id int primary key")
    watch(db, "id int primary key", "public.u")
    db.execute("insert into public.t values (1)")
    db.execute("alter table public.t rename to v; alter table public.u rename to t")
    db.execute("insert into public.t values (1)")
    assert actions(db) == ["INSERT public.t", "INSERT public.t"]
    assert oids(db) == [in_catalog(db, "public.v").oid, in_catalog(db, "public.t").oid]

    db.execute('create schema a; create schema "a.b"; truncate bridge.journal')
    for name in ('a."b.c"', '"a.b".c'):
        watch(db, "id int primary key", name)
        db.execute(f"insert into {name} values (1)".encode())
    assert actions(db) == ["INSERT a.b.c", "INSERT a.b.c"]
    first, second = oids(db)
    assert first == in_catalog(db, "a.b.c").oid != second


def test_a_name_in_mixed_case_has_two_forms(db: Connection):
    """Without quotes as the journal and the catalog have it, with quotes as SQL takes it."""
    watch(db, '"Id" int primary key', 'public."Chat Room"')
    db.execute('insert into public."Chat Room" values (1)')
    assert actions(db) == ["INSERT public.Chat Room"]
    assert in_catalog(db, "public.Chat Room").journalled
    watched = db.execute("select name, quoted from public.bridge_watched()").fetchall()
    assert ("public.Chat Room", 'public."Chat Room"') in watched
    for _, quoted in watched:
        db.execute("select public.bridge_unwatch(%s)", (quoted,))
    assert db.execute("select name from public.bridge_watched()").fetchall() == []


# Order


def test_a_cascade_is_recorded_after_what_it_follows_from(db: Connection):
    """The parent's delete, then the children's, as upstream has them."""
    watch(db, "id int primary key", "public.parent")
    watch(db, "id int primary key, parent int references public.parent on delete cascade", "public.child")
    db.execute("insert into public.parent values (1)")
    db.execute("insert into public.child values (1, 1), (2, 1)")
    db.execute("truncate bridge.journal")
    db.execute("delete from public.parent")
    assert actions(db) == ["DELETE public.parent", "DELETE public.child", "DELETE public.child"]


def test_a_key_that_cascades_into_its_own_row_comes_second(db: Connection):
    """The last row that is recorded is the row as it is."""
    watch(db, "id int primary key, above int references public.t on update cascade")
    db.execute("insert into public.t values (1, 1)")
    db.execute("update public.t set id = 2")
    assert [new for _, _, new, _ in recorded(db)][1:] == [{"id": 2, "above": 1}, {"id": 2, "above": 2}]


@pytest.mark.parametrize("name", ["aaa", "zzz", "0", '"A"'])
def test_a_trigger_that_writes_the_row_again_comes_second(db: Connection, name: str):
    """Whatever its name is, the insert is recorded before the update that follows from it."""
    watch(db, "id int primary key, n int")
    db.execute("create function public.again() returns trigger language plpgsql as "
               "'begin update public.t set n = 1 where id = new.id; return null; end'")  # fmt: skip
    db.execute(
        f'create trigger "{name.strip(chr(34))}" after insert on public.t for each row execute function public.again()'.encode()
    )
    db.execute("insert into public.t values (1, 0)")
    assert recorded(db) == [
        ("public.t", "INSERT", {"id": 1, "n": 0}, None),
        ("public.t", "UPDATE", {"id": 1, "n": 1}, {"id": 1, "n": 0}),
    ]


def test_truncate_tells_each_table_that_it_empties(db: Connection):
    """Also those that it takes along."""
    watch(db, "id int primary key", "public.parent")
    watch(db, "id int primary key references public.parent", "public.child")
    db.execute("truncate public.parent cascade")
    assert sorted(actions(db)) == ["TRUNCATE public.child", "TRUNCATE public.parent"]


# Partitions


@pytest.fixture
def logs(db: Connection) -> Connection:
    """A watched table of two partitions, the second of which was added later."""
    db.execute("create table public.logs (id int primary key) partition by range (id)")
    db.execute("create table public.logs_1 partition of public.logs for values from (0) to (10)")
    assert told(db, "select public.bridge_watch('public.logs')") == "public.logs is watched"
    db.execute("create table public.logs_2 partition of public.logs for values from (10) to (20)")
    return db


def test_partitions_are_recorded_as_the_table_that_is_watched(logs: Connection):
    """Also one that came later, and under the name that the table has by then."""
    logs.execute("insert into public.logs values (1), (11)")
    logs.execute("alter table public.logs rename to records")
    logs.execute("set session_replication_role = replica")
    logs.execute("insert into public.logs_2 values (12)")
    logs.execute("truncate public.logs_1")
    assert actions(logs) == [
        "INSERT public.logs",
        "INSERT public.logs",
        "INSERT public.records",
        "TRUNCATE public.records",
    ]
    assert set(oids(logs)) == {in_catalog(logs, "public.records").oid}


def test_a_row_that_moves_to_another_partition_leaves_and_comes(logs: Connection):
    """DELETE, then INSERT, with whole rows."""
    logs.execute("insert into public.logs values (1)")
    logs.execute("update public.logs set id = 11")
    assert recorded(logs)[1:] == [
        ("public.logs", "DELETE", None, {"id": 1}),
        ("public.logs", "INSERT", {"id": 11}, None),
    ]


def test_a_detached_partition_is_not_watched_any_more(logs: Connection):
    """What is left of its trigger hinders nobody."""
    logs.execute("alter table public.logs detach partition public.logs_1")
    logs.execute("insert into public.logs_1 values (1)")
    logs.execute("truncate public.logs_1")
    assert actions(logs) == ["TRUNCATE public.logs_1"]
    assert oids(logs) == [in_catalog(logs, "public.logs_1").oid]
    logs.execute("select public.bridge_unwatch('public.logs_1')")
    logs.execute("truncate public.logs_1")
    assert actions(logs) == ["TRUNCATE public.logs_1"]


def test_watching_a_partitioned_table_again_takes_in_new_partitions(logs: Connection):
    """For their TRUNCATE, which Postgres has no copied trigger for."""
    logs.execute("truncate public.logs_2")
    assert actions(logs) == []
    assert told(logs, "select public.bridge_watch('public.logs')") == "public.logs is watched"
    assert told(logs, "select public.bridge_watch('public.logs')") == "public.logs is watched already"
    logs.execute("truncate public.logs_2")
    assert actions(logs) == ["TRUNCATE public.logs"]


def test_the_whole_and_a_part_are_not_watched_both(logs: Connection):
    """A row would be recorded twice; each refusal says what to do."""
    answer = told(logs, "select public.bridge_watch('public.logs_1')")
    assert answer == "public.logs_1 is watched already, as a part of public.logs"
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="is watched as a partition"):
        logs.execute("select public.bridge_unwatch('public.logs_1')")
    logs.execute("select public.bridge_unwatch('public.logs')")
    logs.execute("select public.bridge_watch('public.logs_1')")
    logs.execute("insert into public.logs values (1), (11)")
    assert recorded(logs) == [("public.logs_1", "INSERT", {"id": 1}, None)]
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="watched by itself") as raised:
        logs.execute("select public.bridge_watch('public.logs')")
    assert (
        raised.value.diag.message_hint
        == "select public.bridge_unwatch('public.logs_1'), then watch the whole."
    )


def test_unwatching_a_partitioned_table_leaves_no_trigger(logs: Connection):
    """Not on its partitions either."""
    logs.execute("select public.bridge_unwatch('public.logs')")
    left = logs.execute(
        "select 1 from pg_trigger t join pg_class c on c.oid = tgrelid where relname like 'logs%'"
    )
    assert left.fetchall() == []


# Watching


@pytest.mark.parametrize(
    ("table", "sqlstate"),
    [
        ("public.nowhere", "42P01"),
        ("public.keyless", "55000"),
        ("public.a_view", "42809"),
        ("pg_temp.passing", "42809"),
        ("bridge.journal", "22023"),
        ("bridge.journal_pruned", "22023"),
    ],
)
def test_what_cannot_be_watched_is_refused_with_advice(db: Connection, table: str, sqlstate: str):
    """No table, no key, no changes."""
    db.execute("create table public.keyless (a int)")
    db.execute("create view public.a_view as select * from public.keyless")
    db.execute("create temporary table passing (id int primary key)")
    with pytest.raises(psycopg.Error) as raised:
        db.execute("select public.bridge_watch(%s)", (table,))
    assert raised.value.sqlstate == sqlstate
    assert raised.value.diag.message_hint


def test_watching_twice_records_once(db: Connection):
    """The second time changes nothing and says so."""
    watch(db, "id int primary key")
    assert told(db, "select public.bridge_watch('public.t')") == "public.t is watched already"
    db.execute("insert into public.t values (1)")
    assert len(recorded(db)) == 1
    assert told(db, "select public.bridge_unwatch('public.t')") == "public.t is not watched"
    db.execute("insert into public.t values (2)")
    assert len(recorded(db)) == 1
    assert told(db, "select public.bridge_unwatch('public.t')") == "public.t is not watched"
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.execute("select public.bridge_unwatch('public.nowhere')")


def test_watching_again_switches_a_disabled_trigger_on(db: Connection):
    """A bulk load may have left `disable trigger all` behind."""
    watch(db, "id int primary key")
    db.execute("alter table public.t disable trigger all")
    assert not in_catalog(db, "public.t").journalled
    assert told(db, "select public.bridge_watch('public.t')") == "public.t is watched"
    db.execute("insert into public.t values (1)")
    assert len(recorded(db)) == 1


def test_a_busy_table_is_not_waited_for(database: Database, db: Connection):
    """After two seconds the call, and the migration as a whole, give up, and nothing has changed."""
    watch(db, "id int primary key")
    db.execute("select public.bridge_unwatch(w.quoted) from public.bridge_watched() as w")
    writer = database.connect(autocommit=False)
    writer.execute("insert into public.t values (1)")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        db.execute("select public.bridge_watch('public.t')")
    writer.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        db.execute(JOURNAL)
    db.rollback()
    assert db.execute("select name from public.bridge_watched()").fetchall() == []
    assert told(db, "show lock_timeout") == "0"
    writer.rollback()
    db.execute(JOURNAL)
    assert len(db.execute("select name from public.bridge_watched()").fetchall()) == 3


def test_tables_are_named_as_the_worker_names_them(db: Connection):
    """As SQL has them, or without their quotes; where that may be two tables, it is refused."""
    db.execute(
        'create table public."Rooms" (id int primary key); create table public."Both" (id int primary key)'
    )
    for function in ("bridge_publish", "bridge_watch", "bridge_unwatch"):
        for name in ("public.Rooms", 'public."Rooms"', 'PUBLIC."Rooms"', "public.Both"):
            table = "Both" if "Both" in name else "Rooms"
            assert f'"{table}"' in told(db, f"select public.{function}(%s)", name)
    db.execute("create table public.both (id int primary key)")
    with pytest.raises(psycopg.errors.AmbiguousAlias, match=r"may be .*both.* or .*Both"):
        told(db, "select public.bridge_watch(%s)", "public.Both")


def test_the_catalog_tells_which_tables_are_journalled(logs: Connection):
    """Under their own names: the rows of a partition come as those of the table that is watched."""
    names = ("public.messages", "public.logs", "public.logs_1")
    assert [in_catalog(logs, name).journalled for name in names] == [True, True, False]
    assert [in_catalog(logs, name).partition_of for name in names] == [None, None, "public.logs"]
    logs.execute("alter table public.logs_1 disable trigger user")
    assert not in_catalog(logs, "public.logs").journalled
    logs.execute("alter table public.messages disable trigger user")
    assert not in_catalog(logs, "public.messages").journalled


@pytest.mark.parametrize("which", ["user", "all", '"!bridge_journal"'])
def test_a_trigger_that_was_off_for_a_moment_leaves_a_trace(db: Connection, which: str):
    """Off and on again in one transaction, the catalog would look as before; and the trigger is not always on."""
    watch(db, "id int primary key")
    first, marker = in_catalog(db, "public.t"), told(db, "select public.bridge_catalog_marker()")
    with db.transaction():
        db.execute(f"alter table public.t disable trigger {which}".encode())
        db.execute("insert into public.t values (1)")
        db.execute(f"alter table public.t enable trigger {which}".encode())
    assert recorded(db) == []
    then = in_catalog(db, "public.t")
    assert told(db, "select public.bridge_catalog_marker()") != marker
    assert then.journalled
    assert then.skips_replicas
    assert first.journalled_by != then.journalled_by
    assert told(db, "select public.bridge_watch('public.t')") == "public.t is watched"
    last = in_catalog(db, "public.t")
    assert not last.skips_replicas
    assert last.journalled_by not in (first.journalled_by, then.journalled_by)  # so that all is loaded anew
    db.execute("set session_replication_role = replica")
    db.execute("insert into public.t values (2)")
    assert len(recorded(db)) == 1
    db.execute("set session_replication_role = origin")
    assert in_catalog(db, "public.t") == last


def test_a_new_partition_was_recorded_from_its_beginning(logs: Connection):
    """It disturbs nobody; one in which the trigger was off for a moment does."""
    assert in_catalog(logs, "public.logs").journalled_by
    assert in_catalog(logs, "public.logs_1").journalled_by
    assert in_catalog(logs, "public.logs_2").journalled_by == ""
    told(logs, "select public.bridge_watch('public.logs')")  # for its TRUNCATE
    assert in_catalog(logs, "public.logs_2").journalled_by == ""
    logs.execute(
        "alter table public.logs_2 disable trigger user; alter table public.logs_2 enable trigger user"
    )
    assert in_catalog(logs, "public.logs_2").journalled_by
    assert in_catalog(logs, "public.logs_2").skips_replicas
    told(logs, "select public.bridge_watch('public.logs')")
    assert not in_catalog(logs, "public.logs_2").skips_replicas


@pytest.mark.parametrize(
    "statement",
    [
        "select public.bridge_watch('public.t')",
        "select public.bridge_unwatch('public.messages')",
        "alter table public.messages disable trigger user",
        'drop trigger "!bridge_journal" on public.messages',
    ],
)
def test_the_marker_changes_with_what_is_watched(db: Connection, statement: str):
    """The worker notices without reading the catalog each time."""
    db.execute("create table public.t (id int primary key)")
    before = told(db, "select public.bridge_catalog_marker()")
    db.execute(statement.encode())
    assert told(db, "select public.bridge_catalog_marker()") != before


def test_the_journal_itself_is_not_in_the_catalog(db: Connection):
    """Neither its tables nor its functions; and writing or emptying it changes no marker."""
    catalog = decode_catalog(told(db, "select public.bridge_catalog()"))
    assert {"bridge"} & {thing.schema for thing in (*catalog.tables, *catalog.functions)} == set()
    before = told(db, "select public.bridge_catalog_marker()")
    db.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
    db.execute("truncate bridge.journal")
    assert told(db, "select public.bridge_catalog_marker()") == before


# Who may do what


@pytest.mark.parametrize(
    ("call", "worker"),
    [
        ("select public.bridge_watch('public.dialogs')", False),
        ("select public.bridge_unwatch('public.dialogs')", False),
        ("select * from public.bridge_watched()", True),
        ("select public.bridge_journal_since(0)", True),
        ("select public.bridge_journal_before(1)", True),
        ("select public.bridge_prune_journal(1e9)", True),
        ("select count(*) from bridge.journal", True),
        ("select id from bridge.journal_pruned", True),
        ("insert into bridge.journal (relation, action) values ('public.dialogs', 'INSERT')", False),
        ("update bridge.journal set action = 'x'", False),
        ("delete from bridge.journal", False),
        ("truncate bridge.journal", False),
        ("update bridge.journal_pruned set id = 0", False),
        ("create trigger x after insert on public.dialogs execute function bridge.record_change()", False),
        ("select nextval('bridge.journal_id_seq')", False),
    ],
)
def test_only_the_worker_reads_and_only_triggers_write(actors: Actors, call: str, worker: bool):  # noqa: FBT001
    """Supabase's default privileges give much away; none of it is left."""
    for role in ("anon", "authenticated"):
        assert actors.affected(actors.owner, call, role=role) == "42501"
    answer = actors.affected(None, call, role="service_role")
    assert isinstance(answer, int) if worker else answer == "42501"


def test_who_writes_a_watched_table_needs_nothing_else(actors: Actors):
    """A user without any privilege on the journal has the change recorded."""
    with actors.acting(actors.owner) as connection:
        connection.execute("update public.messages set body = 'z' where id = %s", (actors.owners_message,))
    action, body = actors.connection.execute(
        "select action, record::jsonb ->> 'body' from bridge.journal order by id desc limit 1"
    ).fetchone()  # type: ignore[misc]
    assert (action, body) == ("UPDATE", "z")


def test_a_dumped_database_goes_on_after_it_was_restored(
    database: Database, db: Connection, postgres: EmbeddedPostgres
):
    """With its rows, its triggers and the next id; as another epoch, and without what others might write."""
    db.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
    url, name = postgres.url(database.name), f"{database.name}_copy"
    dump = subprocess.run(
        [postgres.binary("pg_dump"), "--no-owner", url], check=True, capture_output=True
    ).stdout
    postgres.create_database(name)
    try:
        subprocess.run(
            [postgres.binary("psql"), "-q", "-v", "ON_ERROR_STOP=1", postgres.url(name)],
            input=dump,
            check=True,
            capture_output=True,
        )
        with psycopg.connect(postgres.url(name), autocommit=True) as copy:
            copy.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
            assert [row[0] for row in copy.execute("select id from bridge.journal order by id")] == [1, 2]
            before, after = (
                json.loads(told(one, "select public.bridge_journal_since(0)"))["epoch"] for one in (db, copy)
            )
            assert before != after
            copy.execute("set role authenticated")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                copy.execute("select count(*) from bridge.journal")
            copy.execute("reset role")
            migrate(copy)
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)".encode())
