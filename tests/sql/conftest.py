"""A database with the migrations, and ways to act as somebody in it."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg
import pytest

from bridge.local.postgres import EmbeddedPostgres
from tests.support.stack import embedded_postgres, migrate

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A Postgres with Supabase's roles and auth schema, without the migrations."""
    with embedded_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def migrated(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same, with the migrations."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        migrate(connection)
    return postgres


@pytest.fixture
def connection(migrated: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A superuser's connection whose work is rolled back; with the module's SCHEMA, if it has one."""
    with psycopg.connect(migrated.url()) as one:
        one.execute(getattr(request.module, "SCHEMA", ""))
        yield one
        one.rollback()


@pytest.fixture
def fresh(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """A database of its own, called scratch, with Supabase's schema and nothing else."""
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("drop database if exists scratch with (force)")
        admin.execute("create database scratch")
    postgres.bootstrap("scratch")
    with psycopg.connect(postgres.url("scratch"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(postgres: EmbeddedPostgres, fresh: Connection) -> str:
    """Its connection string."""
    return postgres.url("scratch")


def start_migrate(url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `bridge migrate` on a database."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "SUPABASE_", "PG"))}
    return subprocess.Popen(
        [sys.executable, "-m", "bridge", "migrate", *arguments],
        env={**environ, "SUPABASE_DB_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bridge_migrate(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bridge migrate` on a database."""
    process = start_migrate(url, *arguments)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Actors:
    """One dialog with its owner, a participant and a message of each; and a stranger with one of their own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.owner, self.participant, self.stranger = (str(uuid.uuid4()) for _ in range(3))
        self.dialog, self.other_dialog = str(uuid.uuid4()), str(uuid.uuid4())
        self.owners_message, self.participants_message = str(uuid.uuid4()), str(uuid.uuid4())
        run = connection.execute
        run(
            "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'a'), (%s, %s, 'b')",
            (self.dialog, self.owner, self.other_dialog, self.stranger),
        )
        run(
            "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
            (self.dialog, self.participant),
        )
        run(
            "insert into public.messages (id, dialog_id, sender_id, body) values (%s, %s, %s, 'x'), (%s, %s, %s, 'y')",
            (
                self.owners_message,
                self.dialog,
                self.owner,
                self.participants_message,
                self.dialog,
                self.participant,
            ),
        )

    @contextmanager
    def acting(self, user: str | None, role: str = "authenticated") -> Iterator[Connection]:
        """Act as ``user`` until the end of the block; what was done stays."""
        claims = json.dumps({"role": role} | ({} if user is None else {"sub": user}))
        self.connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        self.connection.execute(f"set local role {role}")
        try:
            yield self.connection
        finally:
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
                self.connection.execute("reset role")

    def affected(
        self, user: str | None, sql: str, *parameters: object, role: str = "authenticated"
    ) -> int | str:
        """Return how many rows ``sql`` reads or writes as ``user``, or the SQLSTATE it fails with; nothing stays."""
        try:
            with self.connection.transaction(force_rollback=True), self.acting(user, role):
                return self.connection.execute(sql, parameters).rowcount
        except psycopg.Error as error:
            return str(error.sqlstate)


@pytest.fixture
def actors(migrated: EmbeddedPostgres) -> Iterator[Actors]:
    """Owner, participant, stranger and their rows, in a transaction that is rolled back."""
    with psycopg.connect(migrated.url()) as connection:
        yield Actors(connection)
        connection.rollback()


@pytest.fixture(scope="module")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with the migrations, to copy."""
    name = "migrated"
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
    postgres.bootstrap(name)
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        migrate(connection)
    return name


class Database:
    """A database of a test's own, and connections to it that end with the test."""

    def __init__(self, postgres: EmbeddedPostgres, name: str, stack: ExitStack) -> None:
        self.postgres = postgres
        self.name = name
        self._stack = stack

    def connect(self, *, autocommit: bool = True) -> Connection:
        """Return a new connection as the superuser."""
        return self._stack.enter_context(
            closing(psycopg.connect(self.postgres.url(self.name), autocommit=autocommit))
        )


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A migrated database in which a test may commit."""
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres.create_database(name, template=template)
    with ExitStack() as stack:
        yield Database(postgres, name, stack)
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def db(database: Database) -> Connection:
    """A connection to it that commits each statement."""
    return database.connect()
