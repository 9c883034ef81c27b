"""What ``bridge_catalog()`` answers: tables, policies, grants, functions and roles of one database.

The values mirror the JSON that sql/ produces; the properties answer what composing a plan asks.
Source of the rules: Postgres manual, "Row Security Policies" and "Privileges".
"""

from functools import cached_property

import msgspec

from bridge.errors import SourceError


class Column(msgspec.Struct, frozen=True):
    """A column; ``base_type`` is qualified (``pg_catalog.uuid``), for a domain that of its base."""

    name: str
    type: str
    base_type: str
    typtype: str = "b"
    not_null: bool = False
    collation: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """SELECT for one role; ``columns`` is None for the whole table."""

    role: str
    columns: tuple[str, ...] | None = None


class Policy(msgspec.Struct, frozen=True):
    """A policy that takes part in SELECT; ``using`` is what ``pg_get_expr`` prints."""

    name: str
    permissive: bool
    roles: tuple[str, ...]
    command: str
    using: str | None = None


class Reference(msgspec.Struct, frozen=True):
    """The far side of a foreign key."""

    schema: str
    name: str
    columns: tuple[str, ...]


class ForeignKey(msgspec.Struct, frozen=True):
    """A foreign key of a table."""

    columns: tuple[str, ...]
    references: Reference


class Table(msgspec.Struct, frozen=True, dict=True):
    """A table or view, with everything that decides who may read its rows."""

    schema: str
    name: str
    kind: str
    owner: str
    rls: bool
    force_rls: bool
    replica_identity: str
    publications: tuple[str, ...]
    primary_key: tuple[str, ...]
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    grants: tuple[Grant, ...] = ()
    policies: tuple[Policy, ...] = ()
    schema_usage: tuple[str, ...] = ("public",)
    """Roles that may name what is in the schema."""

    @cached_property
    def qualified(self) -> str:
        """``schema.name``, as :attr:`bridge.events.Change.table` has it."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}


class Argument(msgspec.Struct, frozen=True):
    """A function's argument; ``mode`` i is IN."""

    name: str | None
    type: str
    mode: str = "i"


class Function(msgspec.Struct, frozen=True):
    """A function that a policy may call; ``execute`` are the roles that may call it."""

    schema: str
    name: str
    returns: str
    returns_set: bool
    language: str
    strict: bool
    security_definer: bool
    owner: str
    source: str
    arguments: tuple[Argument, ...] = ()
    execute: tuple[str, ...] = ()
    sql_body: str | None = None


class Role(msgspec.Struct, frozen=True):
    """A database role and the roles it is a member of."""

    name: str
    superuser: bool
    bypassrls: bool
    inherit: bool
    member_of: tuple[str, ...] = ()


class NamedType(msgspec.Struct, frozen=True):
    """An enum (``kind`` e) or a domain (``kind`` d)."""

    schema: str
    name: str
    kind: str


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """One database's catalog, as of one moment."""

    version: int
    fingerprint: str
    tables: tuple[Table, ...]
    functions: tuple[Function, ...]
    roles: tuple[Role, ...]
    types: tuple[NamedType, ...] = ()

    @cached_property
    def enums(self) -> frozenset[str]:
        """Qualified names of the enum types."""
        return frozenset(f"{t.schema}.{t.name}" for t in self.types if t.kind == "e")

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """Tables by qualified name."""
        return {table.qualified: table for table in self.tables}

    @cached_property
    def _roles(self) -> dict[str, Role]:
        return {role.name: role for role in self.roles}

    def acting_roles(self, role: str) -> frozenset[str]:
        """Return ``role`` and every role whose privileges it has, ``public`` included."""
        seen: set[str] = set()
        todo = [role]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            known = self._roles.get(name)
            if known is not None and known.inherit:
                todo += known.member_of
        return frozenset(seen | {"public"})

    def bypasses_rls(self, role: str, table: Table) -> bool:
        """True if policies of ``table`` do not bind ``role``: superuser, BYPASSRLS, owner without FORCE."""
        known = self._roles.get(role)
        if known is not None and (known.superuser or known.bypassrls):
            return True
        return table.owner in self.acting_roles(role) and not table.force_rls

    def may_name(self, role: str, table: Table) -> bool:
        """True if ``role`` may use the table's schema; policies that read the table do not need it."""
        acting = self.acting_roles(role)
        known = self._roles.get(role)
        if (known is not None and known.superuser) or "pg_read_all_data" in acting:
            return True
        return not acting.isdisjoint(table.schema_usage)

    def readable_columns(self, role: str, table: Table) -> frozenset[str] | None:
        """Return the columns that ``role`` may SELECT; None means all, the empty set means no access."""
        acting = self.acting_roles(role)
        known = self._roles.get(role)
        if (known is not None and known.superuser) or table.owner in acting or "pg_read_all_data" in acting:
            return None
        columns: set[str] = set()
        for grant in table.grants:
            if grant.role in acting:
                if grant.columns is None:
                    return None
                columns.update(grant.columns)
        return frozenset(columns)


_decoder = msgspec.json.Decoder(Catalog)


def decode_catalog(text: str | bytes) -> Catalog:
    """Decode what ``bridge_catalog()`` returned.

    Raises:
        SourceError: the text does not have the documented form; sql/ is of another version.
    """
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise SourceError(
            f"bridge_catalog() answered in a form this worker does not know ({error}): "
            "apply the files in sql/migrations that came with this version"
        ) from error
