"""What ``bridge_catalog()`` answers: tables, policies, grants, functions and roles of one database.

The values mirror the JSON that sql/ produces; the properties answer what composing a plan asks.
Source of the rules: Postgres manual, "Row Security Policies" and "Privileges".
"""

import re
from functools import cached_property

import msgspec

from bridge.authorization.functions import Function
from bridge.errors import SourceError
from bridge.events import VOLATILE_CLAIMS
from bridge.identifiers import in_quotes, quoted

_QUOTED_WORD = re.compile(r"(?<=['\"{,.])\w+(?=['\"},.])")


class Column(msgspec.Struct, frozen=True):
    """A column; ``base_type`` is qualified (``pg_catalog.uuid``), for a domain that of its base."""

    name: str
    type: str
    base_type: str
    typtype: str = "b"
    not_null: bool = False
    collation: str | None = None
    enum_elements: str | None = None
    """The enum's qualified name, for an array of an enum."""


class Grant(msgspec.Struct, frozen=True):
    """SELECT for one role; ``columns`` is None for the whole table."""

    role: str
    columns: tuple[str, ...] | None = None


class Policy(msgspec.Struct, frozen=True):
    """A policy that takes part in SELECT; ``using`` is what ``pg_get_expr`` prints.

    A table's policies are in the order of their names, as bytes.
    """

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
    """A foreign key of a table; where it is ``checked``, no row is there before the one that it names."""

    columns: tuple[str, ...]
    references: Reference
    checked: bool = False


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
    unique: tuple[tuple[str, ...], ...] = ()
    """Columns of each unique constraint or index that holds for every row, at any moment: the primary key's
    included, unless that is deferrable."""
    storage: str | None = None
    """Names the files of its rows: others after a TRUNCATE, which upstream does not tell."""
    inherits: bool = False
    """True if it is a parent or a child of another table, whose rows count as its own."""
    partition_of: str | None = None
    """Qualified name of the partitioned table that it is a part of."""
    partly_published: tuple[str, ...] = ()
    """Publications that leave out some changes: not all of insert, update and delete, or only some rows."""
    oid: int | None = None
    """Which table it is, whatever its name; None if the functions in the database are older."""
    journalled: bool = False
    """True if each change of it is appended to ``bridge.journal`` under its name."""
    journalled_by: str = ""
    """Names the trigger that appends them as it is: another text once it was off meanwhile."""
    skips_replicas: bool = False
    """True if that trigger is not enabled ``always``: writes of a replica role are not appended."""

    @cached_property
    def qualified(self) -> str:
        """``schema.name``, as :attr:`bridge.events.Change.table` has it."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """``schema.name`` as SQL has it, for statements that are advised."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def other_than_table(self) -> str | None:
        """What it is, if it is no table."""
        return {"v": "a view", "m": "a materialized view", "f": "a foreign table"}.get(self.kind)

    @property
    def key_advice(self) -> str:
        """The statement that gives it a primary key."""
        not_null = {column.name for column in self.columns if column.not_null}
        named = next((key for key in self.unique if not_null.issuperset(key)), None)
        if named is None and "id" not in self.by_name:
            return f"alter table {self.quoted} add column id bigint generated always as identity primary key"
        columns = ", ".join(map(in_quotes, named or ("id",)))
        return f"alter table {self.quoted} add primary key ({columns})"

    @cached_property
    def unique_keys(self) -> tuple[tuple[str, ...], ...]:
        """Columns of each key of which every value occurs at most once, where none of them is NULL."""
        return (self.primary_key, *self.unique) if self.primary_key else self.unique

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}


_WIDER = {
    "pg_catalog.int2": ("pg_catalog.int4", "pg_catalog.int8"),
    "pg_catalog.int4": ("pg_catalog.int8",),
    "pg_catalog.varchar": ("pg_catalog.text",),
    "pg_catalog.text": ("pg_catalog.varchar",),
}
"""Types by those whose values all are theirs as well."""


class Role(msgspec.Struct, frozen=True):
    """A database role, and all roles whose privileges it has: how a membership was granted decides that."""

    name: str
    superuser: bool
    bypassrls: bool
    member_of: tuple[str, ...] = ()


class NamedType(msgspec.Struct, frozen=True):
    """An enum (``kind`` e) or a domain (``kind`` d)."""

    schema: str
    name: str
    kind: str
    labels: tuple[str, ...] = ()


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """One database's catalog, as of one moment."""

    version: int
    fingerprint: str
    tables: tuple[Table, ...]
    functions: tuple[Function, ...]
    roles: tuple[Role, ...]
    types: tuple[NamedType, ...] = ()
    timezone: str = "UTC"

    @cached_property
    def has_journal(self) -> bool:
        """True if the journal is installed, whatever it has."""
        return "public.bridge_watch" in self.functions_by_name

    def ancestors(self, table: Table) -> list[Table]:
        """Return the partitioned tables that a table is a part of, the nearest first."""
        above = self.by_name.get(table.partition_of or "")
        return [] if above is None else [above, *self.ancestors(above)]

    def partitions(self, table: Table) -> list[Table]:
        """Return the parts of a partitioned table, and theirs."""
        return [part for part in self.tables if table in self.ancestors(part)]

    @property
    def in_utc(self) -> bool:
        """True if sessions have no other time zone than UTC, so that dates and days are those of UTC."""
        return self.timezone.upper() in ("UTC", "ETC/UTC", "GMT", "ETC/GMT")

    @cached_property
    def enum_labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each enum type, by qualified name."""
        return {f"{t.schema}.{t.name}": t.labels for t in self.types if t.kind == "e"}

    @cached_property
    def functions_by_name(self) -> dict[str, list[Function]]:
        """Functions by qualified name; several where it is overloaded."""
        found: dict[str, list[Function]] = {}
        for function in self.functions:
            found.setdefault(function.qualified, []).append(function)
        return found

    @cached_property
    def enums(self) -> frozenset[str]:
        """Qualified names of the enum types."""
        return frozenset(f"{t.schema}.{t.name}" for t in self.types if t.kind == "e")

    @cached_property
    def volatile_claims(self) -> frozenset[str]:
        """Volatile claims that a policy or function names, in quotes or in a path: it may read them."""
        policies = (policy.using or "" for table in self.tables for policy in table.policies)
        # The bridge's own name all of them, to take the worker's away.
        theirs = (f for f in self.functions if not f.qualified.startswith("public.bridge_"))
        texts = (*policies, *(function.source for function in theirs))
        words = (word for text in texts for word in _QUOTED_WORD.findall(text))
        return VOLATILE_CLAIMS.intersection(words)

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """Tables by qualified name, but for those that ``bridge_relation()`` does not find by theirs."""
        return {table.qualified: table for table in self.tables if "." not in table.schema}

    def table(self, schema: str, name: str) -> Table | None:
        """Return the table of this schema and name; None if there is none in :attr:`by_name`."""
        return None if "." in schema else self.by_name.get(f"{schema}.{name}")

    def fits(self, table: str, column: str, other: str, other_column: str) -> bool:
        """True if every value of a table's column can be one of another table's column.

        A policy may compare ``rooms.id::text`` with any text: that is no room's id then.
        """
        mine = self.by_name[table].by_name[column].base_type
        theirs = self.by_name[other].by_name[other_column].base_type
        return mine == theirs or theirs in _WIDER.get(mine, ())

    @cached_property
    def _roles(self) -> dict[str, Role]:
        return {role.name: role for role in self.roles}

    def acting_roles(self, role: str) -> frozenset[str]:
        """Return ``role`` and every role whose privileges it has, ``public`` included."""
        known = self._roles.get(role)
        return frozenset((role, "public", *(known.member_of if known is not None else ())))

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
