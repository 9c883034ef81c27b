"""How the files apply: alone, twice, into a project of its own, and back."""

import re
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Connection, migrate
from tests.support.stack import MIGRATIONS


@pytest.fixture
def fresh(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """A database of its own, with Supabase's schema and nothing else."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("drop database if exists scratch")
        admin.execute("create database scratch")
    postgres.bootstrap("scratch")
    with psycopg.connect(postgres.url("scratch"), autocommit=True) as connection:
        yield connection


def _schema(connection: Connection) -> list[tuple[object, ...]]:
    """Return everything the files may have made: schemas, tables, grants, policies, functions, triggers, publications."""
    return connection.execute(
        """
        select 'column', c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace in (select oid from pg_namespace where nspname in ('public', 'bridge', 'bridge_private'))
          and c.relkind in ('r', 'i', 'S')
        union all select 'policy', tablename::text, policyname::text, coalesce(qual, '') from pg_policies
        union all select 'function', proname::text, coalesce(proacl::text, ''), prosrc from pg_proc
        where pronamespace in (select oid from pg_namespace where nspname in ('public', 'bridge', 'bridge_private'))
        union all select 'schema', nspname::text, coalesce(nspacl::text, ''), '' from pg_namespace where nspname like 'bridge%'
        union all select 'trigger', c.relname::text, t.tgname::text, t.tgenabled::text
        from pg_trigger t join pg_class c on c.oid = t.tgrelid where not t.tgisinternal
        union all select 'grants', relname::text, coalesce(relacl::text, ''), '' from pg_class
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


def test_psql_applies_them(fresh: Connection, postgres: EmbeddedPostgres):
    """Each file by `psql -f`, stopping at the first error."""
    psql = postgres.binary("psql")
    for path in MIGRATIONS:
        subprocess.run(
            [psql, "-q", "-v", "ON_ERROR_STOP=1", "-f", path, postgres.url("scratch")],
            check=True,
            capture_output=True,
        )
    assert ("published", "public", "messages", "supabase_realtime") in _schema(fresh)


def test_the_written_undo_leaves_nothing(fresh: Connection):
    """The undo in each header, in reverse order, brings the database back to what it was."""
    before = _schema(fresh)
    migrate(fresh)
    fresh.execute('create schema own; create table own."Chat Room" (id int primary key)')
    fresh.execute("select public.bridge_watch('own.\"Chat Room\"')")
    for path in reversed(MIGRATIONS):
        header = path.read_text().split("begin;", 1)[0]
        undo = re.search(r"-- Undo: (.*)", header, re.DOTALL)
        assert undo is not None, path.name
        fresh.execute(undo[1].replace("\n--", "\n"))
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


def test_a_project_with_its_own_tables_keeps_them(fresh: Connection):
    """Own dialogs and messages are left as they are; publication and functions come."""
    fresh.execute("create table public.dialogs (id bigint primary key, who uuid)")
    fresh.execute(
        "create table public.messages (id bigint primary key, dialog_id bigint references public.dialogs)"
    )
    notices: list[str] = []
    fresh.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    migrate(fresh)
    columns = {row[2] for row in _schema(fresh) if row[:2] == ("column", "dialogs")}
    assert columns == {"id", "who"}
    assert any("skipped" in notice for notice in notices)
    assert not [row for row in _schema(fresh) if row[0] == "policy"]
    assert ("published", "public", "dialogs", "supabase_realtime") in _schema(fresh)
    assert fresh.execute("select public.bridge_catalog()").fetchone() is not None


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
    """Postgres would refuse its updates and deletes: the files leave it out, and `bridge_publish` says why."""
    fresh.execute("create table public.messages (body text)")
    fresh.execute("create table public.mute (id int primary key)")
    fresh.execute("alter table public.mute replica identity nothing")
    notices: list[str] = []
    fresh.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    migrate(fresh)
    assert any("left out of the publication" in notice for notice in notices)
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


def test_the_reference_tables_are_published_whole(fresh: Connection):
    """Replica identity full, so that an UPDATE names both rows."""
    migrate(fresh)
    identities = fresh.execute(
        "select relname::text, relreplident::text from pg_class where relname in ('dialogs', 'dialog_participants', 'messages')"
    ).fetchall()
    assert dict(identities) == {"dialogs": "f", "dialog_participants": "f", "messages": "f"}


def test_every_foreign_key_and_policy_has_its_index(fresh: Connection):
    """Each column that policies compare or keys refer from leads an index."""
    migrate(fresh)
    leading = {
        tuple(row)
        for row in fresh.execute(
            """select c.relname::text, a.attname::text from pg_index i join pg_class c on c.oid = i.indrelid
               join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0] where c.relnamespace = 'public'::regnamespace"""
        )
    }
    assert leading >= {
        ("dialogs", "id"),
        ("dialogs", "owner_id"),
        ("dialog_participants", "dialog_id"),
        ("dialog_participants", "user_id"),
        ("messages", "dialog_id"),
        ("messages", "sender_id"),
    }


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_each_file_says_why_and_how_to_undo_it(path):
    """A header with reason, locks, safety and undo; a lock time-out; an empty search path."""
    text = path.read_text()
    assert re.fullmatch(r"\d{14}_[a-z_]+\.sql", path.name)
    for word in (
        "-- Why:",
        "-- Safe to run twice: yes",
        "-- Undo:",
        "-- Locks:",
        "set local lock_timeout",
        "search_path = ''",
    ):
        assert word in text, word
