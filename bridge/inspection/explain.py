"""Says what the policies of a table mean to the bridge, and why a user does or does not see a row."""

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import msgspec

from bridge.authorization.algebra import Claims, Expr, Opaque, Or, Uid
from bridge.authorization.asking import Visibility
from bridge.authorization.capturing import (
    MANAGED,
    Capture,
    Capturing,
    chosen,
    journal_advice,
    unwatchable,
)
from bridge.authorization.catalog import Catalog, Table, decode_catalog
from bridge.authorization.columns import doubtful
from bridge.authorization.composition import Sight, compose, policy_conditions
from bridge.authorization.effects import far_reaching
from bridge.authorization.env import Env, Tables
from bridge.authorization.evaluation import compile_test
from bridge.authorization.expressions import opaque, walk
from bridge.authorization.grounds import Grounds, grounds
from bridge.authorization.loader import CatalogReader, load_pages
from bridge.authorization.naming import named_table
from bridge.authorization.plan import Plan
from bridge.authorization.planset import lookup_tables
from bridge.authorization.reach import lookup_columns
from bridge.authorization.undecided import UndecidedError
from bridge.errors import ConfigError
from bridge.events import Principal, Row
from bridge.inspection.names import as_json, find_table, row_key
from bridge.inspection.wording import Wording


class Project(CatalogReader, Visibility, Protocol):
    """What explaining needs of the database."""

    async def row(self, table: str, key: Row) -> Row | None:
        """Return one row by primary key; None when there is none."""


class Deployment(msgspec.Struct, frozen=True):
    """How the worker is configured, as far as advice depends on it.

    Attributes:
        tables: Names of its watched tables, as they are written; none if that is not known.
        capture: What it captures.
    """

    tables: tuple[str, ...] = ()
    capture: Capture | Literal["auto"] = "auto"


class Case(msgspec.Struct, frozen=True):
    """A question: does this user see this row."""

    principal: Principal
    row: str | None


async def explain(
    database: Project,
    name: str,
    *,
    role: str,
    case: Case | None,
    now_us: Callable[[], int],
    deployment: Deployment = Deployment(),  # noqa: B008 - frozen
) -> list[str]:
    """Return the explanation, a line each.

    Args:
        database: The project.
        name: Qualified name of the table, as SQL has it or without its quotes.
        role: The database role whose plan is explained.
        case: A user, and a row's primary key as :func:`row_key` takes it, to decide about.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.
        deployment: What the worker watches; the table counts as watched as well.

    Raises:
        ConfigError: there is no such table, or no such row.
        SourceError: the database did not answer.
    """
    catalog = decode_catalog(await database.catalog())
    table = find_table(catalog, name)
    capturing = _capturing(catalog, table, deployment)
    sight = compose(catalog, table, role, capturing)
    lookups = lookup_tables(catalog, [sight])
    plan = Plan(sight, lookups, now_us)
    lines = [f"{table.quoted} for {role}"]
    reason = unwatchable(catalog, table, capturing)
    if reason is not None:
        lines.append(f"  cannot be relayed: {reason}")
    elif capturing.wanting:
        advice = journal_advice(catalog, capturing.wanting)
        lines.append(f"  captured by itself, because the journal does not have all watched tables: {advice}")
    lines += [*_policies(catalog, table, role, capturing), *_plan(catalog, sight, plan, table)]
    if plan.opaque and sight.because is None:
        lines += _unasked(grounds(catalog, table.qualified, role))
    if case is not None:
        key = None if case.row is None else row_key(catalog, table, case.row)
        for lookup in lookups.values():
            await load_pages(database, lookup)
        lines += await _decision(database, plan, lookups, case.principal, key)
    return lines


def _capturing(catalog: Catalog, table: Table, deployment: Deployment) -> Capturing:
    """Return how changes of ``table`` are captured once the worker watches it as well."""
    others = (named_table(catalog, name) for name in deployment.tables)
    watched = dict.fromkeys([*(other.qualified for other in others if other is not None), table.qualified])
    return chosen(catalog, tuple(watched), deployment.capture)


def _policies(catalog: Catalog, table: Table, role: str, capturing: Capturing) -> Iterator[str]:
    if not table.rls:
        advice = "" if table.schema in MANAGED else f": alter table {table.quoted} enable row level security"
        yield f"  row-level security is off, so that a SELECT privilege shows every row{advice}"
        return
    for policy, condition in policy_conditions(catalog, table, role, capturing):
        kind = "permissive" if policy.permissive else "restrictive"
        yield f'  policy "{policy.name}" ({kind}, for {policy.command.lower()}): {_how(condition)}'
        if not isinstance(condition, str):
            yield from Wording(condition, table.qualified).lines(condition, "    ")


def _how(condition: Expr | str) -> str:
    if isinstance(condition, str):
        return condition
    return "asks Postgres where nothing else decides" if opaque(condition) else "decided in memory"


def _plan(catalog: Catalog, sight: Sight, plan: Plan, table: Table) -> Iterator[str]:
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
        yield f"  reads from memory: {catalog.by_name[name].quoted} ({read})"
    yield f"  cost per change: {cost(plan)}"
    for name in far_reaching(plan, table.primary_key, catalog.fits):
        yield (
            f"  cost per change of {catalog.by_name[name].quoted}: every connected user reads again "
            "(nothing in its row says whom it concerns)"
        )
    for part in plan.opaque:
        yield f"  asks Postgres because {part.reason}"
    asked = sight.read_columns if plan.opaque else plan.unsure
    untold = [column.name for column in table.columns if column.name in asked and doubtful(column)]
    if untold:
        yield (
            f"  the JSON of {', '.join(untold)} does not always tell the value: Postgres looks at the row "
            "itself, and a version that is gone by then is shown to nobody"
        )


def _unasked(found: Grounds) -> Iterator[str]:
    if found.hidden_by:
        changes = " or ".join(sorted(found.hidden_by))
        yield f"  Postgres cannot be asked who saw a row before its {changes}: who may have reads again"


def cost(plan: Plan) -> str:
    """Return what a change costs, in words."""
    match plan.walks_everybody, bool(plan.opaque):
        case True, True:
            return "every connected user is looked at, and Postgres is asked about those not decided"
        case True, False:
            return "every connected user is looked at (no index leads from the row to its users)"
        case False, True:
            return "the users that an index finds are looked at, and Postgres is asked about them"
        case _:
            return "as many look-ups as users see the row, whoever else is connected"


async def _decision(
    database: Project, plan: Plan, lookups: Tables, principal: Principal, key: Row | None
) -> list[str]:
    if key is None:
        return [f"  for {_who(principal)}: give --row to decide about one"]
    if principal.user_id is None and principal.role != "anon" and _names_the_user(plan.condition):
        return ["  who sees a row depends on the user: give --user as well, or --role anon"]
    row = await database.row(plan.table, key)
    if row is None:
        raise ConfigError(f"{plan.table} has no row {as_json(key)}: give the primary key of one")
    answer: bool | None
    try:
        answer = plan.visible(row, principal)
    except UndecidedError:
        answer = None
    lines = [f"  {_who(principal)} and row {', '.join(map(str, key.values()))}:"]
    words = Wording(plan.condition, plan.table)
    branches = plan.condition.items if isinstance(plan.condition, Or) else (plan.condition,)
    for branch in branches:
        for line, part in words.parts(branch):
            lines.append(f"    {_MARKS[_result(part, row, principal, lookups, plan)]} {line}")
    if answer is None:
        (seen,) = (await database.visible(plan.table, [row], [principal])).rows
        answer = 0 in seen
        lines.append(f"    Postgres was asked and says {'yes' if answer else 'no'}")
    lines.append(f"  => {'sees' if answer else 'does not see'} the row")
    return lines


def _who(principal: Principal) -> str:
    if principal.user_id is None:
        return "anon" if principal.role == "anon" else f"everybody with role {principal.role}"
    return f"user {principal.user_id}" + (" as anon" if principal.role == "anon" else "")


def _names_the_user(condition: Expr) -> bool:
    return any(isinstance(node, Uid | Claims | Opaque) for node in walk(condition))


_MARKS = {True: "yes ", False: "no  ", None: "ask "}


def _result(branch: Expr, row: Row, principal: Principal, lookups: Tables, plan: Plan) -> bool | None:
    env: Env = plan.environment()
    env.row, env.uid, env.claims_json = row, principal.user_id, principal.claims_json
    try:
        return compile_test(branch, lookups, {})(env) is True
    except UndecidedError:
        return None
