"""What the policies cost at a million messages: the plans that Postgres chooses there, and what is read for them."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.sql.conftest import Connection
from tests.support.stack import MIGRATIONS, migrate

MESSAGES, DIALOGS, USERS = 1_000_000, 20_000, 5_000
TABLES = ("dialogs", "dialog_participants", "messages")

# Real rows: the planner looks at the files, so that made-up statistics would not make it believe in a million.  Each
# dialog has an owner, who says everything, and three participants; its messages are scattered over the table.
LOAD = f"""
create function pg_temp.id(kind text, n bigint) returns uuid language sql immutable
    return (kind || lpad(to_hex(n), 7, '0') || '-0000-4000-8000-000000000000')::uuid;
insert into public.dialogs (id, owner_id, title)
    select pg_temp.id('d', n), pg_temp.id('a', n % {USERS}), 'dialog' from generate_series(1::bigint, {DIALOGS}) as n;
insert into public.dialog_participants (dialog_id, user_id)
    select pg_temp.id('d', n), pg_temp.id('a', (n * 7 + k * 1009) % {USERS})
    from generate_series(1::bigint, {DIALOGS}) as n, generate_series(1::bigint, 3) as k;
insert into public.messages (dialog_id, sender_id, body)
    select d.id, d.owner_id, 'said' from generate_series(1, {MESSAGES // DIALOGS}) as k,
        lateral (select * from public.dialogs offset k * 0) as d;
"""
DIALOG = "d0000005-0000-4000-8000-000000000000"
OWNER = "a0000005-0000-4000-8000-000000000000"
PARTICIPANT = "a0000414-0000-4000-8000-000000000000"
"""Number 7 * 5 + 1009 = 0x414 of the users."""


@pytest.fixture(scope="module")
def large(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """The reference schema with a million messages."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(MIGRATIONS[0].read_bytes())
        connection.execute("set maintenance_work_mem = '256MB'")
        # Foreign keys would be looked up a million times; the journal's triggers are not there yet.  Indexes are
        # built faster than filled: the file names those that are missing.
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "drop index public.messages_dialog_id_created_at_idx, public.messages_sender_id_idx"
        )
        connection.execute("alter table public.messages drop constraint messages_pkey")
        connection.execute(LOAD)
        connection.execute("alter table public.messages add primary key (id)")
        connection.execute("set session_replication_role = origin")
        hints: list[str] = []
        connection.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
        connection.execute(MIGRATIONS[0].read_bytes())
        for hint in hints:
            connection.execute(hint)
        connection.execute("analyze public.dialogs, public.dialog_participants, public.messages")
        yield connection


# Who, what they do, and the indexes that have to serve it.  What a function looks up is no part of a plan: it is counted.
STATEMENTS = [
    ("dialogs_select", "owner", f"select * from public.dialogs where id = '{DIALOG}'", {"dialogs_pkey"}),
    (
        "dialogs_select",
        "participant",
        (
            "select d.* from public.dialog_participants as p join public.dialogs as d on d.id = p.dialog_id "
            "where p.user_id = (select auth.uid())"
        ),
        {"dialogs_pkey", "dialog_participants_user_id_idx"},
    ),
    ("dialogs_insert", "owner", f"insert into public.dialogs (owner_id) values ('{OWNER}')", set()),
    (
        "dialogs_update",
        "owner",
        f"update public.dialogs set title = 'x' where id = '{DIALOG}'",
        {"dialogs_pkey"},
    ),
    (
        "dialogs_update",
        "owner",
        "update public.dialogs set title = 'x' where owner_id = (select auth.uid())",
        {"dialogs_owner_id_idx"},
    ),
    ("dialogs_delete", "owner", f"delete from public.dialogs where id = '{DIALOG}'", {"dialogs_pkey"}),
    (
        "dialog_participants_select",
        "participant",
        f"select * from public.dialog_participants where dialog_id = '{DIALOG}'",
        {"dialog_participants_pkey"},
    ),
    (
        "dialog_participants_insert",
        "owner",
        f"insert into public.dialog_participants (dialog_id, user_id) values ('{DIALOG}', gen_random_uuid())",
        set(),
    ),
    (
        "dialog_participants_update",
        "owner",
        f"update public.dialog_participants set role = 'x' where dialog_id = '{DIALOG}'",
        {"dialog_participants_pkey"},
    ),
    (
        "dialog_participants_delete",
        "participant",
        f"delete from public.dialog_participants where dialog_id = '{DIALOG}' and user_id = (select auth.uid())",
        {"dialog_participants_pkey"},
    ),
    (
        "messages_select",
        "participant",
        f"select * from public.messages where dialog_id = '{DIALOG}' order by created_at desc limit 50",
        {"messages_dialog_id_created_at_idx", "dialog_participants_pkey"},
    ),
    (
        "messages_select",
        "stranger",
        f"select * from public.messages where dialog_id = '{DIALOG}'",
        {"messages_dialog_id_created_at_idx"},
    ),
    (
        "messages_insert",
        "owner",
        f"insert into public.messages (dialog_id, sender_id, body) values ('{DIALOG}', '{OWNER}', 'x')",
        set(),
    ),
    (
        "messages_update",
        "owner",
        f"update public.messages set body = 'x' where dialog_id = '{DIALOG}'",
        {"messages_dialog_id_created_at_idx"},
    ),
    (
        "messages_delete",
        "owner",
        "delete from public.messages where sender_id = (select auth.uid())",
        {"messages_sender_id_idx"},
    ),
]
PEOPLE = {"owner": OWNER, "participant": PARTICIPANT, "stranger": "a0000001-0000-4000-8000-000000000000"}


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _read(large: Connection) -> dict[str, tuple[int, int]]:
    """How many rows were read of each table: by scans of the whole, and by an index.

    Since whenever Postgres last passed it on: earlier transactions of this session may be in it.
    """
    found = large.execute(
        "select relname::text, seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables "
        "where schemaname = 'public' and relname = any (%s)",
        (list(TABLES),),
    ).fetchall()
    return {name: (whole, fetched) for name, whole, fetched in found}


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "who", "statement", "indexes"), STATEMENTS)
def test_a_policy_uses_its_index(large: Connection, policy: str, who: str, statement: str, indexes: set[str]):
    """No table is read from end to end, neither by the plan nor by what the policies' functions do."""
    with large.transaction(force_rollback=True):
        claims = json.dumps({"role": "authenticated", "sub": PEOPLE[who]})
        large.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        large.execute("set local role authenticated")
        before = _read(large)
        row = large.execute(f"explain (analyze, format json) {statement}".encode()).fetchone()
        large.execute("reset role")
        after = _read(large)
    assert row is not None
    plan = list(_nodes(row[0][0]["Plan"]))
    scanned = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
    assert not scanned & set(TABLES), json.dumps(row[0], indent=1)
    assert {node["Index Name"] for node in plan if "Index Name" in node} >= indexes
    assert {name: whole for name, (whole, _) in after.items()} == {
        name: whole for name, (whole, _) in before.items()
    }
    # 200 messages are the sender's, 50 the dialog's; nothing is read that has to do with neither.
    assert (
        sum(fetched for _, fetched in after.values()) - sum(fetched for _, fetched in before.values()) < 2000
    )


def test_each_policy_is_looked_at(large: Connection):
    """A new one needs a statement above."""
    found = large.execute("select policyname::text from pg_policies where schemaname = 'public'").fetchall()
    assert {name for (name,) in found} == {policy for policy, *_ in STATEMENTS}


def test_applying_the_files_again_rewrites_nothing(large: Connection):
    """Each table and index stays in its file: neither is a million rows written anew, nor an index built over them."""
    files = "select relname::text, pg_relation_filenode(oid) from pg_class where relnamespace = 'public'::regnamespace"
    before = dict(large.execute(files).fetchall())
    for _ in range(2):
        migrate(large)
        assert dict(large.execute(files).fetchall()) == before
