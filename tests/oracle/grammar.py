"""Hypothesis strategies: small schemas with policies over the grammar that is compiled, rows, and changes.

To widen the grammar add a function to :data:`ATOMS` (no subquery) or :data:`COMPOUNDS`; each takes
``draw`` and the :class:`Scope` and returns SQL text of a boolean expression.  Domains are tiny, so
that values collide; every column that is not in a key can be NULL.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from hypothesis import strategies as st

SCHEMA = "o"
OWNER = "oracle_owner"
"""A role that owns SECURITY DEFINER helpers and is bound by policies, unlike the tables' owner."""

USERS = tuple(f"00000000-0000-0000-0000-00000000000{letter}" for letter in "abcd")
IDS = (*USERS, "00000000-0000-0000-0000-00000000000e")

FAMILY = {
    "uuid": "uuid",
    "text": "text",
    "varchar": "text",
    "smallint": "int",
    "integer": "int",
    "bigint": "int",
    "boolean": "bool",
    f"{SCHEMA}.mood": "enum",
}
DOMAIN: dict[str, tuple[Any, ...]] = {
    "uuid": IDS,
    "text": ("a", "b", ""),
    "int": (-1, 0, 1, 2),
    "bool": (True, False),
    "enum": ("glad", "sad"),
}
CAST = {"uuid": "uuid", "text": "text", "int": "integer", "bool": "boolean", "enum": f"{SCHEMA}.mood"}

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A table; ``columns`` are types by name."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    rls: bool = True

    @property
    def qualified(self) -> str:
        return f"{SCHEMA}.{self.name}"

    def of_family(self, family: str) -> list[str]:
        return [name for name, type_ in self.columns.items() if FAMILY[type_] == family]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What an expression can name: (alias, table) pairs, innermost subquery first; and how deep it may go."""

    names: tuple[tuple[str, TableSpec], ...]
    readable: tuple[TableSpec, ...]
    helpers: tuple[str, ...]
    depth: int
    argument: str | None = None

    def column(self, draw: Draw, family: str, *, innermost: int | None = None) -> str | None:
        """Return a column of the family, or None if there is none."""
        found = [f"{a}.{c}" for a, t in self.names[:innermost] for c in t.of_family(family)]
        if self.argument is not None and family == "uuid" and innermost is None:
            found.append(self.argument)
        return draw(st.sampled_from(found)) if found else None


class ChangeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A change to try: ``row`` picks an existing row, ``values`` the new ones."""

    table: int
    action: Literal["INSERT", "UPDATE", "DELETE"]
    row: int
    values: dict[str, Any]
    full_old: bool


class WorldSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A database, the statements that make it, and what then happens to it.

    The first table is the dialogs', the second the messages', ``dialog_column`` is the latter's.
    """

    tables: tuple[TableSpec, ...]
    watched: int
    dialog_column: str
    statements: tuple[str, ...]
    rows: tuple[tuple[dict[str, Any], ...], ...]
    changes: tuple[ChangeSpec, ...]

    def __repr__(self) -> str:
        rows = [f"{t.name}: {row}" for t, rows in zip(self.tables, self.rows, strict=True) for row in rows]
        changes = [f"{self.tables[c.table].name}: {c}" for c in self.changes]
        return "\n".join(["", *self.statements, *rows, *changes, f"watched: {self.watched}", ""])


def literal(family: str, value: Any) -> str:
    """Return a constant as people write it."""
    if value is None:
        return f"null::{CAST[family]}"
    if family == "int":
        return str(value)
    if family == "bool":
        return str(value).lower()
    return f"'{value}'::{CAST[family]}" if family in ("uuid", "enum") else f"'{value}'"


def _family(draw: Draw) -> str:
    return draw(st.sampled_from(("uuid", "uuid", "text", "int", "bool", "enum")))


def _uid(draw: Draw) -> str:
    return draw(st.sampled_from(("auth.uid()", "(select auth.uid())")))


def _constant(draw: Draw, _scope: Scope) -> str:
    return draw(st.sampled_from(("true", "false", "null::boolean")))


def _is_user(draw: Draw, scope: Scope) -> str:
    sides = [scope.column(draw, "uuid"), _uid(draw)]
    return " = ".join(sides if draw(st.booleans()) else sides[::-1])


def _is_user_text(draw: Draw, scope: Scope) -> str:
    return f"{scope.column(draw, 'uuid')}::text {draw(st.sampled_from(('=', '<>')))} auth.uid()::text"


def _comparison(draw: Draw, scope: Scope) -> str:
    family = _family(draw)
    operators = ("=", "<>", "<", "<=", ">", ">=") if family == "int" else ("=", "<>")
    left = scope.column(draw, family)
    if left is None:
        return "true"
    right = scope.column(draw, family) if draw(st.booleans()) else None
    if right is None:
        right = literal(family, draw(st.sampled_from((*DOMAIN[family], None))))
    return f"{left} {draw(st.sampled_from(operators))} {right}"


def _null_test(draw: Draw, scope: Scope) -> str:
    operand = draw(st.sampled_from((scope.column(draw, _family(draw)), _uid(draw))))
    return f"{operand or 'auth.uid()'} is {draw(st.sampled_from(('', 'not ')))}null"


def _list(draw: Draw, scope: Scope) -> str:
    family = _family(draw)
    column = scope.column(draw, family)
    values = draw(st.lists(st.sampled_from((*DOMAIN[family], None)), min_size=1, max_size=3))
    items = ", ".join(literal(family, value) for value in values)
    form = draw(st.sampled_from(("{c} in ({i})", "{c} not in ({i})", "{c} = any (array[{i}])")))
    return form.format(c=column or literal(family, None), i=items)


def _boolean_column(draw: Draw, scope: Scope) -> str:
    return scope.column(draw, "bool") or "true"


def _role(draw: Draw, _scope: Scope) -> str:
    return f"auth.role() {draw(st.sampled_from(('=', '<>')))} 'authenticated'"


def _helper(draw: Draw, scope: Scope) -> str:
    if not scope.helpers:
        return _is_user(draw, scope)
    return f"{draw(st.sampled_from(scope.helpers))}({scope.column(draw, 'uuid')})"


ATOMS = (_is_user, _is_user, _comparison, _comparison, _null_test, _list, _boolean_column, _role)
RARE_ATOMS = (_constant, _is_user_text, _helper, _helper)


def _and(draw: Draw, scope: Scope) -> str:
    return f"({_expression(draw, scope)} and {_expression(draw, scope)})"


def _or(draw: Draw, scope: Scope) -> str:
    return f"({_expression(draw, scope)} or {_expression(draw, scope)})"


def _not(draw: Draw, scope: Scope) -> str:
    return f"(not {_expression(draw, scope)})"


def _truth_test(draw: Draw, scope: Scope) -> str:
    test = draw(st.sampled_from(("true", "not true", "false", "not false", "unknown", "not unknown")))
    return f"({_expression(draw, scope)} is {test})"


def _subquery(draw: Draw, scope: Scope) -> tuple[str, Scope]:
    """Return FROM and WHERE of a subquery over one or two tables, and its scope."""
    count = draw(st.sampled_from((1, 1, 1, 2)))
    first = len(scope.names)
    inner = [(f"a{first + i}", draw(st.sampled_from(scope.readable))) for i in range(count)]
    inside = msgspec.structs.replace(scope, names=(*inner, *scope.names), depth=scope.depth - 1)
    conditions = []
    for alias, table in inner:
        mine = msgspec.structs.replace(inside, names=((alias, table),), argument=None)
        for _ in range(draw(st.sampled_from((1, 1, 2, 0)))):
            family = draw(st.sampled_from(("uuid", "uuid", "uuid", "int", "text")))
            other = draw(
                st.sampled_from(
                    (_uid(draw), inside.column(draw, family))
                    if family == "uuid"
                    else (inside.column(draw, family),)
                )
            )
            conditions.append(f"{mine.column(draw, family)} = {other}")
    if draw(st.sampled_from((False, False, True))):
        conditions.append(_expression(draw, inside))
    sources = ", ".join(f"{table.qualified} {alias}" for alias, table in inner)
    return f"from {sources} where {' and '.join(conditions) or 'true'}", inside


def _exists(draw: Draw, scope: Scope) -> str:
    if not scope.readable:
        return _comparison(draw, scope)
    body, _ = _subquery(draw, scope)
    return f"exists (select 1 {body})"


def _in_rows(draw: Draw, scope: Scope) -> str:
    if not scope.readable:
        return _comparison(draw, scope)
    body, inside = _subquery(draw, scope)
    family = draw(st.sampled_from(("uuid", "uuid", "int", "text", "enum")))
    target = inside.column(draw, family, innermost=len(inside.names) - len(scope.names))
    left = draw(
        st.sampled_from(
            (scope.column(draw, family), scope.column(draw, family), _uid(draw) if family == "uuid" else None)
        )
    )
    if left is None or target is None:
        return f"exists (select {body})"
    return f"{left} {draw(st.sampled_from(('not in', 'in')))} (select {target} {body})"


def _membership(draw: Draw, scope: Scope) -> str:
    """Return the subquery that most real policies have: a row that names the user, and something of the row."""
    if not scope.readable:
        return _is_user(draw, scope)
    table, alias = draw(st.sampled_from(scope.readable)), f"a{len(scope.names)}"
    family = draw(st.sampled_from(("uuid", "uuid", "int")))
    linked, of = scope.column(draw, family), draw(st.sampled_from(table.of_family(family)))
    user = draw(st.sampled_from(table.of_family("uuid")[::-1]))
    if linked is None:
        return _is_user(draw, scope)
    if draw(st.booleans()):
        return f"{linked} in (select {alias}.{of} from {table.qualified} {alias} where {alias}.{user} = auth.uid())"
    return (
        f"exists (select 1 from {table.qualified} {alias} "
        f"where {alias}.{of} = {linked} and {alias}.{user} = {_uid(draw)})"
    )


COMPOUNDS = (
    _membership,
    _membership,
    _membership,
    _membership,
    _and,
    _or,
    _or,
    _not,
    _truth_test,
    _exists,
    _exists,
    _exists,
    _in_rows,
    _in_rows,
)


def _expression(draw: Draw, scope: Scope) -> str:
    if scope.depth <= 0 or draw(st.sampled_from((False, False, False, True, True))):
        kinds = RARE_ATOMS if draw(st.sampled_from((False,) * 5 + (True,))) else ATOMS
        return draw(st.sampled_from(kinds))(draw, scope)
    deeper = msgspec.structs.replace(scope, depth=scope.depth - 1)
    return draw(st.sampled_from(COMPOUNDS))(draw, deeper)


def _table(draw: Draw, position: int) -> TableSpec:
    kind = draw(st.sampled_from(("uuid", "integer") if position == 0 else ("uuid", "integer", "pair")))
    columns = {} if kind == "pair" else {"id": kind}
    columns |= {
        "u0": "uuid",
        "u1": "uuid",
        "s0": draw(st.sampled_from(("text", "varchar"))),
        "n0": draw(st.sampled_from(("integer", "bigint", "smallint"))),
        "b0": "boolean",
        "m0": f"{SCHEMA}.mood",
    }
    return TableSpec(
        name=f"t{position}",
        columns=columns,
        key=("u0", "u1") if kind == "pair" else ("id",),
        rls=draw(st.sampled_from((True,) * 9 + (False,))),
    )


def _create(table: TableSpec) -> str:
    columns = ", ".join(f"{name} {type_}" for name, type_ in table.columns.items())
    return f"create table {table.qualified} ({columns}, primary key ({', '.join(table.key)}))"


def _grants(draw: Draw, table: TableSpec, *, plain: bool) -> list[str]:
    kind = "all" if plain else draw(st.sampled_from(("all",) * 8 + ("public", "one", "columns", "none")))
    match kind:
        case "all":
            return [f"grant select on {table.qualified} to anon, authenticated, {OWNER}"]
        case "public":
            return [f"grant select on {table.qualified} to public"]
        case "one":
            return [
                f"grant select on {table.qualified} to {draw(st.sampled_from(('anon', 'authenticated')))}"
            ]
        case "columns":
            names = draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, unique=True))
            of_all = draw(st.permutations(list(table.columns)))[:3]
            return [
                f"grant select ({', '.join(names)}) on {table.qualified} to authenticated",
                f"grant select ({', '.join(of_all)}) on {table.qualified} to public",
            ]
        case _:
            return []


def _policies(draw: Draw, table: TableSpec, scope: Scope) -> list[str]:
    statements = []
    for number in range(draw(st.sampled_from((1, 1, 2, 3, 0)))):
        kind = draw(st.sampled_from(("permissive",) * 4 + ("restrictive",)))
        command = draw(st.sampled_from(("select", "select", "all")))
        roles = draw(st.sampled_from(("public", "public", "authenticated", "anon", "anon, authenticated")))
        using = f" using ({_expression(draw, scope)})"
        if command == "all" and draw(st.sampled_from((False, False, False, True))):
            using = " with check (true)"
        statements.append(
            f"create policy p{number} on {table.qualified} as {kind} for {command} to {roles}{using}"
        )
    return statements


def _value(draw: Draw, type_: str, *, nullable: bool) -> Any:
    domain = DOMAIN[FAMILY[type_]]
    return draw(st.sampled_from((*domain, None) if nullable else domain))


def _row(draw: Draw, table: TableSpec) -> dict[str, Any]:
    return {
        name: _value(draw, type_, nullable=name not in table.key) for name, type_ in table.columns.items()
    }


@st.composite
def worlds(draw: Draw, *, max_changes: int = 8) -> WorldSpec:
    """Return a database of two to four tables, with policies, rows and changes."""
    tables = tuple(_table(draw, i) for i in range(draw(st.sampled_from((3, 4, 2)))))
    with_helpers = len(tables) > 2 and draw(st.booleans())
    statements = [f"create schema {SCHEMA}", f"grant usage on schema {SCHEMA} to public"]
    statements += [f"create type {SCHEMA}.mood as enum ('glad', 'sad')"]
    statements += [_create(table) for table in tables]
    helpers = []
    if with_helpers:
        parameter = draw(st.sampled_from(("room", "u0")))
        scope = Scope(names=(), readable=tables[2:], helpers=(), depth=2, argument=f"h0.{parameter}")
        rights = draw(st.sampled_from(("invoker", "definer", "definer owned")))
        statements.append(
            f"create function {SCHEMA}.h0({parameter} uuid) returns boolean language sql "
            f"{'volatile' if draw(st.booleans()) else 'stable'} security {rights.split()[0]} "
            f"as $$ select {_exists(draw, scope)} $$"
        )
        if rights.endswith("owned"):
            statements.append(f"alter function {SCHEMA}.h0(uuid) owner to {OWNER}")
        helpers.append(f"{SCHEMA}.h0")
    for position, table in enumerate(tables):
        # Later tables only, so that circles are the exception; any, now and then, so that they occur.
        circles = not with_helpers and draw(st.sampled_from((False,) * 11 + (True,)))
        scope = Scope(
            names=((table.name, table),),
            readable=tables if circles else tables[position + 1 :],
            helpers=tuple(helpers) if position < 2 else (),
            depth=3,
        )
        statements += _policies(draw, table, scope)
        statements += _grants(draw, table, plain=with_helpers and position > 1)
        if table.rls:
            statements.append(f"alter table {table.qualified} enable row level security")
        statements.append(f"alter publication supabase_realtime add table {table.qualified}")
    return WorldSpec(
        tables=tables,
        watched=draw(st.integers(2, len(tables))),
        dialog_column="u0" if tables[0].columns["id"] == "uuid" else "n0",
        statements=tuple(statements),
        rows=tuple(_rows(draw, table) for table in tables),
        changes=tuple(_changes(draw, tables, max_changes)),
    )


def _rows(draw: Draw, table: TableSpec) -> tuple[dict[str, Any], ...]:
    rows = [_row(draw, table) for _ in range(draw(st.sampled_from((5, 6, 4, 3, 1, 0))))]
    return tuple({tuple(row[c] for c in table.key): row for row in rows}.values())


def _changes(draw: Draw, tables: Sequence[TableSpec], max_changes: int) -> list[ChangeSpec]:
    changes = []
    for _ in range(draw(st.sampled_from(range(max_changes, -1, -2)))):
        position = draw(st.sampled_from(range(len(tables) - 1, -1, -1)))
        table, action = tables[position], draw(st.sampled_from(("DELETE", "UPDATE", "INSERT")))
        values = _row(draw, table)
        if action == "UPDATE":
            names = draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, max_size=3, unique=True))
            values = {name: values[name] for name in names}
        changes.append(
            ChangeSpec(
                table=position,
                action=action,
                row=draw(st.sampled_from(range(6))),
                values=values,
                full_old=draw(st.booleans()),
            )
        )
    return changes
