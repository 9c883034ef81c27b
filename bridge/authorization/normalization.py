"""Rewrites a condition of which only "is it true" matters into EXISTS, AND and OR as far as that goes.

That is what the reverse index can follow: a scalar look-up of at most one row, a CASE, a COALESCE or an
``= ANY (ARRAY(SELECT ...))`` says the same as an EXISTS where NULL may count as false.  Constants are folded.
"""

import functools
from collections.abc import Callable, Sequence

from bridge.authorization.algebra import (
    FALSE,
    TRUE,
    And,
    AnyOf,
    Arm,
    ArrayOf,
    Call,
    Case,
    Coalesce,
    Compare,
    Const,
    Exists,
    Expr,
    InRows,
    IsNull,
    IsTrue,
    Not,
    Or,
    Rows,
    Source,
)
from bridge.authorization.containment import contained
from bridge.authorization.expressions import (
    all_of,
    any_of,
    compare,
    never_fails,
    rebuild,
    rebuilt,
    spreads_user,
)
from bridge.authorization.failing import all_in_order, any_in_order, computed, is_false_as_written
from bridge.authorization.folding import folded
from bridge.authorization.rephrasing import OPPOSITE, among, opposite, some_rows
from bridge.authorization.uniqueness import UniqueKeys, at_most_one


class Normalizer:
    """Rewrites conditions of one catalog.

    Args:
        unique_keys: Knows which look-ups find at most one row.
    """

    def __init__(self, unique_keys: UniqueKeys) -> None:
        self._at_most_one = functools.partial(at_most_one, unique_keys=unique_keys)

    def qualifier(self, expr: Expr) -> Expr:
        """Return what :meth:`positive` does, where a part that is NULL ends an AND as a false one does."""
        if not isinstance(expr, And):
            return self.positive(expr)
        return all_in_order([(self.positive(item), True) for item in expr.items], self._is_safe)

    def _is_safe(self, expr: Expr) -> bool:
        return never_fails(expr, at_most_one=self._at_most_one)

    def _beside(self, value: Expr, found: Expr) -> Expr:
        """Return ``found``, which need not compute ``value`` though Postgres does."""
        return found if self._is_safe(value) else self._in_turn([computed(self.neutral(value)), found])

    def _all(self, items: Sequence[Expr], answer: Callable[[Expr], Expr]) -> Expr:
        return all_in_order([(answer(item), is_false_as_written(item)) for item in items], self._is_safe)

    def _any(self, items: Sequence[Expr], answer: Callable[[Expr], Expr]) -> Expr:
        return any_in_order([answer(item) for item in items], self._is_safe)

    def positive(self, expr: Expr) -> Expr:
        """Return a condition that is true exactly where ``expr`` is; it may be false where that is NULL."""
        match expr:
            case Const(value=value):
                return TRUE if value is True else FALSE
            case And(items=items):
                return self._all(items, self.positive)
            case Or(items=items):
                return self._any(items, self.positive)
            case IsTrue(operand=operand):
                return self.positive(operand)
            case Not(operand=operand):
                return self.negative(operand)
            case Exists(sources=sources, where=where):
                return self._exists(sources, where)
            case InRows(left=left, value=value, sources=sources, where=where):
                if spreads_user(sources):
                    arm = Arm(sources, where, value)
                    return self.positive(AnyOf(left, Rows("array", (arm,), f"{value.type}[]")))
                found = self._exists(sources, all_of([where, compare("=", left, value)]))
                return self._beside(left, found)
            case Case():
                return self._case(expr, self.positive)
            case Coalesce(items=items):
                return self._coalesce(items, self.positive)
            case Compare():
                return self._compare(expr)
            case AnyOf(left=left, array=Rows(kind="array" | "array_agg", arms=arms)) if not any(
                spreads_user(arm.sources) for arm in arms
            ):
                return self._any(
                    [InRows(left, arm.value, arm.sources, arm.where) for arm in arms], self.positive
                )
            case AnyOf(left=left, array=Coalesce(items=(array, Const(value=[])))):
                return self.positive(AnyOf(left, array))
            case IsNull(operand=Rows(kind="one" | "first") as rows) if self._at_most_one(rows):
                return Not(self._has_value(rows))
            case AnyOf(left=left, array=ArrayOf(items=items)) if all(map(self._is_safe, items)):
                return self.positive(Or(tuple(compare("=", left, item) for item in items)))
            case (
                Call(name="jsonb @> jsonb", args=(whole, part))
                | Call(name="jsonb <@ jsonb", args=(part, whole))
            ) if self._is_safe(part):
                said = contained(self.neutral(whole), self.neutral(part))
                return self.neutral(expr) if said is None else self.positive(said)
            case (
                Call(name="array @>", args=(array, ArrayOf(items=items)))
                | Call(name="array <@", args=(ArrayOf(items=items), array))
            ) if all(map(self._is_safe, items)):
                return self.positive(And(tuple(AnyOf(item, array) for item in items)))
            case (
                Call(name="array &&", args=(array, ArrayOf(items=items)))
                | Call(name="array &&", args=(ArrayOf(items=items), array))
            ) if all(map(self._is_safe, items)):
                return self.positive(Or(tuple(AnyOf(item, array) for item in items)))
            case _:
                same = self.neutral(expr)
                return self.positive(same) if isinstance(same, Const) else same

    def negative(self, expr: Expr) -> Expr:
        """Return a condition that is true exactly where ``expr`` is false."""
        match expr:
            case Const(value=value):
                return TRUE if value is False else FALSE
            case And(items=items):
                return self._any(items, self.negative)
            case Or(items=items):
                return self._all(items, self.negative)
            case Not(operand=operand):
                return self.positive(operand)
            case IsTrue(operand=operand):
                return opposite(self.positive(operand))
            case Exists():
                return opposite(self.positive(expr))
            case IsNull(operand=Rows(kind="one" | "first") as rows) if self._at_most_one(rows):
                return self._has_value(rows)
            case Case():
                return self._case(expr, self.negative)
            case Coalesce(items=items):
                return self._coalesce(items, self.negative)
            case Compare(op=op, left=left, right=right):
                return self._compare(Compare(OPPOSITE[op], left, right))
            case _:
                same = self.neutral(expr)
                return self.negative(same) if isinstance(same, Const) else Not(same)

    def neutral(self, expr: Expr) -> Expr:
        """Return an expression of the same value, NULL included."""
        match expr:
            case Exists(sources=sources, where=where):
                found = self._exists(sources, where)
                return found if isinstance(found, Exists | Const) else IsTrue(found)
            case InRows(left=left, value=value, sources=sources, where=where):
                among = rebuilt(sources, self.neutral)
                return InRows(self.neutral(left), self.neutral(value), among, self.qualifier(where))
            case Rows(kind=kind, arms=arms, type=type_):
                rewritten = tuple(
                    Arm(rebuilt(a.sources, self.neutral), self.qualifier(a.where), self.neutral(a.value))
                    for a in arms
                )
                return Rows(kind, rewritten, type_)
            case IsTrue(operand=operand):
                return IsTrue(self.positive(operand))
            case Case():
                return self._folded_case(expr)
            case And(items=items):
                return all_in_order([(self.neutral(item), True) for item in items], self._is_safe)
            case Or(items=items):
                return self._any(items, self.neutral)
            case _:
                return folded(rebuild(expr, self.neutral))

    def _exists(self, sources: tuple[Source, ...], where: Expr) -> Expr:
        where = self.qualifier(where)
        if where == FALSE:
            return FALSE
        if not sources:
            return where
        if len(sources) == 1 and sources[0].elements is not None:
            found = among(sources[0].scope, sources[0].elements, where)
            if found is not None:
                return self.positive(found)
        return Exists(rebuilt(sources, self.neutral), where)

    def _folded_case(self, expr: Case) -> Expr:
        branches: list[tuple[Expr, Expr]] = []
        for condition, result in expr.branches:
            test = self.positive(condition)
            if test == FALSE:
                continue
            if test == TRUE:
                if not branches:
                    return self.neutral(result)
                return Case(tuple(branches), self.neutral(result), expr.type)
            branches.append((test, self.neutral(result)))
        otherwise = self.neutral(expr.otherwise)
        return Case(tuple(branches), otherwise, expr.type) if branches else otherwise

    def _case(self, expr: Case, answer: Callable[[Expr], Expr]) -> Expr:
        parts: list[Expr] = []
        before: list[Expr] = []
        for condition, result in (*expr.branches, (TRUE, expr.otherwise)):
            test, wanted = self.positive(condition), answer(result)
            if wanted != FALSE or not self._is_safe(test):
                # Where the condition is NULL the result is not computed.
                plain = self._is_safe(wanted) or isinstance(test, Const | Exists | IsNull | IsTrue)
                taken = test if plain else IsTrue(test)
                parts.append(self._in_turn([*before, taken, wanted]))
            if wanted != TRUE and test != FALSE:
                # Where the branch is taken and true, so is the OR: later ones need not exclude it.
                before.append(opposite(test))
            if test == TRUE:
                break
        return any_in_order(parts, self._is_safe)

    def _in_turn(self, parts: Sequence[Expr]) -> Expr:
        return all_in_order([(part, True) for part in parts], self._is_safe)

    def _coalesce(self, items: Sequence[Expr], answer: Callable[[Expr], Expr]) -> Expr:
        parts: list[Expr] = []
        before: list[Expr] = []
        for item in items:
            wanted = answer(item)
            if wanted != FALSE or not self._is_safe(item):
                parts.append(self._in_turn([*before, wanted]))
            before.append(self.positive(IsNull(item)))
        return any_in_order(parts, self._is_safe)

    def _compare(self, expr: Compare) -> Expr:
        op = expr.op
        sides: tuple[tuple[Expr, Callable[[Expr], Expr]], ...] = (
            (expr.left, lambda part: Compare(op, part, expr.right)),
            (expr.right, lambda part: Compare(op, expr.left, part)),
        )
        for side, put in sides:
            other = expr.right if side is expr.left else expr.left
            found = self._compared(side, put, some=some_rows(op, other) if side is expr.left else None)
            if found is not None:
                return self._beside(other, found)
        same = folded(compare(op, self.neutral(expr.left), self.neutral(expr.right)))
        return self.positive(same) if isinstance(same, Const) else same

    def _compared(self, side: Expr, put: Callable[[Expr], Expr], *, some: bool | None) -> Expr | None:
        """Return a comparison of what can be taken apart; None if ``side`` cannot.

        Args:
            side: What is compared.
            put: Returns the comparison with something else in its place.
            some: Whether it asks of a count if it is more than none (True), or none; None if neither.
        """
        match side:
            case Case(branches=branches, otherwise=otherwise):
                results = tuple((condition, put(result)) for condition, result in branches)
                return self.positive(Case(results, put(otherwise), "bool"))
            case Coalesce(items=items):
                return self._coalesce(items, lambda item: self.positive(put(item)))
            case Rows(kind="one" | "first", arms=arms) if self._at_most_one(side):
                rows = [Exists(arm.sources, all_of([arm.where, put(arm.value)])) for arm in arms]
                return self._any(rows, self.positive)
            case Rows(kind="count", arms=(arm,)) if some is not None:
                found = self.positive(Exists(arm.sources, arm.where))
                return found if some else opposite(found)
            case _:
                return None

    def _has_value(self, rows: Rows) -> Expr:
        return any_of(
            [
                self.positive(Exists(arm.sources, all_of([arm.where, Not(IsNull(arm.value))])))
                for arm in rows.arms
            ]
        )
