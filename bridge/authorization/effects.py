"""What a change of a look-up row does to who sees what.

Before the change is applied the stage takes :class:`Probe` values, "who sees this row now"; after
it, it asks again.  Whoever gained or lost sight of a row is told: of the row itself where the
look-up row points at it by primary key (a membership and its dialog), with a request to read
again where it concerns many rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from bridge.authorization.lookup import LookupRow, LookupTable, same
from bridge.authorization.plan import Plan, Who
from bridge.authorization.reach import Reach
from bridge.authorization.roster import Roster
from bridge.authorization.sightings import Sighting
from bridge.authorization.undecided import UndecidedError
from bridge.events import Principal, Row


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A question whose answer may change with a look-up row.

    Attributes:
        plan: Whose answer.
        row: Columns of the plan's table that are known: the primary key, or the linked ones.
        is_key: True if ``row`` names exactly one row, by primary key.
        users: The only users it can change for; None if it may be anybody.
    """

    plan: Plan
    row: Mapping[str, Any]
    is_key: bool
    users: frozenset[str | None] | None


def probes(
    plans: Sequence[Plan],
    lookup: LookupTable,
    before: LookupRow | None,
    after: LookupRow | None,
    *,
    primary_keys: Mapping[str, Sequence[str]],
    fits: Callable[[str, str, str, str], bool] = lambda *_names: True,
    counts: Callable[[Plan, Reach], bool] = lambda *_: True,
) -> list[Probe]:
    """Return what to ask before and after ``lookup`` changes from ``before`` to ``after``.

    Args:
        plans: All plans.
        lookup: The look-up table.
        before: Its row before the change, None for INSERT.
        after: Its row after the change, None for DELETE.
        primary_keys: Primary keys of the plans' tables.
        fits: Tells whether a value of a look-up column is one of a plan's column: ``(look-up table, its
            column, plan's table, its column)``.
        counts: Tells whether the change can matter to a plan in this way.
    """
    if same(before, after):
        return []  # only columns changed that no policy reads
    merged: dict[tuple[int, tuple[tuple[str, Any], ...]], Probe] = {}
    for plan in plans:
        for reach in plan.reaches:
            if reach.lookup != lookup.name or not counts(plan, reach):
                continue
            for row in (before, after):
                if row is None:
                    continue
                known = {
                    asked: row[lookup.position[own]]
                    for asked, own in reach.link
                    if fits(lookup.name, own, plan.table, asked)
                }
                if None in known.values():
                    continue  # NULL equals nothing, so this look-up row counts for no row
                key = primary_keys[plan.table]
                is_key = bool(known) and set(known) >= set(key)
                if is_key:  # what else must be equal is asked of the row: two questions would be told twice
                    known = {column: known[column] for column in key}
                users = _users(reach, lookup, row)
                identity = (id(plan), tuple(sorted(known.items())))
                earlier = merged.get(identity)
                if earlier is not None:
                    users = None if users is None or earlier.users is None else users | earlier.users
                merged[identity] = Probe(
                    plan=plan,
                    row=known,
                    is_key=is_key,
                    users=users,
                )
    return list(merged.values())


def _users(reach: Reach, lookup: LookupTable, row: LookupRow) -> frozenset[str | None] | None:
    if reach.user_column is None:
        return None
    user = row[lookup.position[reach.user_column]]
    return frozenset() if user is None else frozenset((user,))


def far_reaching(
    plan: Plan, primary_key: Sequence[str], fits: Callable[[str, str, str, str], bool]
) -> list[str]:
    """Return the look-up tables whose rows, when they change, have everybody of the plan's role read again.

    Args:
        plan: The plan.
        primary_key: Of its table.
        fits: As of :func:`probes`.
    """
    found: dict[str, None] = {}
    for reach in plan.reaches:
        known = {asked for asked, own in reach.link if fits(reach.lookup, own, plan.table, asked)}
        if reach.user_column is not None or known >= set(primary_key) or known >= plan.row_columns:
            continue
        if plan.concerns[reach.lookup].is_everybodys:
            found[reach.lookup] = None
    return list(found)


class Crowd:
    """The users for whom a look-up row counts before its change, or after it.

    Args:
        found: What may change with the row.
        lookup: The look-up table.
        who: Whom it is about.
    """

    def __init__(self, found: Sequence[Probe], lookup: str, who: Who) -> None:
        self._lookup = lookup
        self._who = who
        self._users: dict[Plan, frozenset[str | None] | None] = {
            probe.plan: frozenset() for probe in found if probe.users is None
        }

    def count(self, row: LookupRow | None) -> None:
        """Add those for whom ``row`` counts as the look-up rows are now."""
        if row is None:
            return
        for plan, known in self._users.items():
            if known is not None:
                users = plan.concerned_by(self._lookup, row, who=self._who)
                self._users[plan] = None if users is None else known.union(users)

    def count_all(self) -> None:
        """Add everybody: the row is not known."""
        self._users.update(dict.fromkeys(self._users))

    def of(self, found: Sequence[Probe]) -> list[Probe]:
        """Return ``found``, each for these users only."""
        return [
            probe
            if probe.users is not None
            else msgspec.structs.replace(probe, users=self._users[probe.plan])
            for probe in found
        ]


def concerned(probe: Probe, roster: Roster) -> Collection[Principal]:
    """Return the principals on the roster for whom the probe's answer can change."""
    if probe.users is None:
        return roster.of_role(probe.plan.role)
    return roster.of_users(probe.plan.role, probe.users)


def viewers(plan: Plan, row: Row, roster: Roster, users: frozenset[str | None] | None = None) -> Sighting:
    """Return the principals who see ``row`` now.

    Args:
        plan: The plan of the row's table; its role is the principals'.
        row: A row with at least the plan's columns.
        roster: Who is here.
        users: Ask about these users only; None for all.
    """
    known = plan.sightings if users is None else None
    if known is None:
        return _viewers(plan, row, roster, users)
    known.refresh(roster)
    key = known.key(row)
    if key is None:
        return _viewers(plan, row, roster)
    sighting = known.find(key)
    if sighting is None:
        sighting = _viewers(plan, row, roster)
        if not sighting.open:
            known.keep(key, sighting)
    return sighting


def _viewers(plan: Plan, row: Row, roster: Roster, users: frozenset[str | None] | None = None) -> Sighting:
    candidates: Collection[Principal]
    if users is None:
        found, exact = plan.users(row)
        candidates = roster.of_role(plan.role) if found is None else roster.of_users(plan.role, found)
        if exact:
            return Sighting(tuple(candidates))
    else:
        candidates = roster.of_users(plan.role, users)
    sees: list[Principal] = []
    undecided: list[Principal] = []
    for principal in candidates:
        try:
            if plan.visible(row, principal):
                sees.append(principal)
        except UndecidedError:
            undecided.append(principal)
    return Sighting(tuple(sees), tuple(undecided))
