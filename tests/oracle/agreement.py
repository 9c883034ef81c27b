"""Compares every table, row and principal of a world with Postgres, in both directions."""

from bridge.authorization.effects import viewers
from bridge.authorization.plan import Plan
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.undecided import UndecidedError
from bridge.events import Principal, Row
from tests.oracle.world import World, canonical, finish, project


def visible(world: World, plan: Plan, row: Row, principal: Principal) -> bool:
    """Return what the filter says, or Postgres where it does not know."""
    try:
        return plan.visible(row, principal)
    except UndecidedError:
        return 0 in finish(world.visible(plan.table, [row], [principal])).rows[0]


def audience(world: World, plan: Plan, row: Row, roster: Roster) -> set[Principal]:
    """Return what the audience says, or Postgres where it does not know."""
    sighting = viewers(plan, row, roster)
    if not sighting.open:
        return set(sighting.sees)
    asked = finish(world.visible(plan.table, [row], sighting.open)).rows
    return {*sighting.sees, *(p for p, seen in zip(sighting.open, asked, strict=True) if 0 in seen)}


def agree(world: World, *statements: str, dialog_column: str = "room_id") -> PlanSet:
    """Apply the statements, compile, and compare every table, row and principal with Postgres.

    The first table is the dialogs', the second the messages', which has ``dialog_column``.
    """
    world.execute(";\n".join(statements))
    stage = world.load([table.qualified for table in world.tables], dialog_column=dialog_column)
    truth = world.seen(world.tables)
    for table in world.tables:
        rows = world.table_rows(table)
        for role in ("authenticated", "anon"):
            plan = stage.planset.plans[table.qualified, role]
            found = [audience(world, plan, row, stage._roster) for row in rows]
            for principal in (p for p in world.principals if p.role == role):
                expected = truth[principal, table.qualified]
                shown = [project(r, plan.columns) for r in rows if visible(world, plan, r, principal)]
                heard = [
                    project(r, plan.columns) for r, who in zip(rows, found, strict=True) if principal in who
                ]
                assert canonical(shown) == expected, (table.name, principal, plan.condition)
                assert canonical(heard) == expected, (table.name, principal, plan.condition)
    return stage.planset
