"""By chance: small schemas with policies over the grammar that is compiled, rows, and changes.

To widen the grammar add a function to :data:`ATOMS` (no subquery) or :data:`COMPOUNDS`; each takes
``draw`` and the :class:`Scope` and returns SQL text of a boolean expression.  Domains are tiny, so
that values collide; every column that is not in a key can be NULL.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from tests.oracle import chance
from tests.oracle.chance import Draw

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
    "jsonb": "jsonb",
    "uuid[]": "uuids",
    "timestamptz": "time",
    "numeric": "numeric",
}
DOMAIN: dict[str, tuple[Any, ...]] = {
    "uuid": IDS,
    "text": ("a", "b", "", "1"),
    "int": (-1, 0, 1, 2),
    "bool": (True, False),
    "enum": ("glad", "sad"),
    "jsonb": ({"k": "a"}, {"k": "b", "n": 1}, {"k": None, "u": [USERS[0]]}, {}, ["a"], "a"),
    "uuids": ([], [USERS[0]], [USERS[1], None], [USERS[0], USERS[1]]),
    "time": ("2020-01-01T00:00:00+00:00", "2120-01-01T00:00:00+00:00", "infinity"),
    "numeric": (1, 1.5, 2),
}
CAST = {"uuid": "uuid", "text": "text", "int": "integer", "bool": "boolean", "enum": f"{SCHEMA}.mood"}


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
    """What an expression can name: (alias, table) pairs, innermost subquery first; and how deep it may go.

    Where ``fails`` is true it may fail of a row's values: of a table that no subquery reads.
    """

    names: tuple[tuple[str, TableSpec], ...]
    readable: tuple[TableSpec, ...]
    helpers: tuple[str, ...]
    depth: int
    argument: str | None = None
    fails: bool = False

    def column(self, draw: Draw, family: str, *, innermost: int | None = None) -> str | None:
        """Return a column of the family, or None if there is none."""
        found = [f"{a}.{c}" for a, t in self.names[:innermost] for c in t.of_family(family)]
        if self.argument is not None and family == "uuid" and innermost is None:
            found.append(self.argument)
        return draw(chance.sampled_from(found)) if found else None


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
    A transaction makes ``together`` of the changes.
    """

    tables: tuple[TableSpec, ...]
    watched: int
    dialog_column: str
    statements: tuple[str, ...]
    rows: tuple[tuple[dict[str, Any], ...], ...]
    changes: tuple[ChangeSpec, ...]
    together: int = 1

    def __repr__(self) -> str:
        rows = [f"{t.name}: {row}" for t, rows in zip(self.tables, self.rows, strict=True) for row in rows]
        changes = [f"{self.tables[c.table].name}: {c}" for c in self.changes]
        return "\n".join(
            ["", *self.statements, *rows, *changes, f"watched: {self.watched}, together: {self.together}", ""]
        )


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
    return draw(chance.sampled_from(("uuid", "uuid", "text", "int", "bool", "enum")))


def _uid(draw: Draw) -> str:
    return draw(chance.sampled_from(("auth.uid()", "(select auth.uid())")))


def _constant(draw: Draw, _scope: Scope) -> str:
    return draw(chance.sampled_from(("true", "false", "null::boolean")))


def _is_user(draw: Draw, scope: Scope) -> str:
    sides = [scope.column(draw, "uuid"), _uid(draw)]
    return " = ".join(sides if draw(chance.booleans()) else sides[::-1])


def _is_user_text(draw: Draw, scope: Scope) -> str:
    return f"{scope.column(draw, 'uuid')}::text {draw(chance.sampled_from(('=', '<>')))} auth.uid()::text"


def _comparison(draw: Draw, scope: Scope) -> str:
    family = _family(draw)
    operators = ("=", "<>", "<", "<=", ">", ">=") if family == "int" else ("=", "<>")
    left = scope.column(draw, family)
    if left is None:
        return "true"
    right = scope.column(draw, family) if draw(chance.booleans()) else None
    if right is None:
        right = literal(family, draw(chance.sampled_from((*DOMAIN[family], None))))
    return f"{left} {draw(chance.sampled_from(operators))} {right}"


def _null_test(draw: Draw, scope: Scope) -> str:
    operand = draw(chance.sampled_from((scope.column(draw, _family(draw)), _uid(draw))))
    return f"{operand or 'auth.uid()'} is {draw(chance.sampled_from(('', 'not ')))}null"


def _list(draw: Draw, scope: Scope) -> str:
    family = _family(draw)
    column = scope.column(draw, family)
    values = draw(chance.lists(chance.sampled_from((*DOMAIN[family], None)), min_size=1, max_size=3))
    items = ", ".join(literal(family, value) for value in values)
    form = draw(chance.sampled_from(("{c} in ({i})", "{c} not in ({i})", "{c} = any (array[{i}])")))
    return form.format(c=column or literal(family, None), i=items)


def _boolean_column(draw: Draw, scope: Scope) -> str:
    return scope.column(draw, "bool") or "true"


def _role(draw: Draw, _scope: Scope) -> str:
    return f"auth.role() {draw(chance.sampled_from(('=', '<>')))} 'authenticated'"


def _helper(draw: Draw, scope: Scope) -> str:
    if not scope.helpers:
        return _is_user(draw, scope)
    return f"{draw(chance.sampled_from(scope.helpers))}({scope.column(draw, 'uuid')})"


def _user_value(draw: Draw, _scope: Scope) -> str:
    """What depends on the user alone: claims, in the ways that people write them."""
    return draw(
        chance.sampled_from(
            (
                "auth.jwt() ->> 'role'",
                "auth.jwt() -> 'app_metadata' ->> 'word'",
                "auth.jwt() #>> '{app_metadata,word}'",
                "current_setting('request.jwt.claims', true)::json ->> 'email'",
                "auth.email()",
                "auth.uid()::text",
                "nullif(auth.jwt() -> 'app_metadata' ->> 'word', 'b')",
            )
        )
    )


def _claim(draw: Draw, scope: Scope) -> str:
    text = scope.column(draw, "text") or "'a'"
    form = draw(
        chance.sampled_from(
            (
                "{c} = ({u})",
                "({u}) = {c}",
                "({u}) <> {c}",
                "lower({u}) = lower({c})",
                "({u}) is null",
                "coalesce({u}, 'a') = {c}",
                "({u}) in ('a', 'b')",
                "auth.jwt() -> 'app_metadata' -> 'words' ? {c}",
                "((auth.jwt() -> 'app_metadata' ->> 'org')::uuid) = {i}",
                "(auth.jwt() -> 'app_metadata' ->> 'level')::int >= 2",
            )
        )
    )
    return f"({form})".format(
        c=text, u=_user_value(draw, scope), i=scope.column(draw, "uuid") or "auth.uid()"
    )


def _failing(draw: Draw, scope: Scope) -> str:
    """What fails of some values of the row.

    Not of a subquery's rows: it depends on the plan which of these Postgres comes to.
    """
    if len(scope.names) != 1 or not scope.fails:
        return _comparison(draw, scope)
    text, number, json = (scope.column(draw, family) for family in ("text", "int", "jsonb"))
    forms = [
        *("{s}::integer = 1", "{s}::integer = 1", "{s}::boolean", "{i} = {s}::uuid", "{n} < {s}::integer"),
        *("{n} in (0, {s}::integer)", "coalesce({s}::boolean, {b})", "10 / {n} > 5", "{s}::float > 0.5"),
    ]
    if json is not None:
        forms += ["({j} ->> 'k')::integer = 1", "({j} ->> 'k')::boolean"]
    form = draw(chance.sampled_from(forms))
    others = {"i": scope.column(draw, "uuid"), "b": scope.column(draw, "bool")}
    return f"({form})".format(s=text, n=number, j=json, **others)


def _beside(draw: Draw, scope: Scope) -> str:
    """What may fail, beside what decides without it."""
    others = (_boolean_column, _boolean_column, _null_test, _expression)  # true of many rows, but the last
    parts = (_failing(draw, scope), *(draw(chance.sampled_from(others))(draw, scope) for _ in range(2)))
    form = draw(
        chance.sampled_from(
            (
                "(({0} and {1}) or {2})",
                "(({0} and {1}) or {2})",
                "({0} or {1})",
                "(({1} and {0}) or {2})",
                "({1} or ({0} and {2}))",
                "(not ({0} and {1}) or {2})",
                "(case when {1} then {0} else {2} end)",
                "(({0} or {1}) is not true or {2})",
            )
        )
    )
    return form.format(*parts)


def _json(draw: Draw, scope: Scope) -> str:
    column = scope.column(draw, "jsonb")
    if column is None:
        return "true"
    form = draw(
        chance.sampled_from(
            (
                "{j} ->> 'k' = 'a'",
                "{j} ->> 'k' <> 'a'",
                "coalesce({j} ->> 'k', 'b') = 'b'",
                "{j} ? 'n'",
                '{j} @> \'{{"k": "b"}}\'',
                "{j} -> 'n' = '1'",
                "({j} ->> 'n')::int = 1",
                "{j} -> 'k' is null",
                "{j} -> 'u' ? auth.uid()::text",
                "{j} is null",
            )
        )
    )
    return f"({form})".format(j=column)


def _array(draw: Draw, scope: Scope) -> str:
    column = scope.column(draw, "uuids")
    if column is None:
        return "true"
    form = draw(
        chance.sampled_from(
            (
                "auth.uid() = any ({a})",
                "{i} = any ({a})",
                "auth.uid() <> all ({a})",
                "{a} @> array[auth.uid()]",
                "{a} && array[{i}, auth.uid()]",
                "cardinality({a}) > 1",
                "array_length({a}, 1) = 1",
                "{i} in (select unnest({a}))",
            )
        )
    )
    return f"({form})".format(a=column, i=scope.column(draw, "uuid") or "auth.uid()")


def _time(draw: Draw, scope: Scope) -> str:
    column = scope.column(draw, "time")
    if column is None:
        return "true"
    other = draw(
        chance.sampled_from(
            ("now()", "now() - interval '1 year 2 days'", "'2020-01-01Z'::timestamptz", "null")
        )
    )
    return f"{column} {draw(chance.sampled_from(('<', '>', '<=', '=')))} {other}"


def _numeric(draw: Draw, scope: Scope) -> str:
    column = scope.column(draw, "numeric")
    other = (
        scope.column(draw, "int")
        if draw(chance.booleans())
        else draw(chance.sampled_from(("1", "1.5", "1.0")))
    )
    return (
        f"{column} {draw(chance.sampled_from(('<', '>=', '=', '<>')))} {other}"
        if column and other
        else "true"
    )


def _distinct(draw: Draw, scope: Scope) -> str:
    left, right = (
        scope.column(draw, "uuid"),
        draw(chance.sampled_from((_uid(draw), scope.column(draw, "uuid")))),
    )
    return f"({left} is {draw(chance.sampled_from(('', 'not ')))}distinct from {right})" if left else "true"


def _negated(draw: Draw, scope: Scope) -> str:
    """NOT of what stays one value: NULL has to stay NULL."""
    return f"(not ({draw(chance.sampled_from(NEGATED))(draw, scope)}))"


def _asked(draw: Draw, scope: Scope) -> str:
    """What Postgres is asked about: of the row, or of rows that it reads, with columns of which some may not be granted."""
    forms = ("{s} < 'b'", "{s} ~ '^a'", "{n} % 2 = 0", "{n}::float > 0.5")
    reading = (
        "exists (select 1 from {t} x where x.s0 < 'b' and x.u0 = auth.uid())",
        "exists (select 1 from {t} x where x.u0 = {u} group by x.u1 having count(*) > 0)",
        "(select max(x.n0) from {t} x where x.u0 = auth.uid()) > {n}",
        "{u} in (select x.u1 from {t} x where x.s0 ~ 'a')",
        "not exists (select 1 from {t} x where x.u0 = {u} and x.n0 % 2 = 1)",
    )
    table = draw(chance.sampled_from(scope.readable)).qualified if scope.readable else ""
    form = draw(chance.sampled_from(reading if table and draw(chance.booleans()) else forms))
    return f"({form})".format(
        t=table,
        s=scope.column(draw, "text") or "'a'",
        n=scope.column(draw, "int") or "1",
        u=scope.column(draw, "uuid") or "auth.uid()",
    )


NEGATED = (_boolean_column, _boolean_column, _list, _array, _json, _is_user)
ATOMS = (
    _negated,
    _negated,
    _is_user,
    _is_user,
    _comparison,
    _comparison,
    _null_test,
    _list,
    _boolean_column,
    _role,
)
RARE_ATOMS = (
    *(_failing, _asked),
    *(_constant, _is_user_text, _helper, _helper, _helper),
    *(_claim, _claim, _json, _array, _time, _numeric, _distinct),
)


def _and(draw: Draw, scope: Scope) -> str:
    return f"({_expression(draw, scope)} and {_expression(draw, scope)})"


def _or(draw: Draw, scope: Scope) -> str:
    return f"({_expression(draw, scope)} or {_expression(draw, scope)})"


def _not(draw: Draw, scope: Scope) -> str:
    return f"(not {_expression(draw, scope)})"


def _truth_test(draw: Draw, scope: Scope) -> str:
    test = draw(chance.sampled_from(("true", "not true", "false", "not false", "unknown", "not unknown")))
    return f"({_expression(draw, scope)} is {test})"


def _subquery(draw: Draw, scope: Scope) -> tuple[str, Scope]:
    """Return FROM and WHERE of a subquery over one or two tables, and its scope."""
    count = draw(chance.sampled_from((1, 1, 1, 2)))
    first = len(scope.names)
    inner = [(f"a{first + i}", draw(chance.sampled_from(scope.readable))) for i in range(count)]
    inside = msgspec.structs.replace(scope, names=(*inner, *scope.names), depth=scope.depth - 1)
    conditions = []
    for alias, table in inner:
        mine = msgspec.structs.replace(inside, names=((alias, table),), argument=None)
        for _ in range(draw(chance.sampled_from((1, 1, 2, 0)))):
            family = draw(chance.sampled_from(("uuid", "uuid", "uuid", "int", "text")))
            other = draw(
                chance.sampled_from(
                    (_uid(draw), inside.column(draw, family))
                    if family == "uuid"
                    else (inside.column(draw, family),)
                )
            )
            conditions.append(f"{mine.column(draw, family)} = {other}")
    if draw(chance.sampled_from((False, False, False, True))):
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
    family = draw(chance.sampled_from(("uuid", "uuid", "int", "text", "enum")))
    target = inside.column(draw, family, innermost=len(inside.names) - len(scope.names))
    left = draw(
        chance.sampled_from(
            (scope.column(draw, family), scope.column(draw, family), _uid(draw) if family == "uuid" else None)
        )
    )
    if left is None or target is None:
        return f"exists (select {body})"
    return f"{left} {draw(chance.sampled_from(('not in', 'in')))} (select {target} {body})"


def _membership(draw: Draw, scope: Scope) -> str:
    """Return the subquery that most real policies have: a row that names the user, and something of the row."""
    if not scope.readable:
        return _is_user(draw, scope)
    table, alias = draw(chance.sampled_from(scope.readable)), f"a{len(scope.names)}"
    family = draw(chance.sampled_from(("uuid", "uuid", "int")))
    linked, of = scope.column(draw, family), draw(chance.sampled_from(table.of_family(family)))
    user = draw(chance.sampled_from(table.of_family("uuid")[::-1]))
    if linked is None:
        return _is_user(draw, scope)
    if draw(chance.booleans()):
        return f"{linked} in (select {alias}.{of} from {table.qualified} {alias} where {alias}.{user} = auth.uid())"
    return (
        f"exists (select 1 from {table.qualified} {alias} "
        f"where {alias}.{of} = {linked} and {alias}.{user} = {_uid(draw)})"
    )


def _conditional(draw: Draw, scope: Scope) -> str:
    one, two, three = (_expression(draw, scope) for _ in range(3))
    form = draw(
        chance.sampled_from(
            (
                "(case when {0} then {1} else {2} end)",
                "(case when {0} then {1} end)",
                "coalesce({0}, {1})",
                "(case when {0} then 1 when {1} then 2 end = 2)",
            )
        )
    )
    return form.format(one, two, three)


def _looked_up(draw: Draw, scope: Scope) -> str:
    """A scalar look-up: of the user's row, of a row that this one points at, or an aggregate."""
    if not scope.readable:
        return _comparison(draw, scope)
    table, alias = draw(chance.sampled_from(scope.readable)), f"a{len(scope.names)}"
    family = draw(chance.sampled_from(("uuid", "uuid", "text", "enum", "int")))
    value = f"{alias}.{draw(chance.sampled_from(table.of_family(family)))}"
    linked = " and ".join(
        f"{alias}.{column} = " + (scope.column(draw, FAMILY[table.columns[column]]) or "null")
        for column in table.key
    )
    named = f"{alias}.{draw(chance.sampled_from(table.of_family('uuid')))} = {_uid(draw)}"
    where = draw(chance.sampled_from((linked, named, f"{linked} and {named}")))
    source = f"from {table.qualified} {alias} where {where}"
    left = scope.column(draw, family) or f"null::{CAST[family]}"
    form = draw(
        chance.sampled_from(
            (
                "{l} = (select {v} {s})",
                "(select {v} {s}) <> {l}",
                "(select {v} {s} limit 1) = {l}",
                "(select {v} {s}) is null",
                "coalesce((select {v} {s} limit 1), {l}) = {l}",
                "(select count(*) {s}) > 0",
                "(select count(*) {s}) = 0",
                "{l} = any (array(select {v} {s}))",
                "(select bool_or({v} = {l}) {s})",
            )
        )
    )
    return f"({form})".format(l=left, v=value, s=source)


def _of_user(draw: Draw, scope: Scope) -> str:
    """What depends on the user alone, and that the row may have to match: a switch, a value in the user's rows."""
    if not scope.readable:
        return _claim(draw, scope)
    table, alias = draw(chance.sampled_from(scope.readable)), f"a{len(scope.names)}"
    family = draw(chance.sampled_from(("uuid", "uuid", "text", "enum", "int")))
    value = f"{alias}.{draw(chance.sampled_from(table.of_family(family)))}"
    source = f"from {table.qualified} {alias} where {alias}.u0 = {_uid(draw)}"
    form = draw(
        chance.sampled_from(
            (
                "exists (select 1 {s} and {a}.b0)",
                "(select {a}.b0 {s} limit 1)",
                "{l} = (select {v} {s} limit 1)",
                "{l} in (select {v} {s})",
                "{l} not in (select {v} {s} and {a}.b0)",
                "{l} = any (array(select {v} {s}))",
            )
        )
    )
    left = scope.column(draw, family) or f"null::{CAST[family]}"
    return f"({form})".format(a=alias, l=left, v=value, s=source)


def _left_join(draw: Draw, scope: Scope) -> str:
    if not scope.readable:
        return _comparison(draw, scope)
    first, second = (draw(chance.sampled_from(scope.readable)) for _ in range(2))
    one, two = f"a{len(scope.names)}", f"a{len(scope.names) + 1}"
    inside = msgspec.structs.replace(
        scope, names=((one, first), (two, second), *scope.names), depth=scope.depth - 1
    )
    mine = msgspec.structs.replace(inside, names=((two, second),), argument=None)
    on = f"{mine.column(draw, 'uuid')} = {one}.{draw(chance.sampled_from(first.of_family('uuid')))}"
    on, kind = f"on {on}", draw(chance.sampled_from(("left join", "left join", "join")))
    shared = sorted({*first.of_family("uuid")} & {*second.of_family("uuid")})
    if shared and draw(chance.sampled_from((True, False, False, False))):
        on = f"using ({draw(chance.sampled_from(shared))})"
        kind = draw(chance.sampled_from(("left join", "join", "full join")))  # a full join is asked
    linked = f"{one}.{draw(chance.sampled_from(first.of_family('uuid')))} = {scope.column(draw, 'uuid') or _uid(draw)}"
    return (
        f"exists (select 1 from {first.qualified} {one} {kind} {second.qualified} {two} {on} "
        f"where {linked} and {_expression(draw, inside)})"
    )


COMPOUNDS = (
    _beside,
    _conditional,
    _looked_up,
    _looked_up,
    _left_join,
    _membership,
    _membership,
    _membership,
    _membership,
    _and,
    _or,
    _or,
    _not,
    _not,
    _truth_test,
    _exists,
    _exists,
    _exists,
    _in_rows,
    _in_rows,
)


READING = (
    _membership,
    _membership,
    _membership,
    _of_user,
    _of_user,
    _looked_up,
    _exists,
    _in_rows,
    _left_join,
)


def _reading(draw: Draw, scope: Scope) -> str:
    """What reads other tables, alone or beside a condition: their changes have to count."""
    deeper = msgspec.structs.replace(scope, depth=1)
    reading = draw(chance.sampled_from(READING))(draw, deeper)
    form = draw(chance.sampled_from(("{0}",) * 3 + ("({0} or {1})", "({0} and {1})", "(not {0})")))
    return form.format(reading, _expression(draw, deeper))


def _related(draw: Draw, scope: Scope) -> str:
    """Whether the user sees any row of another table with the same value."""
    table = draw(chance.sampled_from(scope.readable))
    columns = [draw(chance.sampled_from(("u0", "u1"))) for _ in range(2)]
    return f"exists (select 1 from {table.qualified} a1 where a1.{columns[0]} = {scope.names[0][0]}.{columns[1]})"


# Simple: what a policy sees of a table that it reads has to be something, and not everything.
OF_THE_ROW = (_is_user, _boolean_column, _negated)


def _expression(draw: Draw, scope: Scope) -> str:
    if scope.depth <= 0 or draw(chance.sampled_from((False, False, False, True, True))):
        kinds = RARE_ATOMS if draw(chance.sampled_from((False,) * 5 + (True,))) else ATOMS
        return draw(chance.sampled_from(kinds))(draw, scope)
    deeper = msgspec.structs.replace(scope, depth=scope.depth - 1)
    return draw(chance.sampled_from(COMPOUNDS))(draw, deeper)


def _table(draw: Draw, position: int) -> TableSpec:
    kind = draw(chance.sampled_from(("uuid", "integer") if position == 0 else ("uuid", "integer", "pair")))
    columns = {} if kind == "pair" else {"id": kind}
    columns |= {
        "u0": "uuid",
        "u1": "uuid",
        "s0": draw(chance.sampled_from(("text", "varchar"))),
        "n0": draw(chance.sampled_from(("integer", "bigint", "smallint"))),
        "b0": "boolean",
        "m0": f"{SCHEMA}.mood",
    }
    further = {"j0": "jsonb", "a0": "uuid[]", "w0": "timestamptz", "d0": "numeric"}
    columns |= {name: type_ for name, type_ in further.items() if draw(chance.booleans())}
    return TableSpec(
        name=f"t{position}",
        columns=columns,
        key=("u0", "u1") if kind == "pair" else ("id",),
        rls=draw(chance.sampled_from((True,) * 19 + (False,))),
    )


def _create(table: TableSpec) -> str:
    columns = ", ".join(f"{name} {type_}" for name, type_ in table.columns.items())
    return f"create table {table.qualified} ({columns}, primary key ({', '.join(table.key)}))"


def _grants(draw: Draw, table: TableSpec, *, plain: bool) -> list[str]:
    kind = (
        "all"
        if plain
        else draw(chance.sampled_from(("all",) * 16 + ("public", "one", "columns", "keyless", "none")))
    )
    match kind:
        case "all":
            return [f"grant select on {table.qualified} to anon, authenticated, {OWNER}"]
        case "public":
            return [f"grant select on {table.qualified} to public"]
        case "one":
            return [
                f"grant select on {table.qualified} to {draw(chance.sampled_from(('anon', 'authenticated')))}"
            ]
        case "keyless":
            names = [name for name in table.columns if name not in table.key]
            return [f"grant select ({', '.join(names)}) on {table.qualified} to anon, authenticated"]
        case "columns":
            names = draw(chance.some_of(list(table.columns), max_size=len(table.columns)))
            of_all = draw(chance.some_of(list(table.columns), max_size=3))
            return [
                f"grant select ({', '.join(names)}) on {table.qualified} to authenticated",
                f"grant select ({', '.join(of_all)}) on {table.qualified} to public",
            ]
        case _:
            return []


def _policies(draw: Draw, table: TableSpec, scope: Scope) -> list[str]:
    if draw(chance.sampled_from((False, False, False, True))):
        # Alone: beside other conditions the NULL of a NOT seldom decides, nor does a row that the user may not read.
        condition = draw(
            chance.sampled_from((_negated, _related, _related) if scope.readable else (_negated,))
        )
        return [f"create policy p0 on {table.qualified} for select using ({condition(draw, scope)})"]
    statements = []
    for number in range(draw(chance.sampled_from((1, 1, 2, 3) * 4 + (0,)))):
        # A restrictive one alone shows nothing, whatever it says.
        kind = draw(chance.sampled_from(("permissive",) * 3 + ("restrictive",))) if number else "permissive"
        command = draw(chance.sampled_from(("select", "select", "all")))
        roles = draw(
            chance.sampled_from(("public",) * 6 + ("authenticated",) * 3 + ("anon", "anon, authenticated"))
        )
        risky = scope.fails and draw(chance.sampled_from((False, True, False)))
        kinds = (_reading, _reading, _expression, _negated) if scope.readable else (_expression, *OF_THE_ROW)
        condition = _beside if risky else draw(chance.sampled_from(kinds))
        using = f" using ({condition(draw, scope)})"
        if command == "all" and draw(chance.sampled_from((False,) * 7 + (True,))):
            using = " with check (true)"
        statements.append(
            f"create policy p{number} on {table.qualified} as {kind} for {command} to {roles}{using}"
        )
    return statements


def _value(draw: Draw, type_: str, *, nullable: bool) -> Any:
    domain = DOMAIN[FAMILY[type_]]
    return draw(chance.sampled_from((*domain, None) if nullable else domain))


def _row(draw: Draw, table: TableSpec) -> dict[str, Any]:
    return {
        name: _value(draw, type_, nullable=name not in table.key) for name, type_ in table.columns.items()
    }


def _body(draw: Draw, scope: Scope) -> tuple[str, str]:
    """Return the language and the body of a helper: the forms that real ones have."""
    form = draw(
        chance.sampled_from(
            (
                ("sql", "select {0}"),
                ("sql", "select {0}"),
                ("plpgsql", "begin return {0}; end"),
                ("plpgsql", "declare v boolean; begin select {0} into v; return v; end"),
                ("plpgsql", "begin if {0} then return true; end if; return {1}; end"),
                (
                    "plpgsql",
                    "begin if {1} then return {0}; elsif {0} then return null; else return false; end if; end",
                ),
                ("plpgsql", "declare v boolean := {1}; begin v := v or {0}; return v is true; end"),
            )
        )
    )
    language, body = form
    return language, body.format(_exists(draw, scope), _expression(draw, scope))


def worlds(draw: Draw, *, max_changes: int = 6) -> WorldSpec:
    """Return a database of two to four tables, with policies, rows and changes."""
    tables = tuple(_table(draw, i) for i in range(draw(chance.sampled_from((3, 4, 3, 2)))))
    with_helpers = len(tables) > 2 and draw(chance.booleans())
    statements = [f"create schema {SCHEMA}", f"grant usage on schema {SCHEMA} to public"]
    statements += [f"create type {SCHEMA}.mood as enum ('glad', 'sad')"]
    statements += [_create(table) for table in tables]
    helpers = []
    if with_helpers:
        parameter = draw(chance.sampled_from(("room", "u0")))
        scope = Scope(names=(), readable=tables[2:], helpers=(), depth=2, argument=f"h0.{parameter}")
        rights = draw(chance.sampled_from(("invoker", "definer", "definer owned")))
        language, body = _body(draw, scope)
        statements.append(
            f"create function {SCHEMA}.h0({parameter} uuid) returns boolean language {language} "
            f"{'volatile' if draw(chance.booleans()) else 'stable'} security {rights.split()[0]} "
            f"as $$ {body} $$"
        )
        if rights.endswith("owned"):
            statements.append(f"alter function {SCHEMA}.h0(uuid) owner to {OWNER}")
        helpers.append(f"{SCHEMA}.h0")
    # What fails depends on the plan in tables that are read: nobody reads the second one, now and then.
    failing = draw(chance.sampled_from((1, 1, 1, 2)))
    for position, table in enumerate(tables):
        # Later tables only, so that circles are the exception; any, now and then, so that they occur.
        circles = not with_helpers and failing == 1 and draw(chance.sampled_from((False,) * 11 + (True,)))
        scope = Scope(
            names=((table.name, table),),
            readable=tables if circles else tables[max(position + 1, failing) :],
            helpers=tuple(helpers) if position < 2 else (),
            depth=3,
            fails=position < failing and not circles,
        )
        statements += _policies(draw, table, scope)
        statements += _grants(draw, table, plain=with_helpers and position > 1)
        if table.rls:
            statements.append(f"alter table {table.qualified} enable row level security")
        statements.append(f"alter publication supabase_realtime add table {table.qualified}")
    read = [
        i
        for i, table in enumerate(tables)
        if any(re.search(rf"(from|join|,) {table.qualified} a", statement) for statement in statements)
    ]
    return WorldSpec(
        tables=tables,
        watched=draw(chance.sampled_from(range(2, len(tables) + 1))),
        dialog_column="u0" if tables[0].columns["id"] == "uuid" else "n0",
        statements=tuple(statements),
        rows=tuple(_rows(draw, table) for table in tables),
        changes=tuple(_changes(draw, tables, read, max_changes)),
        together=draw(chance.sampled_from((1, 1, 1, 1, 2, 3))),
    )


def _rows(draw: Draw, table: TableSpec) -> tuple[dict[str, Any], ...]:
    rows = [_row(draw, table) for _ in range(draw(chance.sampled_from((5, 6, 4, 3, 1, 0))))]
    return tuple({tuple(row[c] for c in table.key): row for row in rows}.values())


def _changes(
    draw: Draw, tables: Sequence[TableSpec], read: Sequence[int], max_changes: int
) -> list[ChangeSpec]:
    """Return changes, most of them of the tables ``read``, which policies look into."""
    changes = []
    for _ in range(draw(chance.sampled_from((*range(max_changes, 0, -2), 0)))):
        some = (
            read
            if read and draw(chance.sampled_from((True, True, False)))
            else range(len(tables) - 1, -1, -1)
        )
        position = draw(chance.sampled_from(some))
        table, action = tables[position], draw(chance.sampled_from(("UPDATE", "INSERT", "UPDATE", "DELETE")))
        values = _row(draw, table)
        if action == "UPDATE":
            names = draw(chance.some_of(list(table.columns), max_size=3))
            values = {name: values[name] for name in names}
        changes.append(
            ChangeSpec(
                table=position,
                action=action,
                row=draw(chance.sampled_from(range(6))),
                values=values,
                full_old=draw(chance.booleans()),
            )
        )
    return changes
