"""What an expression can refer to: the tables in scope, innermost first, then a function's parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import ColumnRef, Expr
from bridge.authorization.catalog import Table
from bridge.authorization.functions import SESSION_PATH
from bridge.errors import CompileError


class InScope(msgspec.Struct, kw_only=True):
    """A name in FROM that expressions can refer to.

    Attributes:
        alias: The name.
        columns: What each of its columns means.
        table: The table, with the scope its row has; None for a subquery or a function in FROM.
        scope: That scope.
        used: Columns of the table that were referred to.
        whole: What the name alone means, for a function in FROM of one column.
    """

    alias: str
    columns: Mapping[str, Expr]
    table: Table | None = None
    scope: int = -1
    used: set[str]
    whole: Expr | None = None

    @classmethod
    def of_table(cls, table: Table, alias: str, scope: int) -> "InScope":
        """Return a table under ``alias``, with its row in ``scope``."""
        columns: dict[str, Expr] = {
            column.name: ColumnRef(scope, column.name, types.column_type(column), not column.not_null)
            for column in table.columns
        }
        return cls(alias=alias, columns=columns, table=table, scope=scope, used=set())


class RowValue(msgspec.Struct, frozen=True):
    """A whole row as an argument: ``f(notes.*)``."""

    columns: Mapping[str, Expr]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What an expression can refer to, and with whose rights it runs.

    Attributes:
        levels: Tables in scope, innermost subquery last.
        merged: Columns that ``USING`` made one of, which are not ambiguous.
        parameters: Arguments and variables of the function whose body this is, by name and by ``$n``.
        function: That function's name.
        plpgsql: True in a plpgsql function, where a name that is both column and variable is an error.
        acting: The role whose privileges and policies count: the owner inside SECURITY DEFINER.
        path: Schemas in which unqualified names are looked for: none but pg_catalog in a policy's text.
        session_path: Those that a called function has, unless it sets its own.
        queries: Definitions of WITH by name, each with what it can refer to.
        records: Record variables of a plpgsql function, which have no columns before they are assigned.
    """

    levels: tuple[tuple[InScope, ...], ...]
    acting: str
    merged: frozenset[str] = frozenset()
    parameters: Mapping[str, Expr] = {}
    function: str = ""
    plpgsql: bool = False
    path: tuple[str, ...] = ()
    session_path: tuple[str, ...] = SESSION_PATH
    queries: Mapping[str, Any] = {}
    records: frozenset[str] = frozenset()

    def find(self, parts: Sequence[str]) -> Expr:
        """Return what ``column``, ``table.column`` or ``schema.table.column`` means, and mark it as used.

        Raises:
            CompileError: it means nothing here, or two things.
        """
        *qualifier, name = parts
        parameter = self._parameter(qualifier, name)
        for level in reversed(self.levels):
            found = [n for n in level if name in n.columns and _refers(qualifier, n)]
            if len(found) > 1 and name not in self.merged:
                raise CompileError(f"column {name} is ambiguous")
            if found:
                if self.plpgsql and (parameter is not None or (qualifier and qualifier[0] in self.records)):
                    raise CompileError(f"{'.'.join(parts)} is a column and a variable")
                found[0].used.add(name)
                return found[0].columns[name]
        whole = None if qualifier else self._whole(name)
        if whole is not None and parameter is not None:
            raise CompileError(f"{name} is a table and a variable")
        alone = parameter if whole is None else whole
        if alone is not None:
            return alone
        raise CompileError(f"column {'.'.join(parts)} is not known")

    def whole_row(self, alias: str) -> RowValue:
        """Return the row of a table in scope; all of its columns count as used.

        Raises:
            CompileError: there is no such table.
        """
        for level in reversed(self.levels):
            for name in level:
                if name.alias == alias:
                    name.used.update(name.columns)
                    return RowValue(name.columns)
        raise CompileError(f"row {alias} is not known")

    def _whole(self, alias: str) -> Expr | None:
        for level in reversed(self.levels):
            for name in level:
                if name.alias == alias:
                    return name.whole
        return None

    def _parameter(self, qualifier: list[str], name: str) -> Expr | None:
        if len(qualifier) == 1 and f"{qualifier[0]}.{name}" in self.parameters:
            return self.parameters[f"{qualifier[0]}.{name}"]
        return self.parameters.get(name) if qualifier in ([], [self.function]) else None


def _refers(qualifier: list[str], name: InScope) -> bool:
    if len(qualifier) > 1:  # schema.table.column
        return (
            name.table is not None
            and name.alias == name.table.name
            and ".".join(qualifier) == name.table.qualified
        )
    return not qualifier or qualifier[0] == name.alias
