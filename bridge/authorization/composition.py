"""From a table's grants and policies to the one condition that decides what a role sees.

Source of the rules: Postgres manual, "Row Security Policies" and CREATE POLICY; which policies
count is decided as ``get_row_security_policies`` in ``rewrite/rowsecurity.c`` does.
"""

import itertools

import msgspec

from bridge.authorization.algebra import FALSE, TRUE, Expr, Fails, all_of, any_of, failure
from bridge.authorization.catalog import Catalog, Policy, Table
from bridge.authorization.parser import Parser
from bridge.errors import CompileError, QueryFailsError


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What one role sees of one table.

    Attributes:
        table: Qualified name.
        role: Database role.
        condition: True for the rows that are visible; the row is in scope 0.
        columns: Columns the role may SELECT; None means all.
        scopes: Number of scopes that ``condition`` uses.
        because: Why nobody of the role sees any row, for people; None where the policies decide.
    """

    table: str
    role: str
    condition: Expr
    columns: frozenset[str] | None
    scopes: int
    because: str | None = None


class RefusedPolicyError(CompileError):
    """A named policy cannot be answered from memory."""


def compose(catalog: Catalog, table: Table, role: str) -> Sight:
    """Return what ``role`` sees of ``table``.

    Raises:
        CompileError: a policy that counts cannot be answered from memory; its name is in the message.
    """
    return _Composer(catalog, role).sight(table)


class _Composer:
    def __init__(self, catalog: Catalog, role: str) -> None:
        self._catalog = catalog
        self._role = role
        self._expanding: list[str] = []
        self._scopes = itertools.count(1)
        self._scopes_used = 1
        self._parser = Parser(catalog, role=role, row_filter=self._inner, new_scope=self._new_scope)

    def sight(self, table: Table) -> Sight:
        columns = self._catalog.readable_columns(self._role, table)
        condition: Expr = FALSE
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
        return Sight(
            table=table.qualified,
            role=self._role,
            condition=condition,
            columns=columns,
            scopes=self._scopes_used,
            because=because,
        )

    def _new_scope(self) -> int:
        self._scopes_used += 1
        return next(self._scopes)

    def _inner(self, table: Table, scope: int, used: frozenset[str], acting: str) -> Expr:
        """Return what ``acting`` sees of a table that a policy reads; it needs SELECT on it as well."""
        readable = self._catalog.readable_columns(acting, table)
        # Without a named column (`select 1 from t`) Postgres wants the privilege on any one of them.
        if readable is not None and (not readable or not used <= readable):
            return Fails(
                f"a policy reads {table.qualified}, where role {acting} lacks SELECT (Postgres answers 42501)"
            )
        return self._visible(table, scope, acting)

    def _visible(self, table: Table, scope: int, acting: str) -> Expr:
        if not table.rls or self._catalog.bypasses_rls(acting, table):
            return TRUE
        roles = self._catalog.acting_roles(acting)
        policies = [
            p for p in table.policies if p.command in ("SELECT", "ALL") and p.using and roles & set(p.roles)
        ]
        if table.qualified in self._expanding:
            circle = " -> ".join(
                [*self._expanding[self._expanding.index(table.qualified) :], table.qualified]
            )
            raise QueryFailsError(
                f"policies refer to each other in a circle: {circle} (Postgres answers 42P17)"
            )
        self._expanding.append(table.qualified)
        try:
            permissive = [self._using(p, table, scope, acting) for p in policies if p.permissive]
            restrictive = [self._using(p, table, scope, acting) for p in policies if not p.permissive]
        finally:
            self._expanding.pop()
        parts = [any_of(permissive), *restrictive]
        # Each restrictive policy is a qualifier of its own: a false one does not spare the others.
        return failure(parts) or all_of(parts)

    def _using(self, policy: Policy, table: Table, scope: int, acting: str) -> Expr:
        try:
            return self._parser.parse(policy.using or "", table, scope, acting)
        except RefusedPolicyError:
            raise  # the innermost policy is the one to look at
        except CompileError as error:
            raise RefusedPolicyError(f'policy "{policy.name}" on {table.qualified}: {error}') from error
