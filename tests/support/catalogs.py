"""Catalogs for tests: tables, policies as ``pg_get_expr`` prints them, grants and roles, in a line each."""

from collections.abc import Iterable, Sequence

from bridge.authorization.catalog import (
    Catalog,
    Column,
    ForeignKey,
    Grant,
    NamedType,
    Policy,
    Reference,
    Role,
    Table,
)
from bridge.authorization.functions import Argument, Function
from bridge.authorization.lookup import LookupTable
from bridge.authorization.planset import PlanSet, compile_plans
from bridge.authorization.roster import Roster
from bridge.clock import ManualClock
from bridge.events import Principal, Row

ANN = "00000000-0000-0000-0000-00000000000a"
BOB = "00000000-0000-0000-0000-00000000000b"
CAT = "00000000-0000-0000-0000-00000000000c"

PUBLICATION = "supabase_realtime"

_SHORT = {"int": "int4", "bigint": "int8", "smallint": "int2", "boolean": "bool"}

CLAIM_READER = "select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> '{}'"
"""The heart of Supabase's own ``auth.uid()`` and ``auth.role()``."""


def column(name: str, type_: str, *, typtype: str = "b", collation: str | None = None) -> Column:
    """Return a column; a type without schema is a built-in one, one of ``public`` is an enum."""
    if "." not in type_:
        return Column(name, type_, f"pg_catalog.{_SHORT.get(type_, type_)}", typtype, collation=collation)
    return Column(name, type_, type_, "e" if typtype == "b" else typtype, collation=collation)


def columns(text: str) -> tuple[Column, ...]:
    """Return the columns of ``id uuid, body text``."""
    return tuple(column(*part.split()) for part in text.split(","))


def policy(
    using: str | None,
    *,
    name: str = "p",
    permissive: bool = True,
    roles: Sequence[str] = ("public",),
    command: str = "SELECT",
) -> Policy:
    """Return a policy; ``using`` is in the form that ``pg_get_expr`` prints."""
    return Policy(name, permissive, tuple(roles), command, using)


def table(
    name: str,
    columns_: str | tuple[Column, ...] = "id uuid, owner_id uuid",
    *policies: Policy | str,
    rls: bool = True,
    force_rls: bool = False,
    key: Sequence[str] = ("id",),
    grants: Sequence[Grant] = (Grant("authenticated"), Grant("anon")),
    owner: str = "postgres",
    kind: str = "r",
    publications: Sequence[str] = (PUBLICATION,),
    references: Sequence[tuple[str, str]] = (),
) -> Table:
    """Return a table of schema public with row-level security, readable by both client roles.

    ``references`` are foreign keys as (column, table of schema public), to that table's ``id``.
    """
    return Table(
        schema="public",
        name=name,
        kind=kind,
        owner=owner,
        rls=rls,
        force_rls=force_rls,
        replica_identity="d",
        publications=tuple(publications),
        primary_key=tuple(key),
        unique=(tuple(key),) if key else (),
        columns=columns(columns_) if isinstance(columns_, str) else columns_,
        foreign_keys=tuple(
            ForeignKey((own,), Reference("public", referenced, ("id",))) for own, referenced in references
        ),
        grants=tuple(grants),
        policies=tuple(policy(p) if isinstance(p, str) else p for p in policies),
    )


def function(
    name: str,
    arguments: str,
    returns: str,
    source: str,
    *,
    language: str = "sql",
    definer: bool = False,
    owner: str = "postgres",
    execute: Sequence[str] = ("public",),
    returns_set: bool = False,
    strict: bool = False,
) -> Function:
    """Return a function; ``name`` is qualified, ``arguments`` is like ``room uuid, level int4``."""
    schema, _, short = name.partition(".")
    return Function(
        schema=schema,
        name=short,
        returns=returns,
        returns_set=returns_set,
        language=language,
        strict=strict,
        security_definer=definer,
        owner=owner,
        source=source,
        arguments=tuple(Argument(*part.split()) for part in arguments.split(",") if part.strip()),
        execute=tuple(execute),
    )


ROLES = (
    Role("postgres", superuser=True, bypassrls=True),
    Role("anon", superuser=False, bypassrls=False),
    Role("authenticated", superuser=False, bypassrls=False),
    Role("service_role", superuser=False, bypassrls=True),
)

AUTH_FUNCTIONS = (
    function("auth.uid", "", "uuid", CLAIM_READER.format("sub")),
    function("auth.role", "", "text", CLAIM_READER.format("role")),
)


def catalog(
    *tables: Table,
    functions: Sequence[Function] = (),
    roles: Sequence[Role] = (),
    enums: Sequence[str] = (),
    auth: Sequence[Function] = AUTH_FUNCTIONS,
) -> Catalog:
    """Return a catalog with Supabase's roles and ``auth`` functions; ``enums`` are names in schema public."""
    return Catalog(
        version=1,
        fingerprint="",
        tables=tables,
        functions=(*auth, *functions),
        roles=(*ROLES, *roles),
        types=tuple(NamedType("public", name, "e") for name in enums),
    )


def planset(*tables: Table, watched: Sequence[str], functions: Sequence[Function] = ()) -> PlanSet:
    """Compile ``watched`` (names in schema public) for both client roles."""
    return compile_plans(
        catalog(*tables, functions=functions),
        watched=[f"public.{name}" for name in watched],
        roles=("authenticated", "anon"),
        now_us=lambda: 0,
    )


def user(user_id: str | None) -> Principal:
    """Return a signed-in user, or anon, without further claims."""
    return Principal(role="anon" if user_id is None else "authenticated", user_id=user_id)


def here(*users: str | None) -> Roster:
    """Return a roster of signed-in users, None among them as one without an id."""
    roster = Roster(linger_s=60.0, clock=ManualClock())
    for user_id in users:
        roster.add(Principal(role="authenticated", user_id=user_id))
    return roster


def put_rows(table: LookupTable, rows: Iterable[Row]) -> None:
    """Put rows into a look-up table, as if they had been loaded."""
    for row in rows:
        table.put(table.pack(row))
