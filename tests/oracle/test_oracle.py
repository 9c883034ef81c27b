"""Postgres judges: whatever schema, rows and changes, plans and events agree with ``select`` under RLS.

There is no tolerance: a difference is a leak or a missing update.  ``ORACLE_DECISIONS=100000`` runs longer.
"""

import os
import random
from collections import Counter
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, seed, settings

from bridge.authorization.authorizer import Authorizer
from bridge.authorization.plan import Plan
from bridge.events import Principal, Row
from tests.oracle.agreement import audience, visible
from tests.oracle.client import Client, Key
from tests.oracle.grammar import TableSpec, WorldSpec, worlds
from tests.oracle.world import PRINCIPALS, World, canonical, finish, project

DECISIONS = int(os.environ.get("ORACLE_DECISIONS", "8000"))
"""Pairs of a user and a row to decide about, at least."""

EXAMPLES_AT_ONCE = 40

# Shrinking a database takes minutes, longer than a test may: on demand only.
PHASES = [phase for phase in Phase if phase is not Phase.shrink or "ORACLE_SHRINK" in os.environ]

Truth = dict[tuple[Principal, str], list[Row]]


class Judge:
    """One generated database, its stage and its clients, compared with Postgres after every change."""

    def __init__(self, connection: psycopg.Connection[Any], spec: WorldSpec, counts: Counter[str]) -> None:
        self.spec = spec
        self.world = World(connection, spec.tables, alone=True)
        self.watched = spec.tables[: spec.watched]
        self.counts = counts
        self.world.create(spec)
        self.stage: Authorizer = self.world.load(
            [table.qualified for table in self.watched], dialog_column=spec.dialog_column
        )
        self.plans = self.stage.planset.plans
        counts["plans"] += len(PRINCIPALS[-2:]) * len(self.watched)
        counts["opaque"] += sum(bool(plan.opaque) for plan in self.plans.values())
        keys = {table.qualified: table.key for table in self.watched}
        dialogs, messages = spec.tables[0].qualified, spec.tables[1].qualified
        self.clients = [
            Client(
                principal,
                keys=keys,
                dialog_table=dialogs,
                dialog_columns={dialogs: "id", messages: spec.dialog_column},
            )
            for principal in PRINCIPALS
        ]

    def decided(self) -> list[tuple[TableSpec, Plan]]:
        """Return the watched tables and plans that were not refused."""
        return [
            (table, plan)
            for table in self.watched
            for role in ("authenticated", "anon")
            if (plan := self.plans.get((table.qualified, role))) is not None
        ]

    def compare_plans(self, truth: Truth) -> None:
        """Both directions of every plan say what Postgres says, for every row and principal."""
        for table, plan in self.decided():
            rows = self.world.table_rows(table)
            found = [audience(self.world, plan, row, self.stage._roster) for row in rows]
            for principal in PRINCIPALS:
                if principal.role != plan.role:
                    continue
                self.counts["decisions"] += len(rows)
                expected = truth[principal, table.qualified]
                self.counts["visible"] += len(expected)
                shown = [project(r, plan.columns) for r in rows if visible(self.world, plan, r, principal)]
                assert canonical(shown) == expected, f"{table.name} as {principal}: filter\n{plan.condition}"
                seen = [
                    project(r, plan.columns) for r, who in zip(rows, found, strict=True) if principal in who
                ]
                assert canonical(seen) == expected, f"{table.name} as {principal}: audience\n{plan.condition}"

    def now(self, principal: Principal) -> dict[str, dict[Key, Row]]:
        """Return what ``principal`` would read, which was compared with Postgres already."""
        return {
            table.qualified: {
                tuple(row[column] for column in table.key): row
                for row in self.world.table_rows(table)
                if (plan := self.plans.get((table.qualified, principal.role))) is not None
                and visible(self.world, plan, row, principal)
            }
            for table in self.watched
        }

    def compare_clients(self, truth: Truth) -> None:
        """What a client has after what it was told is what it would read."""
        for client in self.clients:
            for table in self.watched:
                plan = self.plans.get((table.qualified, client.principal.role))
                if plan is not None:
                    known = [project(row, plan.columns) for row in client.rows[table.qualified].values()]
                    assert canonical(known) == truth[client.principal, table.qualified], (
                        f"{table.name}: what {client.principal} was told"
                    )

    def run(self) -> None:
        truth = self.world.seen(self.watched)
        self.compare_plans(truth)
        for client in self.clients:
            client.read(self.now(client.principal))
        for change_spec in self.spec.changes:
            change = self.world.make(change_spec)
            if change is None or change.table not in self.stage.planset.upstream_tables:
                continue
            self.counts["changes"] += 1
            effects = finish(self.stage.apply(change, self.world))
            truth = self.world.seen(self.watched)
            self.compare_plans(truth)
            for client in self.clients:
                wrong = client.receive(effects, self.now(client.principal))
                assert not wrong, f"{client.principal} after {change}: {wrong}"
            self.compare_clients(truth)


def test_plans_and_events_agree_with_postgres(connection: psycopg.Connection[Any]) -> None:
    """For every user, row and moment the bridge answers what select under RLS would answer."""
    counts: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES_AT_ONCE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        print_blob=True,
        phases=PHASES,
    )
    @given(spec=worlds())
    def compare(spec: WorldSpec) -> None:
        counts["examples"] += 1
        with connection.transaction(force_rollback=True):
            Judge(connection, spec, counts).run()

    try:
        while counts["decisions"] < DECISIONS:
            # Other examples each time; pytest-randomly prints the seed that repeats them all.
            seed(random.getrandbits(64))(compare)()
    finally:
        if "ORACLE_DECISIONS" in os.environ:
            print(f"\n{dict(counts)}")
    assert counts["opaque"] <= 0.1 * counts["plans"], dict(counts)
