"""Says what the policies of a table mean to the bridge, and why a user does or does not see a row."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from bridge.authorization.algebra import Expr, Or
from bridge.authorization.asking import Visibility
from bridge.authorization.catalog import Catalog, Table, decode_catalog
from bridge.authorization.columns import doubtful
from bridge.authorization.composition import PUBLICATION, Sight, compose, policy_conditions
from bridge.authorization.env import Env, Tables
from bridge.authorization.evaluation import compile_test
from bridge.authorization.expressions import opaque
from bridge.authorization.loader import CatalogReader, load_pages
from bridge.authorization.plan import Plan
from bridge.authorization.planset import lookup_tables
from bridge.authorization.reach import lookup_columns
from bridge.authorization.undecided import UndecidedError
from bridge.errors import ConfigError
from bridge.events import Principal, Row
from bridge.inspection.wording import Wording


class Project(CatalogReader, Visibility, Protocol):
    """What explaining needs of the database."""

    async def row(self, table: str, key: Row) -> Row | None:
        """Return one row by primary key; None when there is none."""


class Case(msgspec.Struct, frozen=True):
    """A question: does this user see this row."""

    principal: Principal
    key: Sequence[str] | None


async def explain(
    database: Project, name: str, *, role: str, case: Case | None, now_us: Callable[[], int]
) -> list[str]:
    """Return the explanation, a line each.

    Args:
        database: The project.
        name: Qualified name of the table.
        role: The database role whose plan is explained.
        case: A user, and the values of a row's primary key, to decide about.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.

    Raises:
        ConfigError: there is no such table, or no such row.
        SourceError: the database did not answer.
    """
    catalog = decode_catalog(await database.catalog())
    table = catalog.by_name.get(name)
    if table is None:
        raise ConfigError(f"table {name} does not exist: give schema and name, like public.messages")
    sight = compose(catalog, table, role, PUBLICATION)
    lookups = lookup_tables(catalog, [sight])
    plan = Plan(sight, lookups, now_us)
    lines = [f"{name} for {role}", *_policies(catalog, table, role), *_plan(sight, plan, table)]
    if case is not None:
        for lookup in lookups.values():
            await load_pages(database, lookup)
        lines += await _decision(database, table, plan, lookups, case)
    return lines


def _policies(catalog: Catalog, table: Table, role: str) -> Iterator[str]:
    if not table.rls:
        yield f"  row-level security is off: alter table {table.qualified} enable row level security"
        return
    for policy, condition in policy_conditions(catalog, table, role, PUBLICATION):
        kind = "permissive" if policy.permissive else "restrictive"
        yield f'  policy "{policy.name}" ({kind}, for {policy.command.lower()}): {_how(condition)}'
        if not isinstance(condition, str):
            yield from Wording(condition, table.qualified).lines(condition, "    ")


def _how(condition: Expr | str) -> str:
    if isinstance(condition, str):
        return condition
    return "asks Postgres where nothing else decides" if opaque(condition) else "decided in memory"


def _plan(sight: Sight, plan: Plan, table: Table) -> Iterator[str]:
    if sight.because is not None:
        yield f"  nobody sees any row: {sight.because}"
        return
    if sight.policies != 1:
        yield "  together:"
        yield from Wording(sight.condition, sight.table).lines(sight.condition, "    ")
    if sight.columns is not None:
        yield f"    columns: {', '.join(sorted(sight.columns))} (the role has no SELECT on the others)"
    for name, columns in lookup_columns(sight.condition).items():
        read = ", ".join(sorted(columns)) or "whether there are rows"
        yield f"  reads from memory: {name} ({read})"
    yield f"  cost per change: {_cost(plan)}"
    for part in plan.opaque:
        yield f"  asks Postgres because {part.reason}"
    asked = sight.read_columns if plan.opaque else plan.unsure
    untold = [column.name for column in table.columns if column.name in asked and doubtful(column)]
    if untold:
        yield (
            f"  the JSON of {', '.join(untold)} does not always tell the value: Postgres looks at the row "
            "itself, and a version that is gone by then is shown to nobody"
        )


def _cost(plan: Plan) -> str:
    match plan.walks_everybody, bool(plan.opaque):
        case True, True:
            return "every connected user is looked at, and Postgres is asked about those not decided"
        case True, False:
            return "every connected user is looked at (no index leads from the row to its users)"
        case False, True:
            return "the users that an index finds are looked at, and Postgres is asked about them"
        case _:
            return "as many look-ups as users see the row, whoever else is connected"


async def _decision(database: Project, table: Table, plan: Plan, lookups: Tables, case: Case) -> list[str]:
    who = "anon" if case.principal.user_id is None else f"user {case.principal.user_id}"
    if case.key is None:
        return [f"  for {who}: give --row to decide about one"]
    if len(case.key) != len(table.primary_key):
        raise ConfigError(
            f"{table.qualified} has the primary key ({', '.join(table.primary_key)}): "
            f"give --row as {len(table.primary_key)} value(s), with commas between them"
        )
    row = await database.row(table.qualified, dict(zip(table.primary_key, case.key, strict=True)))
    if row is None:
        raise ConfigError(f"{table.qualified} has no row {', '.join(case.key)}: give the primary key of one")
    answer: bool | None
    try:
        answer = plan.visible(row, case.principal)
    except UndecidedError:
        answer = None
    lines = [f"  {who} and row {', '.join(case.key)}:"]
    words = Wording(plan.condition, plan.table)
    branches = plan.condition.items if isinstance(plan.condition, Or) else (plan.condition,)
    for branch in branches:
        result = _result(branch, row, case.principal, lookups, plan)
        lines += [f"    {_MARKS[result]} {line}" for line in words.lines(branch)]
    if answer is None:
        (seen,) = await database.visible(table.qualified, [row], [case.principal])
        answer = 0 in seen
        lines.append(f"    Postgres was asked and says {'yes' if answer else 'no'}")
    lines.append(f"  => {'sees' if answer else 'does not see'} the row")
    return lines


_MARKS = {True: "yes ", False: "no  ", None: "ask "}


def _result(branch: Expr, row: Row, principal: Principal, lookups: Tables, plan: Plan) -> bool | None:
    env: Env = plan.environment()
    env.row, env.uid, env.claims_json = row, principal.user_id, principal.claims_json
    try:
        return compile_test(branch, lookups, {})(env) is True
    except UndecidedError:
        return None
