"""The other direction of a plan: from a row to the users who see it, without asking each user.

``user_id = auth.uid()`` names its user in the row; a membership subquery names them in an index; what
depends on the user alone names them in a cohort.  Where an expression names nobody, everybody of the
role is a candidate, and the plan asks the filter about each: the result is then marked as not exact.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from bridge.authorization import columns, jsonb, types
from bridge.authorization.algebra import (
    And,
    AnyOf,
    Call,
    Claims,
    ColumnRef,
    Compare,
    Exists,
    Expr,
    IsTrue,
    Opaque,
    Or,
    Uid,
)
from bridge.authorization.cohorts import Cohort, Cohorts
from bridge.authorization.env import Env, Tables, Test, Value, layout_of
from bridge.authorization.evaluation import compile_test, compile_value, steps_of
from bridge.authorization.expressions import (
    conjuncts,
    mentions_time,
    mentions_user,
    never_fails,
    scopes,
    spreads_user,
    walk,
)
from bridge.authorization.failing import is_computed
from bridge.authorization.reach import reaches, user_columns
from bridge.authorization.steps import Step, rows_of
from bridge.authorization.undecided import UndecidedError
from bridge.events import Principal

Users: TypeAlias = Collection[str | None] | None
"""User ids (None among them: anon), or None for everybody of the role."""

Compute: TypeAlias = Callable[[Callable[[Env], Any]], Callable[[Principal], Any]]


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


_EVERYBODY = Finder(lambda _env: None, exact=False, walks=True)
_ALL_OF_THEM = Finder(lambda _env: None, exact=False, of_row=True)
_NOBODY: frozenset[str | None] = frozenset()


class FinderCompiler:
    """Compiles conditions to finders.

    Args:
        tables: Look-up tables by name.
        cohorts: Takes the cohorts that the finders need; None to find by rows alone, also who is not here.
        for_user: Makes a closure over an Env one over a principal.
    """

    def __init__(self, tables: Tables, cohorts: Cohorts | None, for_user: Compute) -> None:
        self._tables = tables
        self._cohorts = cohorts
        self._for_user = for_user
        self._made: dict[tuple[str, Expr], Cohort] = {}

    def compile(self, expr: Expr, layout: Mapping[int, str]) -> Finder:
        """Return how to find the users for whom ``expr`` is true."""
        if not mentions_user(expr):
            return _row_only(compile_test(expr, self._tables, layout))
        if is_computed(expr):
            return _ALL_OF_THEM
        if _is_of_user(expr):
            return self._switch(expr)
        match expr:
            case Compare(op="=", left=left, right=right):
                return self._equal(left, right, layout)
            case AnyOf(left=left, array=array):
                return self._element(left, array, layout, _elements)
            case Call(name="jsonb ? text", args=(array, left)):
                return self._element(left, array, layout, jsonb.keys)
            case And(items=items):
                return _intersection([self.compile(item, layout) for item in items], items)
            case Or(items=items):
                found = _union([self.compile(item, layout) for item in items])
                # An error in one hides what later ones would show: the filter knows of whom.
                sure = all(map(never_fails, items[:-1]))
                return found if sure else msgspec.structs.replace(found, exact=False)
            case IsTrue(operand=operand):
                return self.compile(operand, layout)
            case Exists():
                return self._members(expr, layout)
            case _:
                return _EVERYBODY

    def _switch(self, expr: Expr) -> Finder:
        """What depends on the user alone: an admin flag, a claim."""
        test = self._for_user(compile_test(expr, self._tables, {}))
        return self._by_cohort(
            "true", expr, lambda principal: (True,) if test(principal) is True else (), lambda _env: True
        )

    def _by_cohort(
        self,
        kind: str,
        expr: Expr,
        values: Callable[[Principal], Collection[Hashable]],
        wanted: Value,
    ) -> Finder:
        """Find the users whose ``expr`` is ``wanted``: by one cohort, wherever the condition has it."""
        if self._cohorts is None:
            return _EVERYBODY
        if (kind, expr) not in self._made:
            self._made[kind, expr] = self._cohorts.add(Cohort(values, reaches(expr)))
        return Finder(_of_cohort(self._made[kind, expr], wanted), exact=True)

    def _equal(self, left: Expr, right: Expr, layout: Mapping[int, str]) -> Finder:
        for mine, other in ((left, right), (right, left)):
            if mentions_user(other) or mentions_time(mine):
                continue
            value = compile_value(other, self._tables, layout)
            if isinstance(mine, Uid):
                return _only(value)
            if _is_of_user(mine) and types.is_hashable(mine.type):
                return self._matching(mine, value)
        return _EVERYBODY

    def _matching(self, mine: Expr, value: Value) -> Finder:
        compute = self._for_user(compile_value(mine, self._tables, {}))
        return self._by_cohort("value", mine, lambda principal: (compute(principal),), value)

    def _element(
        self, left: Expr, array: Expr, layout: Mapping[int, str], elements: Callable[[Any], Collection[Any]]
    ) -> Finder:
        """``left = ANY (array)``: the user among the row's, or the row's among the user's."""
        if isinstance(left, Uid) and not mentions_user(array):
            of_row = columns.document(array, self._tables, layout) or compile_value(
                array, self._tables, layout
            )
            return Finder(lambda env: frozenset(elements(of_row(env))) - {None}, exact=True)
        if not mentions_user(left) and _is_of_user(array) and types.is_hashable(left.type):
            compute = self._for_user(compile_value(array, self._tables, {}))
            value = compile_value(left, self._tables, layout)
            kind = elements.__name__
            return self._by_cohort(kind, array, lambda principal: elements(compute(principal)), value)
        return _EVERYBODY

    def _members(self, expr: Exists, outer: Mapping[int, str]) -> Finder:
        if spreads_user(expr.sources):
            return _EVERYBODY  # each user's rows are others
        layout = layout_of(expr.sources, outer)
        conditions = conjuncts(expr.where)
        named = user_columns(expr.sources, expr.where)
        binding = {Compare("=", Uid(c.type), c) for c in named} | {
            Compare("=", c, Uid(c.type)) for c in named
        }
        known = [c for c in conditions if not mentions_user(c)]
        steps = steps_of(expr.sources, known, self._tables, layout)
        rest = [c for c in conditions if mentions_user(c) and c not in binding]
        if named:
            values = [compile_value(column, self._tables, layout) for column in named]
            if len(steps) == 1 and len(values) == 1 and not steps[0].tests and not rest:
                return Finder(_plain_members(steps[0], named[0]), exact=True)
            tests = [compile_test(c, self._tables, layout) for c in rest]
            exact = not any(_reads_claims(c) for c in rest)
            if not exact:
                tests = []  # the filter asks them, with the user's claims
            return Finder(lambda env: _named(steps, env, values, tests), exact=exact)
        inner = _intersection([self.compile(c, layout) for c in rest], rest)
        return Finder(lambda env: _nested(steps, env, inner), exact=inner.exact, walks=inner.walks)


def _is_of_user(expr: Expr) -> bool:
    """True if the value depends on the user and on look-up rows, but on no row and no time."""
    return mentions_user(expr) and not mentions_time(expr) and not scopes(expr)


def _reads_claims(expr: Expr) -> bool:
    return any(isinstance(node, Claims | Opaque) for node in walk(expr))


def _elements(array: list[Any] | None) -> list[Any]:
    return array or []


def _row_only(test: Test) -> Finder:
    def find(env: Env) -> Users:
        try:
            return None if test(env) is True else _NOBODY
        except UndecidedError as error:
            if error.untrue:
                return _NOBODY
            raise

    return Finder(find, exact=True, of_row=True)


def _only(value: Value) -> Finder:
    return Finder(lambda env: _NOBODY if (user := value(env)) is None else {user}, exact=True)


def _of_cohort(cohort: Cohort, value: Value) -> Callable[[Env], Users]:
    def find(env: Env) -> Users:
        wanted = value(env)
        users = _NOBODY if wanted is None else cohort.users(wanted)
        if cohort.undecided:
            env.doubt = True
            return {*users, *cohort.undecided}
        if cohort.is_mixed(users):
            env.doubt = True
        return users

    return find


def _intersection(finders: Sequence[Finder], items: Sequence[Expr]) -> Finder:
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


def _union(finders: Sequence[Finder]) -> Finder:
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


def _plain_members(step: Step, column: ColumnRef) -> Callable[[Env], Users]:
    """The common case, ``p.dialog_id = row.dialog_id and p.user_id = auth.uid()``: one index look-up."""
    position = 0 if step.table is None else step.table.position[column.name]

    def find(env: Env) -> Users:
        users = {row[position] for row in rows_of(step, env)}
        users.discard(None)
        return users

    return find


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
