"""The other direction of a plan: from a row to the users who see it, without asking each user.

``user_id = auth.uid()`` names its user in the row; a membership subquery names them in an index.
Where an expression names nobody, everybody of the role is a candidate, and the plan asks the
filter about each: the result is then marked as not exact.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from bridge.authorization.algebra import (
    And,
    ColumnRef,
    Compare,
    Exists,
    Expr,
    IsTrue,
    Or,
    Uid,
    conjuncts,
    mentions_user,
)
from bridge.authorization.evaluation import (
    Env,
    Step,
    Tables,
    Test,
    Value,
    compile_test,
    compile_value,
    layout_of,
    plan_steps,
    rows_of,
)

Users: TypeAlias = set[str] | None
"""User ids, or None for everybody of the role, anon included."""


class Finder(msgspec.Struct, frozen=True):
    """Finds the users for whom a condition is true.

    Attributes:
        find: Returns at least all of them, for the row in the Env.
        exact: True if ``find`` returns no others.
    """

    find: Callable[[Env], Users]
    exact: bool


_EVERYBODY = Finder(lambda _env: None, exact=False)


def compile_finder(expr: Expr, tables: Tables, layout: Mapping[int, str]) -> Finder:
    """Return how to find the users for whom ``expr`` is true."""
    if not mentions_user(expr):
        test = compile_test(expr, tables, layout)
        return Finder(lambda env: None if test(env) is True else set(), exact=True)
    match expr:
        case Compare(op="=", left=Uid(), right=other) | Compare(op="=", left=other, right=Uid()) if (
            not mentions_user(other)
        ):
            value = compile_value(other, tables, layout)
            return Finder(lambda env: set() if (user := value(env)) is None else {user}, exact=True)
        case And(items=items):
            return _intersection([compile_finder(item, tables, layout) for item in items])
        case Or(items=items):
            return _union([compile_finder(item, tables, layout) for item in items])
        case IsTrue(operand=operand):
            return compile_finder(operand, tables, layout)
        case Exists():
            return _members(expr, tables, layout)
        case _:
            return _EVERYBODY


def _intersection(finders: Sequence[Finder]) -> Finder:
    def find(env: Env) -> Users:
        found: Users = None
        for finder in finders:
            users = finder.find(env)
            if users is not None:
                found = users if found is None else found & users
                if not found:
                    return found
        return found

    return Finder(find, exact=all(finder.exact for finder in finders))


def _union(finders: Sequence[Finder]) -> Finder:
    def find(env: Env) -> Users:
        found: set[str] = set()
        for finder in finders:
            users = finder.find(env)
            if users is None:
                return None
            found = found | users if found else users
        return found

    return Finder(find, exact=all(finder.exact for finder in finders))


def user_columns(expr: Exists) -> list[ColumnRef]:
    """Return the columns of the subquery's own tables that must equal the user's id."""
    own = {source.scope for source in expr.sources}
    found = []
    for condition in conjuncts(expr.where):
        match condition:
            case (
                Compare(op="=", left=Uid(), right=ColumnRef() as column)
                | Compare(op="=", left=ColumnRef() as column, right=Uid())
            ) if column.scope in own:
                found.append(column)
            case _:
                pass
    return found


def _members(expr: Exists, tables: Tables, outer: Mapping[int, str]) -> Finder:
    layout = layout_of(expr.sources, outer)
    conditions = conjuncts(expr.where)
    columns = user_columns(expr)
    binding = {Compare("=", Uid(c.type), c) for c in columns} | {
        Compare("=", c, Uid(c.type)) for c in columns
    }
    steps = plan_steps(expr.sources, [c for c in conditions if not mentions_user(c)], tables, layout)
    rest = [c for c in conditions if mentions_user(c) and c not in binding]
    if columns:
        values = [compile_value(column, tables, layout) for column in columns]
        if len(steps) == 1 and len(values) == 1 and not steps[0].tests and not rest:
            return Finder(_plain_members(steps[0], columns[0]), exact=True)
        tests = [compile_test(c, tables, layout) for c in rest]
        return Finder(lambda env: _named(steps, env, values, tests), exact=True)
    inner = _intersection([compile_finder(c, tables, layout) for c in rest])
    return Finder(lambda env: _nested(steps, env, inner), exact=inner.exact)


def _plain_members(step: Step, column: ColumnRef) -> Callable[[Env], Users]:
    """The common case, ``p.dialog_id = row.dialog_id and p.user_id = auth.uid()``: one index look-up."""
    position = step.table.position[column.name]

    def find(env: Env) -> Users:
        users = {row[position] for row in rows_of(step, env)}
        users.discard(None)
        return users

    return find


def _named(steps: Sequence[Step], env: Env, values: Sequence[Value], tests: Sequence[Test]) -> Users:
    users: set[str] = set()
    asker = env.uid

    def leaf() -> None:
        user = values[0](env)
        if user is None or any(value(env) != user for value in values[1:]):
            return
        env.uid = user
        if user not in users and all(test(env) is True for test in tests):
            users.add(user)

    _walk(steps, 0, env, leaf)
    env.uid = asker
    return users


def _nested(steps: Sequence[Step], env: Env, inner: Finder) -> Users:
    users: set[str] = set()
    everybody = False

    def leaf() -> None:
        nonlocal users, everybody
        found = inner.find(env)
        if found is None:
            everybody = True
        else:
            users = users | found

    _walk(steps, 0, env, leaf)
    return None if everybody else users


def _walk(steps: Sequence[Step], depth: int, env: Env, leaf: Callable[[], None]) -> None:
    if depth == len(steps):
        leaf()
        return
    step = steps[depth]
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        if all(test(env) is True for test in step.tests):
            _walk(steps, depth + 1, env, leaf)
