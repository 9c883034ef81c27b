"""``bridge explain`` and ``bridge verify`` as a DBA runs them."""

import asyncio
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.stack import local_stack
from tests.support.worker import environment

ANN, BOB = str(uuid.uuid4()), str(uuid.uuid4())
D1, D2 = str(uuid.uuid4()), str(uuid.uuid4())

ROWS = f"""
insert into auth.users (id, email, raw_app_meta_data) values
    ('{ANN}', 'ann@example.org', '{{"role": "admin"}}'), ('{BOB}', 'bob@example.org', '{{}}');
insert into public.dialogs (id, owner_id, title) values ('{D1}', '{ANN}', 'one'), ('{D2}', '{BOB}', 'two');
insert into public.dialog_participants (dialog_id, user_id) values ('{D1}', '{BOB}');
insert into public.messages (dialog_id, sender_id, body) values ('{D1}', '{ANN}', 'x'), ('{D2}', '{BOB}', 'y');
create table public.reports (id int primary key, body text);
alter table public.reports enable row level security;
create policy admins on public.reports for select using (
    (auth.jwt() -> 'app_metadata' ->> 'role') = 'admin' or body ~ '^public');
insert into public.reports values (1, 'public one'), (2, 'secret');
create table public.cut (id int primary key, data jsonb, secret text);
alter table public.cut enable row level security;
revoke all on public.cut from anon, authenticated;
grant select (id, data) on public.cut to authenticated;
create policy mine on public.cut for select using ((data ->> 'user')::uuid = auth.uid());
insert into public.cut values (1, '{{"user": "{ANN}"}}', 'x'), (2, '{{"user": "nobody"}}', 'y');
create table public.parts (id int, room int, owner_id uuid, primary key (id, room)) partition by list (room);
create table public.parts_1 partition of public.parts for values in (1);
create table public.parts_2 partition of public.parts for values in (2);
alter table public.parts enable row level security;
create policy mine on public.parts for select using (owner_id = auth.uid());
insert into public.parts values (1, 1, '{ANN}'), (2, 2, '{BOB}');
create table public.times (id int primary key, t timestamptz);  -- a column that is called as the query calls the table
alter table public.times enable row level security;
create policy everybody on public.times for select using (t is not null);
insert into public.times values (1, now()), (2, null);
create table public.unheard (id int primary key, owner_id uuid);  -- in no publication
grant select on public.unheard to anon, authenticated;
insert into public.unheard values (1, '{ANN}');
create table public.loose (id int primary key, data jsonb, firm jsonb not null, ints int[]);
alter table public.loose enable row level security;
create policy empty on public.loose for select using (data is null or firm is null or 1 = any (ints));
insert into public.loose values (1, null, 'null', null), (2, 'null', 'null', '[0:0]={{1}}');
create table public.leaning (id int primary key);
alter table public.leaning enable row level security;
create policy by_unheard on public.leaning for select using (
    exists (select 1 from public.unheard u where u.id = leaning.id and u.owner_id = auth.uid()));
insert into public.leaning values (1), (2);
create table public.seats (team int, member text, primary key (team, member));  -- members that are no users of Auth
alter table public.seats enable row level security;
create policy mine on public.seats for select using (member = auth.uid()::text);
insert into public.seats values (1, '{ANN}'), (1, 'a, b'), (1, '42');
create table public."Mixed Rooms, with a name that is longer than half a terminal" (id int primary key);
alter table public."Mixed Rooms, with a name that is longer than half a terminal" enable row level security;
create view public.latest as select * from public.messages;
create table public.bare (a int);
create table public.spans (id int primary key, at timestamptz);
alter table public.spans enable row level security;
create policy lately on public.spans for select using (
    at > '2026-01-01 10:00+02' and at < now() - interval '1 day 2 hours' and id < 7);
insert into public.spans values (1, '2026-02-01'), (9, '2026-02-01');
create function public.is_known(u uuid) returns boolean language sql stable security definer set search_path = '' as
    $$ select exists (select from auth.users a where a.id = u) $$;
create table public.known (id uuid primary key);
alter table public.known enable row level security;
create policy known on public.known for select using (public.is_known(id));
"""


@pytest.fixture(scope="module")
def project() -> Iterator[LocalStack]:
    """The reference schema with rows, and a table whose policy memory cannot decide alone."""
    with local_stack() as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute(ROWS)
        yield stack


async def run(project: LocalStack, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it printed on both streams."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        *arguments,
        env={"COLUMNS": "160", **environment(project, **settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_verify_compares_the_watched_tables(project: LocalStack) -> None:
    """Every pair of row and user, in both directions; exit 0 without a difference."""
    code, out, _ = await run(project, "verify", SUPABASE_DB_URL=project.database_url)
    assert code == 0, out
    assert "public.messages" in out
    assert "0 differences; 2 of 2 policies (100 %) are decided in memory" in out


async def test_verify_says_what_is_asked_of_postgres(project: LocalStack) -> None:
    """A regular expression is not known here: Postgres decides, and the answers agree."""
    code, out, _ = await run(
        project, "verify", "--all", "--json", "--users", "5", SUPABASE_DB_URL=project.database_url
    )
    report: dict[str, Any] = json.loads(out)
    assert code == 0, report
    reports = next(table for table in report["tables"] if table["table"] == "public.reports")
    assert reports["asked"] > 0
    assert reports["visible"] > 0
    assert "operator ~" in reports["opaque"][0]
    assert not any(table["differences"] for table in report["tables"])


@pytest.mark.parametrize(
    ("table", "visible"),
    [
        pytest.param(
            "public.cut", 1, id="a row's value fails the whole query of a role that may read some columns"
        ),
        pytest.param("public.parts", 2, id="rows of two partitions are at the same place"),
        pytest.param("public.times", 4, id="a column is called as the query calls the table"),
    ],
)
async def test_verify_looks_at_each_row_by_itself(project: LocalStack, table: str, visible: int) -> None:
    """What Postgres shows of a row is not mistaken for what it shows of another."""
    code, out, _ = await run(project, "verify", table, "--json", SUPABASE_DB_URL=project.database_url)
    report: dict[str, Any] = json.loads(out)
    assert code == 0, report
    assert [found["visible"] for found in report["tables"]] == [visible]


async def test_verify_asks_where_the_worker_would(project: LocalStack) -> None:
    """Rows of a table whose changes do not arrive are not kept in memory, so they are not read from it."""
    code, out, _ = await run(
        project, "verify", "public.leaning", "--json", SUPABASE_DB_URL=project.database_url
    )
    (report,) = json.loads(out)["tables"]
    assert code == 0
    assert report["visible"] == 1
    assert report["asked"] > 0


async def test_names_are_those_of_sql_and_are_not_wrapped_in_a_pipe(project: LocalStack) -> None:
    """What one command prints another one takes, bridge_watch() as well."""
    name = 'public."Mixed Rooms, with a name that is longer than half a terminal"'
    code, out, _ = await run(project, "verify", name, COLUMNS="40", SUPABASE_DB_URL=project.database_url)
    assert code == 0
    [line] = [line for line in out.splitlines() if name in line]
    assert line.count("│") == 8
    for written in (name, name.replace("public", "PUBLIC")):
        _, out, _ = await run(project, "explain", written)
        assert out.startswith(f"{name} for authenticated")
        assert f"select public.bridge_watch('{name}')" in out
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute("select public.bridge_watch(%s)", [name])
        try:
            _, out, _ = await run(project, "explain", name, BRIDGE_TABLES=f"public.Messages, {name}")
            assert "bridge_watch" not in out
        finally:
            connection.execute("select public.bridge_unwatch(%s)", [name])


async def test_verify_skips_users_that_have_no_token(project: LocalStack) -> None:
    """Who is no uuid to begin with is said, and is no difference."""
    code, out, _ = await run(project, "verify", "public.seats", SUPABASE_DB_URL=project.database_url)
    assert code == 0, out
    assert "skipped: 2 users that rows of public.seats lead to, like '42', are no uuids" in out


async def test_explain_says_what_postgres_cannot_be_asked(project: LocalStack) -> None:
    """A helper that may read the row in its table: those who may have lost sight of it read again."""
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute(
            "create table public.vault (id int primary key); alter table public.vault enable row level security;"
            "create function public.opens(int) returns boolean language plpgsql as"
            " $$ begin execute 'select 1'; return true; end $$;"
            "create policy p on public.vault using (public.opens(id))"
        )
    code, out, _ = await run(project, "explain", "public.vault", SUPABASE_DB_URL=project.database_url)
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute("drop table public.vault; drop function public.opens(int)")
    assert code == 0
    assert "cannot be asked who saw a row before its DELETE or UPDATE" in out


@pytest.mark.parametrize(
    ("helper", "seen"),
    [
        ("language sql as $$ select exists (select from public.gone g where g.id = n) $$", "does not see"),
        (
            "language sql security definer as $$ select exists (select from public.gone g where g.id = n) $$",
            "sees",
        ),
        (
            "language plpgsql as $$ begin return exists (select from public.gone g where g.id = n); end $$",
            "sees",
        ),
    ],
)
async def test_a_helper_that_reads_a_dropped_table_shows_nobody_a_row(
    project: LocalStack, helper: str, seen: str
) -> None:
    """As in Postgres, which fails where it comes to it, and comes to one in SQL before it looks at any row."""
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute(
            "create table public.gone (id int); create table public.kept (id int primary key, owner_id uuid);"
            f"create function public.lost(n int) returns boolean stable {helper};"
            "alter table public.kept enable row level security;"
            "create policy p on public.kept using (owner_id = auth.uid() or public.lost(id));"
            f"insert into public.kept values (1, '{ANN}'), (2, null); drop table public.gone"
        )
    settings = {"SUPABASE_DB_URL": project.database_url}
    try:
        verified = await run(project, "verify", "public.kept", **settings)
        explained = await run(project, "explain", "public.kept", "--user", ANN, "--row", "1", **settings)
    finally:
        with psycopg.connect(project.database_url, autocommit=True) as connection:
            connection.execute("drop table public.kept; drop function public.lost(int)")
    says = "table public.gone does not exist, so that it fails in Postgres, and nobody sees a row by it"
    assert f'asks Postgres because policy "p" on public.kept: function public.lost(): {says}' in explained[1]
    assert explained[1].rstrip().endswith(f"=> {seen} the row")
    assert verified[0] == 0, verified[1]


async def test_verify_finds_a_difference(project: LocalStack) -> None:
    """A function that answers each time something else cannot agree: exit 1, with the row and the user."""
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute(
            "create table public.dice (id int primary key); alter table public.dice enable row level security;"
            "insert into public.dice select generate_series(1, 60);"
            "create function public.toss() returns boolean language plpgsql as"
            " $$ begin perform 1; return random() < 0.5; end $$;"
            "create policy p on public.dice using (public.toss())"
        )
    code, out, _ = await run(project, "verify", "public.dice", SUPABASE_DB_URL=project.database_url)
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute("drop table public.dice; drop function public.toss()")
    assert code == 1
    assert "the bridge says" in out


@pytest.mark.parametrize("direct", [True, False])
async def test_explain_says_the_policy_and_the_branch_that_decides(
    project: LocalStack, *, direct: bool
) -> None:
    """In words, with what is read, the cost, and each branch's answer; over either way to the database."""
    settings = {"SUPABASE_DB_URL": project.database_url} if direct else {}
    code, out, err = await run(project, "explain", "public.dialogs", "--user", BOB, "--row", D1, **settings)
    assert code == 0, err
    assert "dialogs.owner_id is the user" in out
    assert "reads from memory: public.dialog_participants (dialog_id, user_id)" in out
    assert "as many look-ups as users see the row" in out
    assert "no   dialogs.owner_id is the user" in out
    assert "yes  there is a public.dialog_participants row" in out
    assert out.rstrip().endswith("=> sees the row")


async def test_explain_names_the_tables_whose_changes_reach_everybody(project: LocalStack) -> None:
    """A row says whom it concerns, or all who are connected read again when it changes."""
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute(
            "create table public.docs (id int primary key, owner_id uuid, editors uuid[]);"
            "create table public.kinds (id int primary key, shown boolean);"
            "create table public.remarks (id int primary key, doc_id int, kind_id int);"
            "alter table public.remarks enable row level security;"
            "alter publication supabase_realtime add table public.docs, public.kinds, public.remarks;"
            "create policy p on public.remarks using (exists (select from public.docs d where d.id = doc_id"
            " and (d.owner_id = auth.uid() or auth.uid() = any (d.editors))));"
            "create policy r on public.remarks as restrictive using"
            " (kind_id in (select k.id from public.kinds k where k.shown))"
        )
    code, out, err = await run(project, "explain", "public.remarks")
    with psycopg.connect(project.database_url, autocommit=True) as connection:
        connection.execute("drop table public.remarks, public.docs, public.kinds")
    assert code == 0, err
    assert "cost per change of public.kinds: every connected user reads again" in out
    assert "cost per change of public.docs" not in out


async def test_explain_says_what_is_asked_of_postgres(project: LocalStack) -> None:
    """The reason, and Postgres's own answer for the row."""
    code, out, _ = await run(project, "explain", "public.reports", "--user", BOB, "--row", "1")
    assert code == 0
    assert "asks Postgres because policy" in out
    assert "Postgres was asked and says yes" in out
    _, hidden, _ = await run(project, "explain", "public.reports", "--role", "anon", "--row", "2")
    assert hidden.rstrip().endswith("=> does not see the row")


async def test_explain_without_a_user_says_for_whom_it_answers(project: LocalStack) -> None:
    """Everybody with the role where the user does not matter, else nobody."""
    _, out, _ = await run(project, "explain", "public.unheard", "--row", "1")
    assert "everybody with role authenticated and row 1:" in out
    assert out.rstrip().endswith("=> sees the row")
    _, out, _ = await run(project, "explain", "public.seats", "--row", "1,42")
    assert out.rstrip().endswith("who sees a row depends on the user: give --user as well, or --role anon")


async def test_explain_says_what_keeps_the_table_from_being_relayed(project: LocalStack) -> None:
    """With the statement that mends it, if there is one."""
    _, out, _ = await run(project, "explain", "public.unheard")
    assert "cannot be relayed: public.unheard is not in publication" in out
    assert "select public.bridge_watch('public.unheard'), and restart the worker" in out
    _, out, _ = await run(project, "explain", "public.unheard", BRIDGE_CAPTURE="tables")
    assert "alter publication supabase_realtime add table public.unheard" in out
    code, _, err = await run(
        project, "explain", "public.unheard", BRIDGE_CAPTURE="both", SUPABASE_DB_URL=project.database_url
    )
    assert (code, "choose auto or tables or journal" in err) == (2, True)
    _, out, _ = await run(project, "explain", "public.bare")
    assert "cannot be relayed: public.bare has no primary key" in out
    assert "alter table public.bare add column id bigint" in out
    for table in ("public.known", "auth.users"):
        _, out, _ = await run(project, "explain", table)
        assert "auth.users is a table of Supabase Auth" in out
        assert "add table auth.users" not in out
        assert "alter table auth.users" not in out


async def test_explain_writes_times_and_marks_each_part(project: LocalStack) -> None:
    """As a person would, in UTC; one part of a condition can be untrue where another is true."""
    code, out, err = await run(project, "explain", "public.spans", "--row", "9")
    assert code == 0, err
    assert "yes    spans.at > 2026-01-01 08:00 UTC" in out
    assert "yes    spans.at < now - 1 day 2 hours" in out
    assert "no     spans.id < 7" in out


@pytest.mark.parametrize("direct", [True, False])
async def test_explain_takes_any_key(project: LocalStack, *, direct: bool) -> None:
    """Of several columns, and with commas and blanks in a value."""
    settings = {"SUPABASE_DB_URL": project.database_url} if direct else {}
    for row in ("1,42", '{"team": 1, "member": "a, b"}'):
        code, out, err = await run(
            project, "explain", "public.seats", "--role", "anon", "--row", row, **settings
        )
        assert code == 0, err
        assert out.rstrip().endswith("=> does not see the row")


async def test_explain_says_what_json_does_not_tell(project: LocalStack) -> None:
    """Of the columns that policies read; the row in the table decides."""
    _, out, _ = await run(project, "explain", "public.loose", "--user", BOB, "--row", "1")
    assert "the JSON of data does not always tell the value" in out
    assert "Postgres was asked and says yes" in out
    code, _, _ = await run(project, "verify", "public.loose", SUPABASE_DB_URL=project.database_url)
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("explain", "public.nothing"), {}, "table public.nothing does not exist"),
        (("explain", "public.dialogs", "--row", ANN, "--user", ANN), {}, "public.dialogs has no row"),
        (("explain", "public.dialogs", "--row", "a,b", "--user", ANN), {}, "'a,b' is no uuid"),
        (
            ("explain", "public.reports", "--row", "99999999999", "--role", "anon"),
            {},
            "none of its column's type",
        ),
        (("explain", "public.seats", "--row", "1,a, b"), {}, "or as JSON like"),
        (
            ("explain", "public.bare", "--row", "1"),
            {},
            "has no primary key, so none of its rows can be named",
        ),
        (("explain", "public.latest"), {}, "public.latest is a view"),
        (("verify", "public.latest"), {"SUPABASE_DB_URL": "of the project"}, "public.latest is a view"),
        (("verify", "--all", "public.dialogs"), {}, "leave out public.dialogs, or --all"),
        (("verify", "--rows", "0"), {}, "0 is not in the range"),
        (("verify", "--rows", "-1"), {}, "-1 is not in the range"),
        (("verify", "--users", "many"), {}, "'many' is not a valid integer"),
        (("verify",), {}, "SUPABASE_DB_URL is not set"),
        (("verify",), {"SUPABASE_DB_URL": "postgresql://127.0.0.1:1/x"}, "cannot be reached"),
        (("verify",), {"SUPABASE_DB_URL": "postgresql://me:S3cret%zz@127.0.0.1/x"}, "percent-encoded"),
        (("explain", "public.dialogs"), {"SUPABASE_DB_URL": "http://S3cret"}, "is no connection string"),
    ],
)
async def test_bad_input_has_a_clear_answer(
    project: LocalStack, arguments: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    """One line that says what is so, exit 2."""
    if settings.get("SUPABASE_DB_URL") == "of the project":
        settings = {"SUPABASE_DB_URL": project.database_url}
    code, _, err = await run(project, *arguments, **settings)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert "S3cret" not in err
