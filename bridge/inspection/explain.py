"""Says what the policies of a table mean to the bridge, and why a user does or does not see a row."""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from bridge.authorization.algebra import Claims, Expr, Opaque, Or, Uid
from bridge.authorization.asking import Visibility
from bridge.authorization.catalog import Catalog, Table, decode_catalog
from bridge.authorization.columns import doubtful
from bridge.authorization.composition import MANAGED, Capture, Sight, compose, policy_conditions
from bridge.authorization.env import Env, Tables
from bridge.authorization.evaluation import compile_test
from bridge.authorization.expressions import opaque, walk
from bridge.authorization.grounds import Grounds, grounds
from bridge.authorization.loader import CatalogReader, load_pages
from bridge.authorization.plan import Plan
from bridge.authorization.planset import chosen_capture, lookup_tables, unwatchable
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


class Case(msgspec.Struct, frozen=True):
    """A question: does this user see this row."""

    principal: Principal
    row: str | None


async def explain(
    database: Project, name: str, *, role: str, case: Case | None, now_us: Callable[[], int]
) -> list[str]:
    """Return the explanation, a line each.

    Args:
        database: The project.
        name: Qualified name of the table.
        role: The database role whose plan is explained.
        case: A user, and a row's primary key as :func:`row_key` takes it, to decide about.
        now_us: Returns the time, in microseconds since 1970-01-01 UTC.

    Raises:
        ConfigError: there is no such table, or no such row.
        SourceError: the database did not answer.
    """
    catalog = decode_catalog(await database.catalog())
    table = find_table(catalog, name)
    capture = chosen_capture(catalog, [name], "auto")
    sight = compose(catalog, table, role, capture)
    lookups = lookup_tables(catalog, [sight])
    plan = Plan(sight, lookups, now_us)
    lines = [f"{name} for {role}"]
    reason = unwatchable(table, capture)
    if reason is not None:
        lines.append(f"  cannot be relayed: {reason}")
    lines += [*_policies(catalog, table, role, capture), *_plan(sight, plan, table)]
    if plan.opaque and sight.because is None:
        lines += _unasked(grounds(catalog, name, role))
    if case is not None:
        key = None if case.row is None else row_key(catalog, table, case.row)
        for lookup in lookups.values():
            await load_pages(database, lookup)
        lines += await _decision(database, plan, lookups, case.principal, key)
    return lines


def _policies(catalog: Catalog, table: Table, role: str, capture: Capture) -> Iterator[str]:
    if not table.rls:
        advice = "" if table.schema in MANAGED else f": alter table {table.quoted} enable row level security"
        yield f"  row-level security is off, so that a SELECT privilege shows every row{advice}"
        return
    for policy, condition in policy_conditions(catalog, table, role, capture):
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
    yield f"  cost per change: {cost(plan)}"
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
