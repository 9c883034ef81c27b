"""Whom a row of a look-up table counts for, whatever row is asked about.

A changed document may change who sees its comments, and nobody has these at hand.  For whom it may is found
in the document: a look-up row counts for a user only where its subquery's condition can be true with it.
"""

import functools
from collections.abc import Collection, Iterable

import msgspec

from bridge.authorization import types
from bridge.authorization.algebra import ColumnRef, Compare, Exists, Expr, Source
from bridge.authorization.audience import FinderCompiler
from bridge.authorization.env import Env, Tables, Value
from bridge.authorization.evaluation import compile_value
from bridge.authorization.expressions import (
    all_of,
    conjuncts,
    is_harmless,
    mentions_time,
    mentions_user,
    own_sources,
    scopes,
    walk,
)
from bridge.authorization.finders import Finder, Users
from bridge.authorization.lookup import LookupRow
from bridge.authorization.reach import selections
from bridge.authorization.uniqueness import at_most_one


class Place(msgspec.Struct, frozen=True):
    """One place where a condition looks into the table.

    Attributes:
        scope: Scope of the look-up row.
        finder: Finds those for whom the row may count there; None if it may be anybody.
        guards: What is computed of the row alone, and may fail: that counts for everybody.
        by_row: True if the row alone tells, whatever other look-up rows there are.
    """

    scope: int
    finder: Finder | None
    guards: tuple[Value, ...] = ()
    by_row: bool = False


class Concern(msgspec.Struct, frozen=True):
    """Whom the rows of one look-up table count for.

    Attributes:
        places: Where the condition looks into the table.
    """

    places: tuple[Place, ...]

    @property
    def by_row(self) -> bool:
        """True if a row alone tells whom it counts for, also one of the past."""
        return all(place.by_row for place in self.places)

    @property
    def is_everybodys(self) -> bool:
        """True if nothing in a row says whom it counts for."""
        return any(p.finder is None or p.finder.walks or p.finder.of_row for p in self.places)

    def users(self, env: Env, row: LookupRow) -> Users:
        """Return the users for whom ``row`` may count, as the other look-up rows are now; None for all.

        Raises:
            UndecidedError: what is computed of the row fails.
        """
        found: set[str | None] = set()
        for place in self.places:
            if place.finder is None:
                return None
            env.row, env.uid, env.claims_json, env.doubt = {}, None, "{}", False
            env.rows[place.scope] = row
            for guard in place.guards:
                guard(env)
            users = place.finder.find(env)
            if users is None or env.doubt:
                return None
            found.update(users)
        return found


def concern(
    condition: Expr, lookup: str, tables: Tables, finders: FinderCompiler, *, claims: Collection[Expr]
) -> Concern:
    """Compile whom a row of ``lookup`` counts for.

    Args:
        condition: A plan's.
        lookup: Name of the look-up table.
        tables: Look-up tables by name.
        finders: Compiles the finders; without cohorts, for also those who are not here.
        claims: What is computed of the claims alone, and may fail; the plan knows for whom it does.
    """
    known = frozenset(node for part in claims for node in walk(part))
    looks = [
        _Look(source, sources, where)
        for node in walk(condition)
        for sources, where in selections(node)
        for source in sources
        if source.elements is None and source.table == lookup
    ]
    return Concern(tuple(_place(look, tables, finders, known) for look in looks))


class _Look(msgspec.Struct, frozen=True):
    """A table in a subquery, with all of that."""

    source: Source
    sources: tuple[Source, ...]
    where: Expr


def _place(look: _Look, tables: Tables, finders: FinderCompiler, claims: frozenset[Expr]) -> Place:
    scope = look.source.scope
    guards = _guards(look, tables, claims)
    if guards is None:
        return Place(scope, None)
    layout = {scope: look.source.table}
    said = _said_by(look)
    finder = finders.compile(said, layout)
    return Place(
        scope,
        finder,
        tuple(compile_value(guard, tables, layout) for guard in guards),
        by_row=not any(own_sources(node) for node in walk(said)),
    )


def _guards(look: _Look, tables: Tables, claims: frozenset[Expr]) -> list[Expr] | None:
    """Return what may fail, all of it of the look-up row alone; None if there is more.

    An error hides rows also from those for whom the look-up row does not count.
    """
    proven = functools.partial(at_most_one, unique_keys=lambda name: (tables[name].primary_key,))
    computed = [look.where, *(other.elements for other in look.sources if other.elements is not None)]
    guards: list[Expr] = []
    for node in (node for expr in computed for node in walk(expr)):
        if is_harmless(node, proven) or node in claims:
            continue
        if (
            not scopes(node) <= {look.source.scope}
            or mentions_user(node)
            or mentions_time(node)
            or any(own_sources(part) for part in walk(node))
        ):
            return None
        guards.append(node)
    return guards


def _said_by(look: _Look) -> Expr:
    """Return what the subquery asks of the look-up row, and of others that lead from it to a user.

    What depends on the time is left out: it was another a moment ago, and nothing tells when it turns.
    """
    conditions = [c for c in conjuncts(look.where) if not mentions_time(c)]
    settled = {look.source.scope}
    joined: list[Source] = []
    while True:
        others = [other for other in look.sources if other.scope not in settled]
        following = next((other for other in others if _is_led_to(other, settled, conditions)), None)
        if following is None:
            break
        joined.append(following)
        settled.add(following.scope)
    own = [c for c in conditions if scopes(c) <= {look.source.scope}]
    rest = [c for c in conditions if scopes(c) <= settled and c not in own]
    return all_of([*own, Exists(tuple(joined), all_of(rest))] if joined else own)


def _is_led_to(source: Source, settled: Collection[int], conditions: Iterable[Expr]) -> bool:
    """True if an index, or the elements of an array, lead to ``source`` from rows that are known."""
    if source.elements is not None:
        return _is_of(source.elements, settled)
    return any(
        isinstance(mine, ColumnRef)
        and mine.scope == source.scope
        and types.is_hashable(mine.type)
        and _is_of(other, settled)
        for condition in conditions
        if isinstance(condition, Compare) and condition.op == "="
        for mine, other in ((condition.left, condition.right), (condition.right, condition.left))
    )


def _is_of(expr: Expr, settled: Collection[int]) -> bool:
    used = scopes(expr)
    return bool(used) and used <= set(settled)
