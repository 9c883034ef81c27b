"""How the files apply: alone, twice, into a project of its own, and back."""

import re
import subprocess

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from bridge.migration.statements import split
from tests.sql.conftest import Connection
from tests.support.stack import MIGRATIONS, ROOT, migrate

UNDO = ROOT / "sql" / "undo"


def _schema(connection: Connection) -> list[tuple[object, ...]]:
    """Return everything the files may have made: schemas, tables, grants, policies, functions, triggers, publications."""
    return connection.execute(
        """
        select 'column', c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace in (select oid from pg_namespace where nspname in ('public', 'bridge', 'bridge_private'))
          and c.relkind in ('r', 'i', 'S')
        union all select 'policy', tablename::text, policyname::text, coalesce(qual, '') from pg_policies
        union all select 'function', proname::text, array(select a::text from unnest(proacl) as a order by 1)::text, prosrc from pg_proc
        where pronamespace in (select oid from pg_namespace where nspname in ('public', 'bridge', 'bridge_private'))
        union all select 'schema', nspname::text, array(select a::text from unnest(nspacl) as a order by 1)::text, '' from pg_namespace where nspname like 'bridge%'
        union all select 'trigger', c.relname::text, t.tgname::text, t.tgenabled::text
        from pg_trigger t join pg_class c on c.oid = t.tgrelid where not t.tgisinternal
        union all select 'grants', relname::text, array(select a::text from unnest(relacl) as a order by 1)::text, '' from pg_class
        where relnamespace in (select oid from pg_namespace where nspname in ('public', 'bridge'))
        union all select 'published', schemaname::text, tablename::text, pubname::text from pg_publication_tables
        order by 1, 2, 3, 4
        """
    ).fetchall()


def test_applied_twice_is_applied_once(fresh: Connection):
    """The second time changes nothing."""
    migrate(fresh)
    once = _schema(fresh)
    migrate(fresh)
    assert _schema(fresh) == once
    assert len(once) > 20


def test_applied_again_they_do_not_wait_for_readers_of_the_journal(
    fresh: Connection, postgres: EmbeddedPostgres
):
    """A dump reads it for minutes; whoever writes a watched table would stand behind the file."""
    migrate(fresh)
    with psycopg.connect(postgres.url("scratch")) as reader:
        reader.execute("select from bridge.journal, bridge.journal_pruned")
        migrate(fresh)


def test_a_journal_of_before_is_given_what_it_lacks(fresh: Connection):
    """Its rows stay, and say what they said."""
    migrate(fresh)
    fresh.execute("alter table bridge.journal drop column relation_oid")
    fresh.execute("insert into bridge.journal (relation, action) values ('public.dialogs', 'TRUNCATE')")
    migrate(fresh)
    fresh.execute("truncate public.dialogs cascade")
    told = fresh.execute(
        "select relation_oid, relation_oid = 'public.dialogs'::regclass::oid from bridge.journal "
        "where relation = 'public.dialogs' order by id"
    ).fetchall()
    assert [is_its_own for _, is_its_own in told] == [None, True]


@pytest.mark.parametrize("options", [[], ["--single-transaction"]], ids=["plain", "-1"])
def test_psql_applies_them(fresh: Connection, postgres: EmbeddedPostgres, options: list[str]):
    """Each file by `psql -f`, stopping at the first error; who adds -1 gets a warning and the same."""
    psql = postgres.binary("psql")
    for path in MIGRATIONS:
        subprocess.run(
            [psql, *options, "-q", "-v", "ON_ERROR_STOP=1", "-f", path, postgres.url("scratch")],
            check=True,
            capture_output=True,
        )
    assert ("published", "public", "messages", "supabase_realtime") in _schema(fresh)


def _undo(connection: Connection) -> None:
    for path in reversed(MIGRATIONS):
        connection.execute((UNDO / path.name).read_bytes())


def test_up_undo_up(fresh: Connection):
    """The undo files, last first, leave what there was before, run twice as well; after them everything applies again."""
    fresh.execute('create schema own; create table own."Chat Room" (id int primary key)')
    before = _schema(fresh)
    migrate(fresh)
    applied = _schema(fresh)
    fresh.execute("select public.bridge_watch('own.\"Chat Room\"')")
    for _ in range(2):
        _undo(fresh)
        assert _schema(fresh) == before
    migrate(fresh)
    assert _schema(fresh) == applied


def test_undo_leaves_a_projects_own_tables_alone(fresh: Connection):
    """Also those that have the names of the reference schema, and what is published of them."""
    fresh.execute("create table public.messages (id int primary key, body text)")
    fresh.execute("alter publication supabase_realtime add table public.messages")
    before = _schema(fresh)
    migrate(fresh)
    _undo(fresh)
    assert _schema(fresh) == before


def test_a_dba_who_is_no_superuser_applies_them(fresh: Connection, postgres: EmbeddedPostgres):
    """A hosted project's `postgres` is none; and what it may not see of others delays pruning, no more."""
    fresh.execute("""
        create role dba login createdb createrole replication bypassrls;
        grant anon, authenticated, service_role to dba;
        grant all on database scratch to dba;
        alter schema public owner to dba;
        alter publication supabase_realtime owner to dba;
        create role stranger login;
    """)
    with (
        psycopg.connect(postgres.url("scratch"), user="dba", autocommit=True) as dba,
        psycopg.connect(postgres.url("scratch"), user="stranger") as stranger,
    ):
        for _ in range(2):
            migrate(dba)
        dba.execute("insert into public.dialogs (owner_id) values (gen_random_uuid())")
        prune = "select public.bridge_prune_journal(0)"
        stranger.execute("select pg_current_xact_id()")
        assert dba.execute(prune).fetchone() == (0,)
        stranger.rollback()
        dba.execute("set role service_role")
        assert dba.execute("select public.bridge_journal_since(0) like '%public.dialogs%'").fetchone() == (
            True,
        )
        assert dba.execute(prune).fetchone() == (1,)


@pytest.mark.parametrize(
    "own",
    [
        (
            "create table public.dialogs (id bigint primary key, who uuid);"
            "create table public.messages (id bigint primary key, dialog_id bigint references public.dialogs)"
        ),
        "create table public.messages (body text)",
        "create table public.channels (id bigint primary key); create table public.posts (id uuid primary key)",
        "create view public.dialogs as select 1 as id",
        "create table public.logs (id int primary key) partition by range (id)",
    ],
    ids=["same names", "no key", "other names", "a view", "partitioned"],
)
def test_a_project_with_its_own_tables_keeps_them_and_gets_no_others(fresh: Connection, own: str):
    """Nothing is created beside them, published of them or hung onto them: that is for the DBA to say; functions come."""
    fresh.execute(own)
    before = set(_schema(fresh))
    notices: list[str] = []
    fresh.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    migrate(fresh)
    assert {row for row in set(_schema(fresh)) - before if row[0] in ("policy", "trigger")} == set()
    made = {row[1] for row in set(_schema(fresh)) - before if row[0] == "grants"}
    assert all(str(name).startswith("journal") for name in made)
    published = {row[1:3] for row in set(_schema(fresh)) - before if row[0] == "published"}
    assert published == {("bridge", "journal")}
    assert set(_schema(fresh)) >= before
    assert any("the reference schema is skipped" in notice for notice in notices)
    assert "no table is watched yet" in notices
    assert fresh.execute("select public.bridge_catalog()").fetchone() is not None


def test_the_reference_schema_comes_beside_other_tables_on_request(
    fresh: Connection, postgres: EmbeddedPostgres
):
    """By a setting in the connection string, which each of the tools passes on; tables of an extension are no project's."""
    fresh.execute("create table public.profiles (id int primary key)")
    options = "options=-c%20bridge.reference_schema%3Don"
    with psycopg.connect(f"{postgres.url('scratch')}?{options}", autocommit=True) as asked:
        migrate(asked)
    once = _schema(fresh)
    assert ("published", "public", "messages", "supabase_realtime") in once
    migrate(fresh)  # what is there is ours, and kept up to date without asking
    assert _schema(fresh) == once


def test_an_index_that_was_dropped_is_named_and_not_built_under_a_lock(fresh: Connection):
    """The table may be large by now: the hint has the statement that lets writers go on."""
    migrate(fresh)
    fresh.execute("drop index public.messages_sender_id_idx")
    hints: list[str] = []
    fresh.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
    migrate(fresh)
    assert fresh.execute("select to_regclass('public.messages_sender_id_idx')").fetchone() == (None,)
    [statement] = [hint for hint in hints if hint.startswith("create index concurrently")]
    fresh.execute(statement)
    hints.clear()
    migrate(fresh)
    assert not any("create index" in hint for hint in hints)


def test_a_table_of_ones_own_is_published_by_name(fresh: Connection):
    """`bridge_publish` adds it once, and says so."""
    migrate(fresh)
    fresh.execute("create table public.rooms (id int primary key)")
    assert fresh.execute("select public.bridge_publish('public.rooms')").fetchone() == ("public.rooms added",)
    again = fresh.execute("select public.bridge_publish('public.rooms')").fetchone()
    assert again == ("public.rooms is in the publication already",)
    with pytest.raises(psycopg.errors.UndefinedTable, match="does not exist"):
        fresh.execute("select public.bridge_publish('public.nowhere')")


def test_publishing_breaks_no_update_of_a_table_without_a_primary_key(fresh: Connection):
    """Postgres would refuse its updates and deletes: `bridge_publish` says why."""
    fresh.execute("create table public.messages (body text)")
    fresh.execute("create table public.mute (id int primary key)")
    fresh.execute("alter table public.mute replica identity nothing")
    migrate(fresh)
    for table, reason in (("public.messages", "no primary key"), ("public.mute", "replica identity nothing")):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=reason):
            fresh.execute("select public.bridge_publish(%s)", (table,))
    fresh.execute("insert into public.messages values ('a')")
    assert fresh.execute("update public.messages set body = 'b'").rowcount == 1
    assert fresh.execute("delete from public.messages").rowcount == 1


def test_a_partitioned_table_is_not_published_under_a_name_that_no_change_has(fresh: Connection):
    """The partitions can be."""
    migrate(fresh)
    fresh.execute("create table public.logs (id int primary key) partition by range (id)")
    fresh.execute("create table public.logs_1 partition of public.logs for values from (1) to (9)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="is partitioned"):
        fresh.execute("select public.bridge_publish('public.logs')")
    assert fresh.execute("select public.bridge_publish('public.logs_1')").fetchone() == (
        "public.logs_1 added",
    )


def test_the_publication_alone_says_that_it_publishes_nothing(fresh: Connection):
    """Applied before the schema, the file names what is missing."""
    notices: list[str] = []
    fresh.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    fresh.execute(MIGRATIONS[1].read_bytes())
    assert any("nothing is published" in notice for notice in notices)


def test_the_publication_is_not_left_half_made_when_a_table_is_busy(
    fresh: Connection, postgres: EmbeddedPostgres
):
    """A lock that is not there in time fails the file, rather than leave the table out with a warning."""
    migrate(fresh)
    fresh.execute("alter publication supabase_realtime drop table public.messages")
    with psycopg.connect(postgres.url("scratch")) as busy:
        busy.execute("lock table public.messages in share mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            fresh.execute(MIGRATIONS[1].read_bytes())
        fresh.rollback()
    fresh.execute(MIGRATIONS[1].read_bytes())
    assert ("published", "public", "messages", "supabase_realtime") in _schema(fresh)


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_each_file_says_why_and_how_to_undo_it(path):
    """A header with reason, locks, safety and undo; a lock time-out before anything else; an empty search path."""
    text = path.read_text()
    undo = (UNDO / path.name).read_text()
    assert f"-- Undo: sql/undo/{path.name}" in text
    for statements in (split(text), split(undo)):
        assert statements[0].endswith("begin")
        assert statements[1].startswith("set local lock_timeout = '2s'")
        assert statements[-1] == "commit"
    assert f"where version = '{path.name.split('_')[0]}'" in undo
    assert re.fullmatch(r"\d{14}_[a-z_]+\.sql", path.name)
    for word in (
        "-- Why:",
        "-- Safe to run twice: yes",
        "-- Locks:",
        "search_path = ''",
    ):
        assert word in text, word
