"""The other direction of a plan: from a row to the users who see it, without asking each user.

``user_id = auth.uid()`` names its user in the row; a membership subquery names them in an index; what
depends on the user alone names them in a cohort.  Where an expression names nobody, everybody of the
role is a candidate, and the plan asks the filter about each: the result is then marked as not exact.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeAlias

import msgspec

from bridge.authorization import columns, jsonb, types
from bridge.authorization.algebra import (
    And,
    AnyOf,
    Call,
    Claims,
    Compare,
    Exists,
    Expr,
    IsTrue,
    Opaque,
    Or,
    Uid,
)
from bridge.authorization.cohorts import Cohort, Cohorts
from bridge.authorization.env import Env, Tables, Value, layout_of
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
from bridge.authorization.finders import (
    ALL_OF_THEM,
    EVERYBODY,
    Finder,
    intersection,
    members,
    of_cohort,
    only,
    plain_members,
    row_only,
    through,
    union,
)
from bridge.authorization.reach import reaches, user_columns
from bridge.events import Principal

Compute: TypeAlias = Callable[[Callable[[Env], Any]], Callable[[Principal], Any]]


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
            return row_only(compile_test(expr, self._tables, layout))
        if is_computed(expr):
            return ALL_OF_THEM
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
                return intersection([self.compile(item, layout) for item in items], items)
            case Or(items=items):
                found = union([self.compile(item, layout) for item in items])
                # An error in one hides what later ones would show: the filter knows of whom.
                sure = all(map(never_fails, items[:-1]))
                return found if sure else msgspec.structs.replace(found, exact=False)
            case IsTrue(operand=operand):
                return self.compile(operand, layout)
            case Exists():
                return self._members(expr, layout)
            case _:
                return EVERYBODY

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
            return EVERYBODY
        if (kind, expr) not in self._made:
            self._made[kind, expr] = self._cohorts.add(Cohort(values, reaches(expr)))
        return of_cohort(self._made[kind, expr], wanted)

    def _equal(self, left: Expr, right: Expr, layout: Mapping[int, str]) -> Finder:
        for mine, other in ((left, right), (right, left)):
            if mentions_user(other) or mentions_time(mine):
                continue
            value = compile_value(other, self._tables, layout)
            if isinstance(mine, Uid):
                return only(value)
            if _is_of_user(mine) and types.is_hashable(mine.type):
                return self._matching(mine, value)
        return EVERYBODY

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
        return EVERYBODY

    def _members(self, expr: Exists, outer: Mapping[int, str]) -> Finder:
        if spreads_user(expr.sources):
            return EVERYBODY  # each user's rows are others
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
                return plain_members(steps[0], named[0])
            tests = [compile_test(c, self._tables, layout) for c in rest]
            exact = not any(_reads_claims(c) for c in rest)
            if not exact:
                tests = []  # the filter asks them, with the user's claims
            return members(steps, values, tests, exact=exact)
        inner = intersection([self.compile(c, layout) for c in rest], rest)
        return through(steps, inner)


def _is_of_user(expr: Expr) -> bool:
    """True if the value depends on the user and on look-up rows, but on no row and no time."""
    return mentions_user(expr) and not mentions_time(expr) and not scopes(expr)


def _reads_claims(expr: Expr) -> bool:
    return any(isinstance(node, Claims | Opaque) for node in walk(expr))


def _elements(array: list[Any] | None) -> list[Any]:
    return array or []
