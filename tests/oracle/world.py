"""A generated database inside a transaction that is rolled back, and what Postgres answers under RLS."""

import json
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
import psycopg

from bridge.authorization.authorizer import Authorizer
from bridge.authorization.loader import Settings, load
from bridge.authorization.roster import Roster
from bridge.clock import ManualClock
from bridge.events import Change, Principal, Row, Seen
from tests.oracle.grammar import USERS, ChangeSpec, TableSpec, WorldSpec

T = TypeVar("T")


def principal(user: str | None, **claims: Any) -> Principal:
    """Return a principal as a verified token makes it: its claims say who it is."""
    role = "anon" if user is None else "authenticated"
    who = {"role": role} if user is None else {"role": role, "sub": user}
    return Principal(role=role, user_id=user, claims_json=json.dumps({**who, **claims}, sort_keys=True))


PRINCIPALS = (
    principal(
        USERS[0], email="a", app_metadata={"word": "a", "org": USERS[1], "level": 2, "words": ["a", "b"]}
    ),
    principal(USERS[1], email="B", app_metadata={"word": "b", "org": None, "words": []}),
    principal(USERS[2], app_metadata={"word": None, "level": "many", "org": "none"}),
    principal(USERS[3]),
    principal(None),
)

SEEN = """
create schema oracle;
create function oracle.seen(principals jsonb, queries jsonb) returns jsonb language plpgsql as $function$
declare
    principal jsonb;
    query jsonb;
    found jsonb;
    answer jsonb := '[]';
begin
    for principal in select * from jsonb_array_elements(principals) loop
        for query in select * from jsonb_array_elements(queries -> (principal ->> 'role')) loop
            begin
                perform set_config('request.jwt.claims', principal ->> 'claims', true);
                perform set_config('role', principal ->> 'role', true);
                execute query #>> '{}' into found;
            exception when others then
                found := to_jsonb(sqlstate);
            end;
            perform set_config('role', 'none', true);
            answer := answer || jsonb_build_array(found);
        end loop;
    end loop;
    return answer;
end
$function$;
"""
"""Runs each query as each principal; answers the rows, or the SQLSTATE of the failure, in that order."""

FAILURES = frozenset({"42501", "42P17", "54001"})
"""What a SELECT may fail with: missing privilege, and policies in a circle, also one by a function (stack depth).  Nobody sees
anything then."""


VALUE_FAILURES = ("0A", "20", "21", "22", "2F", "P0", "42704")
"""Classes of failures that a row's values may cause: a cast of a text that is no uuid, two rows where
one is expected, RAISE EXCEPTION, a CASE statement without the case, a function without RETURN, a setting that
is not there."""


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits: everything here is in this process."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the coroutine's own result
    raise AssertionError("the coroutine waited")


def principal_json(principal: Principal) -> dict[str, str]:
    return {"role": principal.role, "claims": principal.claims_json}


class World:
    """Tables that exist in the connection's current transaction.

    Implements :class:`bridge.authorization.loader.Database` with the project's own SQL functions.

    Args:
        connection: A superuser's.
        tables: The tables.
        principals: Who asks.
        alone: True where no policy reads a table that may hold a value which fails: rows are then asked
            about alone in their table.  A WHERE that names the row spares the policies that it implies.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        tables: Sequence[TableSpec],
        principals: Sequence[Principal] = PRINCIPALS,
        *,
        alone: bool = False,
    ) -> None:
        self.tables = list(tables)
        self.principals = tuple(principals)
        self._connection = connection
        self._alone = alone
        self._queries: dict[str, list[str]] = {}

    def create(self, spec: WorldSpec) -> None:
        """Create the tables and fill them."""
        self.execute(";\n".join(spec.statements))
        for table, rows in zip(spec.tables, spec.rows, strict=True):
            if rows:
                self.insert(table, rows)

    def insert(self, table: TableSpec, rows: Sequence[Row]) -> None:
        """Insert ``rows``, which nobody is told of."""
        self._one(
            f"with new as (insert into {table.qualified} select * from "
            f"jsonb_populate_recordset(null::{table.qualified}, %s) returning 1) select count(*) from new",
            json.dumps(rows),
        )

    def execute(self, statement: str) -> None:
        """Run one statement, or several, as the superuser."""
        self._connection.execute(statement)
        self._queries.clear()

    async def catalog(self) -> str:
        return str(self._one("select public.bridge_catalog()"))

    async def catalog_marker(self) -> str:
        return ""

    async def rows(
        self, table: str, *, after: Row | None, max_rows: int, columns: Sequence[str] | None
    ) -> list[Row]:
        answer = self._one(
            "select public.bridge_rows(%s, %s, %s, %s)",
            table,
            None if after is None else json.dumps(after),
            max_rows,
            None if columns is None else list(columns),
        )
        found: list[Row] = json.loads(answer)
        return found

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        asked = [principal_json(p) for p in principals]
        answer = self._one(
            "select public.bridge_visible(%s, %s, %s)", table, json.dumps(list(rows)), json.dumps(asked)
        )
        return msgspec.json.decode(answer, type=Seen)

    async def row(self, table: str, key: Row) -> Row | None:
        answer = self._one("select public.bridge_row(%s, %s)", table, json.dumps(key))
        return None if answer is None else json.loads(answer)

    def load(self, watched: Sequence[str], *, dialog_column: str, remembered_rows: int = 1000) -> Authorizer:
        """Build the stage as the service does, with all principals on the roster."""
        roster = Roster(linger_s=60.0, clock=ManualClock())
        for principal in self.principals:
            roster.add(principal)
        settings = Settings(
            tables=tuple(watched),
            dialog_table=watched[0],
            message_table=watched[1],
            dialog_column=dialog_column,
            roles=("authenticated", "anon"),
            remembered_rows=remembered_rows,
        )
        # The database's time stands still in a transaction, so this clock does, too.
        return finish(load(self, settings, roster, ManualClock(at=self._one("select now()"))))

    def table_rows(self, table: TableSpec) -> list[Row]:
        """Return all rows, as ``to_jsonb`` prints them, in primary-key order."""
        key = ", ".join(f"t.{column}" for column in table.key)
        found: list[Row] = self._one(
            f"select coalesce(jsonb_agg(to_jsonb(t) order by {key}), '[]') from {table.qualified} t"
        )
        return found

    def seen(
        self, tables: Sequence[TableSpec], principals: Sequence[Principal] | None = None
    ) -> dict[tuple[Principal, str], list[Row]]:
        """Return what each principal's ``select`` answers: the columns it may read of the rows it sees.

        A select that fails, because of a privilege or of policies in a circle, shows nothing.  One that
        fails because of a value (class 22) is asked again row by row: the others are seen.
        """
        principals = self.principals if principals is None else principals
        queries = {role: [self._query(role, table) for table in tables] for role in ("authenticated", "anon")}
        answers = self._one(
            "select oracle.seen(%s, %s)",
            json.dumps([principal_json(p) for p in principals]),
            json.dumps(queries),
        )
        pairs = [(principal, table) for principal in principals for table in tables]
        truth: dict[tuple[Principal, str], list[Row]] = {}
        for (principal, table), answer in zip(pairs, answers, strict=True):
            if isinstance(answer, str) and answer not in FAILURES:
                assert answer.startswith(VALUE_FAILURES), f"{table.name}: SQLSTATE {answer}"
                truth[principal, table.qualified] = canonical(self._row_by_row(table, principal))
            else:
                truth[principal, table.qualified] = canonical(answer) if isinstance(answer, list) else []
        return truth

    def _row_by_row(self, table: TableSpec, principal: Principal) -> list[Row]:
        query = self._query(principal.role, table)
        rows = self.table_rows(table)
        keys = [" and ".join(f"t.{c} = {row[c]!r}" for c in table.key) for row in rows]
        if self._alone:
            return [row for key in keys for row in self._alone_in(table, principal, query, key)]
        queries = {principal.role: [f"{query} where {key}" for key in keys]}
        with self._connection.transaction(force_rollback=True):
            # Each row has to be named, also where the role may not read the key.
            self._connection.execute(
                f"grant select ({', '.join(table.key)}) on {table.qualified} to {principal.role}"
            )
            answers = self._one(
                "select oracle.seen(%s, %s)", json.dumps([principal_json(principal)]), json.dumps(queries)
            )
        return [row for answer in answers if isinstance(answer, list) for row in answer]

    def _alone_in(self, table: TableSpec, principal: Principal, query: str, key: str) -> list[Row]:
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(f"delete from {table.qualified} as t where not ({key})")
            asked = json.dumps([principal_json(principal)]), json.dumps({principal.role: [query]})
            (answer,) = self._one("select oracle.seen(%s, %s)", *asked)
        return answer if isinstance(answer, list) else []

    def make(self, spec: ChangeSpec, *, is_whole: bool = False) -> Change | None:
        """Make the change and return it as upstream would send it; None if it does not apply.

        Args:
            spec: The change.
            is_whole: True to have the whole row before it, as the journal has it.
        """
        try:
            with self._connection.transaction():
                return self._made(spec, is_whole=is_whole)
        except psycopg.errors.ForeignKeyViolation:
            return None

    def _made(self, spec: ChangeSpec, *, is_whole: bool) -> Change | None:
        table = self.tables[spec.table]
        rows = self.table_rows(table)
        given = f"jsonb_populate_record(null::{table.qualified}, %s)"
        if spec.action == "INSERT":
            names = ", ".join(spec.values)
            new = self._one(
                f"insert into {table.qualified} as t ({names}) select {names} from {given} "
                "on conflict do nothing returning to_jsonb(t)",
                json.dumps(spec.values),
            )
            return None if new is None else self._change(table, "INSERT", new=new, old=None)
        if not rows:
            return None
        before = rows[spec.row % len(rows)]
        where = " and ".join(f"t.{column} = %s" for column in table.key)
        key = [before[column] for column in table.key]
        if spec.action == "DELETE":
            self._one(f"delete from {table.qualified} as t where {where} returning 1", *key)
            new = None
        else:
            moved = {**before, **spec.values}
            if any(row is not before and all(row[c] == moved[c] for c in table.key) for row in rows):
                return None  # the primary key is taken
            assigned = ", ".join(f"{name} = g.{name}" for name in spec.values)
            new = self._one(
                f"update {table.qualified} as t set {assigned} from {given} g where {where} "
                "returning to_jsonb(t)",
                json.dumps(spec.values),
                *key,
            )
        full = is_whole or (spec.full_old and not (spec.action == "DELETE" and table.rls))
        old = before if full else {column: before[column] for column in table.key}
        return self._change(table, spec.action, new=new, old=old)

    def _change(self, table: TableSpec, action: Any, *, new: Row | None, old: Row | None) -> Change:
        return Change(
            table=table.qualified,
            action=action,
            new=new,
            old=old,
            commit_timestamp="2026-01-01T10:00:00.000Z",
            received_s=0.0,
        )

    def _query(self, role: str, table: TableSpec) -> str:
        queries = self._queries.setdefault(role, [])
        if len(queries) != len(self.tables):
            queries[:] = [self._select(role, t) for t in self.tables]
        return queries[[t.name for t in self.tables].index(table.name)]

    def _select(self, role: str, table: TableSpec) -> str:
        readable = self._one(
            "select array_agg(c) filter (where has_column_privilege(%s, %s, c, 'select')) "
            "from unnest(%s::text[]) c",
            role,
            table.qualified,
            list(table.columns),
        )
        pairs = ", ".join(f"'{column}', t.{column}" for column in readable or [])
        return f"select coalesce(jsonb_agg(jsonb_build_object({pairs})), '[]') from {table.qualified} t"

    def _one(self, query: str, *parameters: Any) -> Any:
        row = self._connection.execute(query, parameters or None).fetchone()
        return None if row is None else row[0]


def canonical(rows: Sequence[Row]) -> list[Row]:
    """Return ``rows`` in an order of their own, to compare without one."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def project(row: Row, columns: frozenset[str] | None) -> Row:
    """Return the columns of ``row`` that a role may read."""
    return row if columns is None else {name: value for name, value in row.items() if name in columns}
