"""What finds the users of a row once a policy is compiled, and how several findings are combined.

Each takes an Env with a row and names users.  Where it cannot tell of somebody, it names them too and sets
the Env's doubt: the filter decides about each.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import msgspec

from bridge.authorization.algebra import ColumnRef, Expr
from bridge.authorization.cohorts import Cohort
from bridge.authorization.env import Env, Test, Value
from bridge.authorization.expressions import never_fails
from bridge.authorization.steps import Step, rows_of
from bridge.authorization.undecided import UndecidedError

Users: TypeAlias = Collection[str | None] | None
"""User ids (None among them: anon), or None for everybody of the role."""


class Finder(msgspec.Struct, frozen=True):
    """Finds the users for whom a condition is true.

    Attributes:
        find: Returns at least all of them, for the row in the Env.
        exact: True if ``find`` returns no others, unless it set the Env's ``doubt``.
        walks: True if it may name nobody, so that everybody has to be asked.
        of_row: True if the condition is the row's alone: it names everybody, or nobody.
    """

    find: Callable[[Env], Users]
    exact: bool
    walks: bool = False
    of_row: bool = False


EVERYBODY = Finder(lambda _env: None, exact=False, walks=True)
"""Names nobody: everybody of the role is asked."""

ALL_OF_THEM = Finder(lambda _env: None, exact=False, of_row=True)
_NOBODY: frozenset[str | None] = frozenset()


def row_only(test: Test) -> Finder:
    """Find everybody, or nobody: the row alone decides."""

    def find(env: Env) -> Users:
        try:
            return None if test(env) is True else _NOBODY
        except UndecidedError as error:
            if error.untrue:
                return _NOBODY
            raise

    return Finder(find, exact=True, of_row=True)


def only(value: Value) -> Finder:
    """Find the user whom the row names."""
    return Finder(lambda env: _NOBODY if (user := value(env)) is None else {user}, exact=True)


def of_cohort(cohort: Cohort, value: Value) -> Finder:
    """Find the users whose value in the cohort is the row's."""

    def find(env: Env) -> Users:
        wanted = value(env)
        users = _NOBODY if wanted is None else cohort.users(wanted)
        if cohort.undecided:
            env.doubt = True
            return {*users, *cohort.undecided}
        if cohort.is_mixed(users):
            env.doubt = True
        return users

    return Finder(find, exact=True)


def intersection(finders: Sequence[Finder], items: Sequence[Expr]) -> Finder:
    """Find those whom all of ``finders`` find, which are those of ``items``."""
    failing = [not never_fails(item) for item in items]

    def find(env: Env) -> Users:
        found: Users = None
        for position, finder in enumerate(finders):
            try:
                users = finder.find(env)
            except UndecidedError:
                env.doubt = True
                continue
            if users is not None:
                found = users if found is None else _both(found, users)
                if not found:
                    _doubt(finders[position + 1 :], failing[position + 1 :], env)
                    return found
        return found

    narrowing = any(not finder.walks and not finder.of_row for finder in finders)
    return Finder(
        find,
        exact=all(finder.exact for finder in finders),
        walks=not narrowing and any(f.walks for f in finders),
    )


def _doubt(finders: Sequence[Finder], failing: Sequence[bool], env: Env) -> None:
    """Set the Env's doubt if one of the ``finders`` that may fail does.

    What stands before them names nobody, but may be NULL: Postgres goes on then, and an error hides the row.
    """
    for finder, may_fail in zip(finders, failing, strict=True):
        if may_fail:
            try:
                finder.find(env)
            except UndecidedError:
                env.doubt = True


def _both(some: Collection[str | None], others: Collection[str | None]) -> Collection[str | None]:
    if len(others) < len(some):
        some, others = others, some
    return {user for user in some if user in others}


def union(finders: Sequence[Finder]) -> Finder:
    """Find those whom any of ``finders`` finds."""

    def find(env: Env) -> Users:
        found: Collection[str | None] = _NOBODY
        for finder in finders:
            users = finder.find(env)
            if users is None:
                return None
            found = {*found, *users} if found and users else found or users
        return found

    return Finder(
        find,
        exact=all(finder.exact for finder in finders),
        walks=any(finder.walks for finder in finders),
    )


def plain_members(step: Step, column: ColumnRef) -> Finder:
    """The common case, ``p.dialog_id = row.dialog_id and p.user_id = auth.uid()``: one index look-up."""
    position = 0 if step.table is None else step.table.position[column.name]

    def find(env: Env) -> Users:
        users = {row[position] for row in rows_of(step, env)}
        users.discard(None)
        return users

    return Finder(find, exact=True)


def members(steps: Sequence[Step], values: Sequence[Value], tests: Sequence[Test], *, exact: bool) -> Finder:
    """Find the users whom look-up rows name: all of ``values`` are theirs, and ``tests`` hold of them."""
    return Finder(lambda env: _named(steps, env, values, tests), exact=exact)


def through(steps: Sequence[Step], inner: Finder) -> Finder:
    """Find the users whom ``inner`` finds for any of the look-up rows that ``steps`` lead to."""
    return Finder(lambda env: _nested(steps, env, inner), exact=inner.exact, walks=inner.walks)


def _named(steps: Sequence[Step], env: Env, values: Sequence[Value], tests: Sequence[Test]) -> Users:
    users: set[str | None] = set()
    asker = env.uid

    def leaf() -> None:
        user = values[0](env)
        if user is None or any(value(env) != user for value in values[1:]):
            return
        env.uid = user
        try:
            if user not in users and all(test(env) is True for test in tests):
                users.add(user)
        except UndecidedError:
            users.add(user)
            env.doubt = True

    try:
        _walk(steps, 0, env, leaf)
    finally:
        env.uid = asker
    return users


def _nested(steps: Sequence[Step], env: Env, inner: Finder) -> Users:
    users: set[str | None] = set()
    everybody = False

    def leaf() -> None:
        nonlocal everybody
        found = inner.find(env)
        if found is None:
            everybody = True
        else:
            users.update(found)

    _walk(steps, 0, env, leaf)
    return None if everybody else users


def _walk(steps: Sequence[Step], depth: int, env: Env, leaf: Callable[[], None]) -> None:
    if depth == len(steps):
        leaf()
        return
    step = steps[depth]
    for row in rows_of(step, env):
        env.rows[step.scope] = row
        try:
            counts = all(test(env) is True for test in step.tests)
        except UndecidedError as error:
            if not error.untrue:
                raise
            counts, env.doubt = False, True
        if counts:
            _walk(steps, depth + 1, env, leaf)
