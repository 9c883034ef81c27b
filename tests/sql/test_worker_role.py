"""bridge_worker: reads what the worker needs, and does nothing else."""

import json
import re
from collections.abc import Iterator

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from bridge.migration.statements import body, split
from tests.sql.conftest import Actors, Connection, Database
from tests.support.stack import MIGRATIONS, ROOT

FILE = next(path for path in MIGRATIONS if path.name.endswith("_worker_role.sql"))
UNDO = ROOT / "sql" / "undo"
ROLE = "bridge_worker"
PRINCIPAL = '{"role": "authenticated", "claims": "{}"}'

ALLOWED = {
    "the catalog": "select public.bridge_catalog()",
    "its marker": "select public.bridge_catalog_marker()",
    "a watched table": "select public.bridge_rows('public.messages')",
    "its rows, though no policy shows them": "select from public.dialogs having count(*) = 2",
    "a look-up table": "select public.bridge_rows('public.dialog_participants')",
    "one row": """select public.bridge_row('public.dialogs', '{"id": "00000000-0000-0000-0000-000000000000"}')""",
    "the policies": f"select public.bridge_visible('public.messages', '[]', '[{PRINCIPAL}]'::jsonb)",
    "the journal": "select public.bridge_journal_since(0)",
    "its holes": "select public.bridge_journal_holes(0)",
    "its past": "select public.bridge_journal_before(60)",
    "its pruning": "select public.bridge_prune_journal(86400)",
    "what is watched": "select count(*) from public.bridge_watched()",
}

REFUSED = {
    "insert": "insert into public.dialogs (owner_id) values (gen_random_uuid())",
    "update": "update public.messages set body = 'z'",
    "delete": "delete from public.messages",
    "truncate": "truncate public.messages",
    "lock": "lock table public.messages in share mode",
    "the journal": "delete from bridge.journal",
    "the mark of pruning": "update bridge.journal_pruned set id = 9",
    "a row of the journal": "insert into bridge.journal (relation, action) values ('public.messages', 'TRUNCATE')",
    "another table": "select from public.secrets",
    "another table by the bridge": "select public.bridge_rows('public.secrets')",
    "one row of it": """select public.bridge_row('public.secrets', '{"id": 1}')""",
    "users": "select from auth.users",
    "watching": "select public.bridge_watch('public.secrets')",
    "unwatching": "select public.bridge_unwatch('public.messages')",
    "publishing": "select public.bridge_publish('public.secrets')",
    "a table of its own": "create table public.mine (id int)",
    "a schema of its own": "create schema mine",
    "reading files": "select pg_read_file('/etc/hostname')",
}


@pytest.fixture
def worker(actors: Actors) -> Actors:
    """Somebody's rows, and a table that the worker has nothing to do with."""
    actors.connection.execute("create table public.secrets (id int primary key, word text)")
    actors.connection.execute("insert into public.secrets values (1, 'canary')")
    actors.connection.execute("revoke all on public.secrets from anon, authenticated")
    return actors


@pytest.mark.parametrize("sql", ALLOWED.values(), ids=ALLOWED)
def test_it_does_what_the_worker_does(worker: Actors, sql: str):
    """All that service_role does for the worker."""
    assert worker.affected(None, sql, role=ROLE) == 1


@pytest.mark.parametrize("sql", REFUSED.values(), ids=REFUSED)
def test_it_does_nothing_else(worker: Actors, sql: str):
    """It writes nothing, whatever the way, and reads no table that is not watched."""
    assert worker.affected(None, sql, role=ROLE) == "42501"


def test_it_has_no_privilege_on_any_other_table(migrated: EmbeddedPostgres):
    """Nor more than SELECT on those that it reads, nor anything that only some roles may do."""
    with psycopg.connect(migrated.url()) as admin:
        found = admin.execute(f"""
            select c.oid::regclass::text, v.verb from pg_class as c,
                unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as v (verb)
            where c.relkind in ('r', 'p', 'v', 'm', 'f')
              and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
              and has_table_privilege('{ROLE}', c.oid, v.verb) order by 1
        """).fetchall()
        attributes = admin.execute(f"""
            select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin, rolinherit, rolbypassrls
            from pg_roles where rolname = '{ROLE}'
        """).fetchone()
        members = admin.execute(
            f"select member::regrole::text from pg_auth_members where roleid = '{ROLE}'::regrole"
        ).fetchall()
        roles = admin.execute(f"select from pg_auth_members where member = '{ROLE}'::regrole").fetchall()
    readable = ["bridge.journal", "bridge.journal_pruned", "dialog_participants", "dialogs", "messages"]
    assert found == [(name, "select") for name in readable]
    assert attributes == (False, False, False, False, False, False, True)
    assert (members, roles) == ([("authenticator",)], [])


def _as_postgrest(url: str, call: str, *parameters: object) -> object:
    """Return what a function answers to the key of bridge_worker; the session is that of PostgREST's login."""
    with psycopg.connect(url, user="authenticator") as session:
        session.execute(f"set local role {ROLE}")
        row = session.execute(call, parameters).fetchone()
        assert session.execute("select current_user").fetchone() == (ROLE,)
        session.rollback()
    assert row is not None
    return row[0]


def test_it_asks_as_users_and_as_nobody_else(database: Database):
    """The policies run under a user's role; who has the key can have no other statement run, as no other role."""
    db, url = database.connect(), database.postgres.url(database.name)
    owner, dialog = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-0000000000d1"
    db.execute("insert into public.dialogs (id, owner_id) values (%s, %s)", (dialog, owner))
    db.execute("create table public.secrets (id int primary key)")
    db.execute("insert into public.secrets values (1)")
    row = db.execute("select jsonb_agg(to_jsonb(d))::text from public.dialogs as d").fetchone()
    principals = [
        {"role": "authenticated", "claims": json.dumps({"sub": user, "role": "authenticated"})}
        for user in (owner, "00000000-0000-0000-0000-00000000000b")
    ]
    assert row is not None
    ask = "select public.bridge_visible(%s, %s, %s)::jsonb"
    found = _as_postgrest(url, ask, "public.dialogs", row[0], json.dumps(principals))
    assert found == {"rows": [[0], []], "current": [0]}
    # A table that it may not read: not even whether there is such a row.
    there, not_there = (
        _as_postgrest(url, ask, "public.secrets", f'[{{"id": {key}}}]', json.dumps(principals))
        for key in (1, 2)
    )
    assert there == not_there
    answer = "select public.bridge_answer(%s::text[], %s)"
    for role in ("service_role", "supabase_admin", "postgres", ROLE, None):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="not one of anon"):
            _as_postgrest(url, answer, [], json.dumps({"role": role, "claims": "{}"}))


def test_watching_grants_and_unwatching_revokes(database: Database):
    """In any schema, whose names it may use from then on; a look-up table is watched as well, and so readable."""
    db = database.connect()
    db.execute('create schema own; create table own."Chat Room" (id int primary key)')
    may = f"""select has_schema_privilege('{ROLE}', 'own', 'usage') and has_table_privilege('{ROLE}', 'own."Chat Room"', 'select')"""
    assert db.execute(may).fetchone() == (False,)
    for _ in range(2):
        db.execute("select public.bridge_watch('own.\"Chat Room\"')")
        assert db.execute(may).fetchone() == (True,)
    db.execute("select public.bridge_unwatch('own.\"Chat Room\"')")
    assert db.execute(may).fetchone() == (False,)


def test_what_was_watched_before_is_readable(fresh: Connection):
    """The role comes after the journal, and reads what that has."""
    for path in MIGRATIONS[: MIGRATIONS.index(FILE)]:
        fresh.execute(path.read_bytes())
    fresh.execute("create table public.rooms (id int primary key)")
    fresh.execute("select public.bridge_watch('public.rooms')")
    fresh.execute(FILE.read_bytes())
    found = fresh.execute(f"select has_table_privilege('{ROLE}', 'public.rooms', 'select')").fetchone()
    assert found == (True,)


@pytest.fixture
def before(database: Database) -> Iterator[Connection]:
    """A transaction, rolled back at the end, in which there is no such role yet: roles are those of all databases."""
    connection = database.connect(autocommit=False)
    connection.execute(f"alter role {ROLE} rename to {ROLE}_of_others")
    yield connection
    connection.rollback()


def _apply(connection: Connection) -> None:
    for statement in body(split(FILE.read_text())):
        connection.execute(statement.encode())


def test_who_may_not_create_roles_goes_on_without(before: Connection):
    """The file says so, with the statement for somebody who may; applied again after that, it grants."""
    hints: list[str] = []
    before.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
    before.execute("create role plain; set local role plain")
    _apply(before)
    before.execute("reset role")
    assert before.execute(f"select from pg_roles where rolname = '{ROLE}'").rowcount == 0
    [hint] = [hint for hint in hints if "create role" in hint]
    before.execute(hint.partition(": ")[2].partition("  --")[0].encode())
    _apply(before)
    found = before.execute(f"select has_table_privilege('{ROLE}', 'public.messages', 'select')")
    assert found.fetchone() == (True,)


@pytest.mark.parametrize(
    "made",
    [f"create role {ROLE} createdb", f"create role {ROLE}; grant service_role to {ROLE}"],
    ids=["an attribute", "a membership"],
)
def test_a_role_of_that_name_with_more_rights_is_refused(before: Connection, made: str):
    """It would be no protection."""
    before.execute(made.encode())
    with pytest.raises(psycopg.errors.RaiseException, match="may do more than it should"):
        _apply(before)


def test_undone_it_is_gone(database: Database):
    """With all that it was granted; where another database has granted it something, without that, and a warning."""
    db, warnings = database.connect(), list[str]()
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    db.execute((UNDO / FILE.name).read_bytes())
    assert "another database" in warnings[-1]
    found = db.execute(
        f"select from pg_class where relacl::text like '%{ROLE}%' union all "
        f"select from pg_proc where proacl::text like '%{ROLE}%' union all "
        f"select from pg_namespace where nspacl::text like '%{ROLE}%'"
    )
    assert found.rowcount == 0
    db.execute(FILE.read_bytes())
    assert db.execute(f"select has_table_privilege('{ROLE}', 'public.messages', 'select')").fetchone() == (
        True,
    )


def test_its_keys_can_be_made_worthless(database: Database):
    """By the line in docs/security.md; the file gives everything back."""
    [line] = re.findall(r"`(grant bridge_worker to [^`]*)`", (ROOT / "docs" / "security.md").read_text())
    db = database.connect()
    may = f"""
        select has_table_privilege('{ROLE}', 'public.messages', 'select'),
            has_function_privilege('{ROLE}', 'public.bridge_catalog()', 'execute'),
            pg_has_role('authenticator', '{ROLE}', 'member')
    """
    db.execute(line.encode())
    try:
        assert db.execute(may).fetchone() == (False, False, False)
        db.execute(FILE.read_bytes())
        assert db.execute(may).fetchone() == (True, True, True)
    finally:
        db.execute(f"grant {ROLE} to authenticator; revoke {ROLE} from current_user")
