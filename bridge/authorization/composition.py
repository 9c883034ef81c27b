"""From a table's grants and policies to the one condition that decides what a role sees.

Source of the rules: Postgres manual, "Row Security Policies" and CREATE POLICY; which policies
count is decided as ``get_row_security_policies`` in ``rewrite/rowsecurity.c`` does.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
import structlog

from bridge.authorization.algebra import FALSE, TRUE, Expr, Fails, Opaque
from bridge.authorization.capturing import Capturing, unheard
from bridge.authorization.catalog import Catalog, Policy, Table
from bridge.authorization.expressions import all_of, any_of, failure, opaque, rebuild
from bridge.authorization.failing import claims_that_fail
from bridge.authorization.folding import folded_qualifier
from bridge.authorization.normalization import Normalizer
from bridge.authorization.translation import Context, Translator
from bridge.authorization.types import column_type, plain
from bridge.errors import CompileError, QueryFailsError
from bridge.identifiers import in_quotes

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What one role sees of one table.

    Attributes:
        table: Qualified name.
        role: Database role.
        condition: True for the rows that are visible; the row is in scope 0.
        columns: Columns the role may SELECT; None means all.
        all_columns: All columns of the table.
        read_columns: Those of them that its policies name, whoever decides.
        scopes: Number of scopes that ``condition`` uses.
        policies: Number of policies that count for the role.
        asked: Number of those that Postgres has to be asked about.
        claims: What is computed of the claims alone, and may fail: then the whole query may.
        because: Why nobody of the role sees any row, for people; None where the policies decide.
    """

    table: str
    role: str
    condition: Expr
    columns: frozenset[str] | None
    all_columns: frozenset[str]
    read_columns: frozenset[str] = frozenset()
    scopes: int
    policies: int = 0
    asked: int = 0
    claims: tuple[Expr, ...] = ()
    because: str | None = None


def compose(catalog: Catalog, table: Table, role: str, capturing: Capturing | None = None) -> Sight:
    """Return what ``role`` sees of ``table``; the parts that only Postgres can answer are opaque.

    Args:
        catalog: The database's catalog.
        table: The table.
        role: The role.
        capturing: How changes of a table have to arrive for its rows to be kept in memory; None where rows
            are only looked at once.
    """
    return _Composer(catalog, role, capturing).sight(table)


def policy_conditions(
    catalog: Catalog, table: Table, role: str, capturing: Capturing | None = None
) -> list[tuple[Policy, Expr | str]]:
    """Return each policy of ``table`` that counts for ``role``, with what it asks of a row.

    Where Postgres would fail every SELECT instead, the reason stands in its place.
    """
    return list(_Composer(catalog, role, capturing).conditions(table))


def check_trackable(catalog: Catalog, table: Table, capturing: Capturing | None) -> None:
    """Refuse a look-up table whose rows could not be kept current in memory.

    Raises:
        CompileError: it has no usable primary key, shares its rows, or does not arrive.
    """
    if table.inherits:
        raise CompileError(f"{table.qualified} shares its rows with tables that inherit")
    if not table.primary_key:
        raise CompileError(f"{table.qualified} has no primary key to keep its rows by: {table.key_advice}")
    if table.primary_key not in table.unique:
        # Rows may exchange their keys: of two changes the first would put one in the other's place.
        raise CompileError(
            f"{table.qualified} has a deferrable primary key, which two rows may have for a moment"
        )
    for column in table.primary_key:
        type_ = column_type(table.by_name[column])
        if type_.startswith("other:") or type_.endswith("[]"):
            # Rows are told apart by their JSON, which upstream may write in another way than to_jsonb.
            raise CompileError(f"{table.qualified} has a primary key of type {plain(type_)}")
    missing = None if capturing is None else unheard(catalog, table, capturing)
    if missing is not None:
        raise CompileError(f"{table.quoted} is {missing}")


class _Composer:
    def __init__(self, catalog: Catalog, role: str, capturing: Capturing | None) -> None:
        self._catalog = catalog
        self._role = role
        self._expanding: list[str] = []
        self._scopes = itertools.count(1)
        self._scopes_used = 1
        self._normalizer = Normalizer(lambda name: catalog.by_name[name].unique_keys)
        self._translator = Translator(
            Context(
                catalog,
                role=role,
                row_filter=self._inner,
                new_scope=self._new_scope,
                trackable=lambda table: check_trackable(catalog, table, capturing),
            )
        )

    def sight(self, table: Table) -> Sight:
        columns = self._catalog.readable_columns(self._role, table)
        condition: Expr = FALSE
        claims: tuple[Expr, ...] = ()
        because = None
        if columns is not None and not columns:
            because = f"role {self._role} has no SELECT privilege on {table.qualified}"
        elif not self._catalog.may_name(self._role, table):
            because = f"role {self._role} has no USAGE on schema {table.schema}"
        else:
            try:
                condition = self._visible(table, 0, self._role)
            except QueryFailsError as error:
                because = str(error)
            else:
                failed = failure([condition])
                if failed is not None:
                    condition, because = FALSE, failed.reason
                claims = claims_that_fail(condition)
                condition = self._normalizer.qualifier(condition)
        return Sight(
            table=table.qualified,
            role=self._role,
            condition=condition,
            columns=columns,
            all_columns=frozenset(table.by_name),
            read_columns=_named(table, self._counting(table, self._role)),
            scopes=self._scopes_used,
            policies=len(self._counting(table, self._role)),
            asked=len({part.reason.partition(": ")[0] for part in opaque(condition)}),
            claims=claims,
            because=because,
        )

    def conditions(self, table: Table) -> Iterator[tuple[Policy, Expr | str]]:
        """Yield each policy that counts, with what it asks of a row, or why the query fails."""
        for policy in self._counting(table, self._role):
            self._expanding.append(table.qualified)
            try:
                expr = self._using(policy, table, 0, self._role)
                failed = failure([expr])
                yield policy, failed.reason if failed is not None else self._normalizer.qualifier(expr)
            except QueryFailsError as error:
                yield policy, str(error)
            finally:
                self._expanding.pop()

    def _counting(self, table: Table, acting: str) -> list[Policy]:
        roles = self._catalog.acting_roles(acting)
        return [
            p for p in table.policies if p.command in ("SELECT", "ALL") and p.using and roles & set(p.roles)
        ]

    def _new_scope(self) -> int:
        self._scopes_used += 1
        return next(self._scopes)

    def _inner(self, table: Table, scope: int, used: frozenset[str], acting: str) -> Expr:
        """Return what ``acting`` sees of a table that a policy reads; it needs SELECT on it as well."""
        readable = self._catalog.readable_columns(acting, table)
        # Without a named column (`select 1 from t`) Postgres wants the privilege on any one of them.
        if readable is not None and (not readable or not used <= readable):
            with suppress(CompileError):
                # Postgres finds a circle before it leaves out what a constant makes unneeded.
                self._visible(table, scope, acting)
            return Fails(
                f"a policy reads {table.qualified}, where role {acting} lacks SELECT (Postgres answers 42501)"
            )
        return self._visible(table, scope, acting)

    def _visible(self, table: Table, scope: int, acting: str) -> Expr:
        if not table.rls or self._catalog.bypasses_rls(acting, table):
            return TRUE
        policies = self._counting(table, acting)
        if not any(p.permissive for p in policies):
            return FALSE  # then Postgres does not even look at the restrictive ones
        if table.qualified in self._expanding:
            circle = " -> ".join(
                [*self._expanding[self._expanding.index(table.qualified) :], table.qualified]
            )
            raise QueryFailsError(
                f"policies refer to each other in a circle: {circle} (Postgres answers 42P17)"
            )
        self._expanding.append(table.qualified)
        try:
            # In the order in which Postgres asks them: an error in one hides what a later one would show.
            permissive = [p for p in reversed(policies) if p.permissive]
            restrictive = [p for p in policies if not p.permissive]
            conditions, unknown = self._conditions([*permissive, *restrictive], table, scope, acting)
        finally:
            self._expanding.pop()
        count = len(conditions) - len(restrictive)
        parts = [folded_qualifier(part) for part in (any_of(conditions[:count]), *conditions[count:])]
        # Each restrictive policy is a qualifier of its own: a false one does not spare the others.
        failed = failure(parts)
        if failed is None and unknown is not None:
            raise unknown
        return failed or all_of(parts)

    def _conditions(
        self, policies: Sequence[Policy], table: Table, scope: int, acting: str
    ) -> tuple[list[Expr], CompileError | None]:
        """Return what each policy asks, and why Postgres has to be asked; what fails beside that counts."""
        conditions: list[Expr] = []
        unknown: CompileError | None = None
        for policy in policies:
            try:
                conditions.append(self._using(policy, table, scope, acting))
            except CompileError as error:
                conditions.append(FALSE)
                unknown = unknown or error
        return conditions, unknown

    def _using(self, policy: Policy, table: Table, scope: int, acting: str) -> Expr:
        where = f'policy "{policy.name}" on {table.qualified}'
        try:
            expr = self._translator.policy(policy.using or "", table, scope, acting)
        except CompileError as error:
            raise type(error)(f"{where}: {error}") from error
        except QueryFailsError:
            raise
        except Exception as error:
            log.exception("policy_not_translated", policy=policy.name, table=table.qualified)
            expr = Opaque(f"the translation failed with {type(error).__name__}", raises=True)
        return _explained(expr, where)


def _named(table: Table, policies: Sequence[Policy]) -> frozenset[str]:
    """Return the columns of ``table`` whose names are in its policies, whatever they stand for there."""
    texts = " ".join(policy.using or "" for policy in policies)
    if ".*" in texts:  # a whole row
        return frozenset(table.by_name)
    words = set(re.findall(r'"(?:[^"]|"")+"|[^\W\d][\w$]*', texts))
    return frozenset(name for name in table.by_name if {name, in_quotes(name)} & words)


def _explained(expr: Expr, where: str) -> Expr:
    if isinstance(expr, Opaque):
        return msgspec.structs.replace(expr, reason=f"{where}: {expr.reason}")
    return rebuild(expr, lambda part: _explained(part, where))
