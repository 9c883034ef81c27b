"""Compares the bridge's decisions with what Postgres itself answers, on live rows, both directions."""

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bridge.authorization import temporal
from bridge.authorization.capturing import chosen
from bridge.authorization.catalog import Catalog, Table, decode_catalog
from bridge.authorization.composition import compose
from bridge.authorization.effects import viewers
from bridge.authorization.loader import load_pages
from bridge.authorization.plan import Plan
from bridge.authorization.planset import lookup_tables
from bridge.authorization.roster import Roster
from bridge.authorization.undecided import UndecidedError
from bridge.clock import ManualClock
from bridge.events import Principal, Row
from bridge.inspection.database import DirectDatabase
from bridge.inspection.names import find_table

ROLES = ("authenticated", "anon")


class Difference(msgspec.Struct, frozen=True):
    """A decision that is not Postgres's.

    Attributes:
        row: The primary key, or all columns where there is none.
        direction: ``filter`` or ``audience``.
    """

    table: str
    row: Row
    role: str
    user_id: str | None
    bridge: bool
    postgres: bool
    direction: str


class Verified(msgspec.Struct, kw_only=True):
    """What was compared of one table.

    Attributes:
        rows: Rows that were looked at.
        users: Users for whom they were, anon among them.
        decisions: Pairs of both, in both directions.
        visible: Pairs in which Postgres shows the row.
        asked: Decisions that memory left to Postgres.
        opaque: Why, where a policy is the reason.
        skipped: Users that the rows lead to and that can have no token: their ids are no uuids.
    """

    table: str
    rows: int = 0
    users: int = 0
    decisions: int = 0
    visible: int = 0
    asked: int = 0
    opaque: list[str] = []
    skipped: list[str] = []
    differences: list[Difference] = []


class Report(msgspec.Struct, kw_only=True):
    """The whole comparison.

    Attributes:
        policies: SELECT and ALL policies of the tables, per role that they bind.
        compiled: Those of them that memory answers alone.
    """

    tables: list[Verified] = []
    policies: int = 0
    compiled: int = 0


async def verify(
    database: DirectDatabase,
    names: Sequence[str],
    *,
    rows: int,
    users: int,
    on_table: Callable[[Verified], None] = lambda _: None,
) -> Report:
    """Compare, table by table.

    Args:
        database: The database, in a transaction of its own.
        names: Qualified names, as SQL has them or without their quotes; empty means every
            table with row-level security.
        rows: Rows of each table.
        users: Users for each table; anon is asked about as well.
        on_table: Called after each table.

    Raises:
        ConfigError: a table does not exist, or is a view.
    """
    catalog = decode_catalog(await database.catalog())
    clock = ManualClock(at=await database.now())
    report = Report()
    for table in _tables(catalog, names):
        plans, counted = await _plans(database, catalog, table, lambda: temporal.from_datetime(clock.now()))
        report.policies += counted[0]
        report.compiled += counted[1]
        verified = Verified(table=table.quoted)
        verified.opaque = sorted({part.reason for plan in plans for part in plan.opaque})
        sample = await database.sample(table, rows)
        named, verified.skipped = _named(plans, [row for _, row in sample])
        principals = await _principals(database, named, users)
        verified.rows, verified.users = len(sample), len(principals)
        for plan in plans:
            mine = [principal for principal in principals if principal.role == plan.role]
            await _compare(database, (table, plan), sample, mine, verified)
        report.tables.append(verified)
        on_table(verified)
    return report


def _tables(catalog: Catalog, names: Sequence[str]) -> list[Table]:
    if not names:
        return [t for t in catalog.tables if t.rls and t.kind in ("r", "p") and t.schema != "auth"]
    return list(dict.fromkeys(find_table(catalog, name) for name in names))


async def _plans(
    database: DirectDatabase, catalog: Catalog, table: Table, now_us: Callable[[], int]
) -> tuple[list[Plan], tuple[int, int]]:
    capturing = chosen(catalog, [table.qualified], "auto")
    sights = [compose(catalog, table, role, capturing) for role in ROLES]
    lookups = lookup_tables(catalog, sights)
    for lookup in lookups.values():
        await load_pages(database, lookup)
    plans = [Plan(sight, lookups, now_us) for sight in sights]
    counts = (sum(s.policies for s in sights), sum(s.policies - s.asked for s in sights))
    return plans, counts


def _named(plans: Sequence[Plan], rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return the users that the rows lead to, as far as memory finds them; then those that are no uuids."""
    named: dict[str, None] = {}
    others: dict[str, None] = {}
    for row in rows:
        for plan in plans:
            found, _ = plan.users(row)
            for user in found or ():
                if user is None:
                    continue
                try:
                    named[str(uuid.UUID(user))] = None
                except (ValueError, AttributeError):  # AttributeError: a number
                    others[str(user)] = None
    return list(named), sorted(others)


async def _principals(database: DirectDatabase, named: Sequence[str], max_users: int) -> list[Principal]:
    """Return some of the users that the rows lead to, others at random, and anon."""
    known = {str(user["id"]): user for user in await database.users(max_users)}
    half = named[: max(max_users - len(known), max_users // 2)]
    chosen = [*half, *(user for user in known if user not in half)][:max_users]
    if len(chosen) < max_users:
        chosen.append(str(uuid.uuid4()))  # somebody whom no row knows
    principals = [_principal(user, known.get(user) or await database.user(user)) for user in chosen]
    return [*principals, Principal(role="anon", user_id=None, claims_json='{"role":"anon"}')]


def _principal(user_id: str, user: dict[str, Any] | None) -> Principal:
    """Return a user with the claims that Supabase Auth puts into a token."""
    claims: dict[str, Any] = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "aal": "aal1"}
    if user is not None:
        claims["email"] = user.get("email") or ""
        claims["app_metadata"] = user.get("raw_app_meta_data") or {}
        claims["user_metadata"] = user.get("raw_user_meta_data") or {}
    text = json.dumps(claims, sort_keys=True, default=str)
    return Principal(role="authenticated", user_id=user_id, claims_json=text)


async def _compare(
    database: DirectDatabase,
    of: tuple[Table, Plan],
    sample: Sequence[tuple[str, Row]],
    principals: Sequence[Principal],
    verified: Verified,
) -> None:
    table, plan = of
    roster = Roster(linger_s=1.0, clock=ManualClock())
    for principal in principals:
        roster.add(principal)
    plan.cohorts.meet(roster)
    rows = [row for _, row in sample]
    by_key = plan.columns is not None and bool(plan.columns)
    if plan.columns is not None and by_key and not plan.columns >= set(table.primary_key or ("",)):
        return  # the role may not read what its rows could be told apart by
    shown = {p: await database.seen(table, p, sample, by_key=by_key) for p in principals}
    filtered = await _filtered(database, plan, rows, principals, verified)
    heard = [await _heard(database, plan, row, roster, verified) for row in rows]
    for position, (address, row) in enumerate(sample):
        for principal in principals:
            expected = address in shown[principal]
            verified.visible += expected
            for direction, found in (
                ("filter", position in filtered[principal]),
                ("audience", principal in heard[position]),
            ):
                verified.decisions += 1
                if found != expected:
                    verified.differences.append(
                        Difference(
                            table=table.quoted,
                            row={name: row[name] for name in table.primary_key} or row,
                            role=principal.role,
                            user_id=principal.user_id,
                            bridge=found,
                            postgres=expected,
                            direction=direction,
                        )
                    )


async def _filtered(
    database: DirectDatabase,
    plan: Plan,
    rows: Sequence[Row],
    principals: Sequence[Principal],
    verified: Verified,
) -> dict[Principal, set[int]]:
    """Return, for each principal, the positions of the rows that it sees by the plan's filter."""
    found: dict[Principal, set[int]] = {}
    for principal in principals:
        seen: set[int] = set()
        undecided: list[int] = []
        for position, row in enumerate(rows):
            try:
                if plan.visible(row, principal):
                    seen.add(position)
            except UndecidedError:
                undecided.append(position)
        if undecided:
            verified.asked += len(undecided)
            (answer,) = (await database.visible(plan.table, [rows[i] for i in undecided], [principal])).rows
            seen |= {undecided[i] for i in answer if i >= 0}
        found[principal] = seen
    return found


async def _heard(
    database: DirectDatabase, plan: Plan, row: Row, roster: Roster, verified: Verified
) -> set[Principal]:
    """Return who hears of the row by the plan's audience."""
    sighting = viewers(plan, row, roster)
    if not sighting.open:
        return set(sighting.sees)
    verified.asked += len(sighting.open)
    answers = (await database.visible(plan.table, [row], sighting.open)).rows
    return {*sighting.sees, *(p for p, seen in zip(sighting.open, answers, strict=True) if 0 in seen)}
