"""What an expression can refer to: the tables in scope, innermost first, then a function's parameters."""

from collections.abc import Mapping, Sequence

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import ColumnRef, Expr
from bridge.authorization.catalog import Table
from bridge.errors import CompileError


class InScope(msgspec.Struct):
    """A name that expressions can refer to, and which of its columns they did."""

    alias: str
    table: Table
    scope: int
    used: set[str]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What an expression can refer to, and with whose rights it runs.

    Attributes:
        levels: Tables in scope, innermost subquery last.
        parameters: Arguments of the SQL function whose body this is, by name and by ``$n``.
        function: That function's name.
        acting: The role whose privileges and policies count: the owner inside SECURITY DEFINER.
    """

    levels: tuple[tuple[InScope, ...], ...]
    acting: str
    parameters: Mapping[str, Expr] = {}
    function: str = ""

    def find(self, parts: Sequence[str]) -> Expr:
        """Return what ``column``, ``table.column`` or ``schema.table.column`` means, and mark it as used.

        Raises:
            CompileError: it means nothing here, or two things.
        """
        *qualifier, name = parts
        for level in reversed(self.levels):
            found = [n for n in level if name in n.table.by_name and _refers(qualifier, n)]
            if len(found) > 1:
                raise CompileError(f"column {name} is ambiguous")
            if found:
                found[0].used.add(name)
                column = found[0].table.by_name[name]
                return ColumnRef(found[0].scope, name, types.column_type(column))
        if name in self.parameters and qualifier in ([], [self.function]):
            return self.parameters[name]
        raise CompileError(f"column {'.'.join(parts)} is not known")


def _refers(qualifier: list[str], name: InScope) -> bool:
    if len(qualifier) > 1:  # schema.table.column
        return name.alias == name.table.name and ".".join(qualifier) == name.table.qualified
    return not qualifier or qualifier[0] == name.alias
