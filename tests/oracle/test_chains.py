"""Rows that hang on each other by foreign keys: nobody is told to read again for nothing, and nobody is forgotten."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import psycopg
import pytest

from bridge.authorization.authorizer import Effect, Resync
from bridge.events import Change
from tests.oracle.grammar import USERS, ChangeSpec, TableSpec, WorldSpec
from tests.oracle.test_oracle import Judge

FOREIGN = {"up": "dialogs", "dialog_id": "dialogs", "message_id": "messages", "reaction_id": "reactions"}

DIALOGS = TableSpec(name="dialogs", columns={"id": "uuid", "u0": "uuid", "up": "uuid"}, key=("id",))
MESSAGES = TableSpec(name="messages", columns={"id": "uuid", "dialog_id": "uuid"}, key=("id",))
REACTIONS = TableSpec(name="reactions", columns={"id": "uuid", "message_id": "uuid"}, key=("id",))
SEEN = TableSpec(name="seen", columns={"id": "uuid", "reaction_id": "uuid", "dialog_id": "uuid"}, key=("id",))
TABLES = (DIALOGS, MESSAGES, REACTIONS, SEEN)

SCHEMA = """
create schema o;
grant usage on schema o to public;
create table o.dialogs (id uuid primary key, u0 uuid, up uuid references o.dialogs);
create table o.messages (id uuid primary key, dialog_id uuid references o.dialogs);
create table o.reactions (id uuid primary key, message_id uuid references o.messages);
create table o.seen (id uuid primary key, reaction_id uuid references o.reactions, dialog_id uuid references o.dialogs);
grant select on all tables in schema o to anon, authenticated, oracle_owner;
alter publication supabase_realtime add table o.dialogs, o.messages, o.reactions, o.seen;
create function o.above(dialog uuid) returns boolean language sql stable security definer as
    'select exists (select from o.dialogs a where a.id = dialog and a.u0 = auth.uid())';
"""

MINE = "d.u0 = auth.uid()"
CHAIN = (
    "u0 = auth.uid()",
    "exists (select 1 from o.dialogs d where d.id = messages.dialog_id)",
    "exists (select 1 from o.messages m where m.id = reactions.message_id)",
    "exists (select 1 from o.reactions r where r.id = seen.reaction_id)",
)
WORLDS = {
    "each of the one before": CHAIN,
    "joined": (
        *CHAIN[:2],
        f"exists (select 1 from o.messages m join o.dialogs d on d.id = m.dialog_id where m.id = reactions.message_id and {MINE})",
        f"exists (select 1 from o.reactions r, o.messages m, o.dialogs d where m.id = r.message_id and d.id = m.dialog_id and r.id = seen.reaction_id and {MINE})",
    ),
    "not": (
        "u0 = auth.uid() or u0 is null",
        "not exists (select 1 from o.dialogs d where d.id = messages.dialog_id and d.u0 is null)",
        "not exists (select 1 from o.messages m where m.id = reactions.message_id)",
        "exists (select 1 from o.messages m where m.id = (select r.message_id from o.reactions r where r.id = seen.reaction_id))",
    ),
    "of the dialog above": (
        "u0 = auth.uid() or o.above(up)",
        CHAIN[1],
        "message_id in (select m.id from o.messages m where m.dialog_id in (select d.id from o.dialogs d))",
        "(select d.u0 from o.dialogs d where d.id = seen.dialog_id) = auth.uid()",
    ),
    "by no key": (
        CHAIN[0],
        "exists (select 1 from o.dialogs d where d.u0 = messages.id)",
        "exists (select 1 from o.messages m, o.dialogs d where m.id = reactions.message_id and d.up = m.dialog_id)",
        "exists (select 1 from o.dialogs d left join o.messages m on m.dialog_id = d.id where d.id = seen.dialog_id and m.id is null)",
    ),
}


class OneStatement(Judge):
    """Postgres writes the rows of one statement in any order."""

    def __init__(self, connection: psycopg.Connection[Any], spec: WorldSpec, counts: Counter[str]) -> None:
        super().__init__(connection, spec, counts)
        for client in (*self.clients, *self.away):  # who is told of a dialog reads all that names it
            client.dialog_columns = {**client.dialog_columns, SEEN.qualified: "dialog_id"}

    def told(self, changes: Sequence[Change]) -> list[Sequence[Effect]]:
        self.counts["transactions"] += 1
        txid = str(self.counts["transactions"])
        changes = [msgspec.structs.replace(change, txid=txid) for change in changes]
        inserts = all(change.action == "INSERT" for change in changes)
        told = super().told(random.sample(changes, len(changes)) if inserts else changes)
        if inserts:
            resync = any(isinstance(effect, Resync) for effects in told for effect in effects)
            self.counts["read again" if resync else "told"] += 1
        return told


def changes(count: int) -> tuple[ChangeSpec, ...]:
    """Mostly new rows, which name one of the last ones."""
    made = []
    last = dict.fromkeys(FOREIGN.values(), "")
    for _ in range(count):
        table = random.randrange(len(TABLES))
        action: Literal["INSERT", "UPDATE", "DELETE"] = random.choice(
            ("INSERT", "INSERT", "INSERT", "INSERT", "UPDATE", "DELETE")
        )
        values: dict[str, Any] = {
            name: random.choice((*USERS[:2], *([None] if shy else ())))
            if name == "u0"
            else random.choice((last[FOREIGN[name]], None) if shy else (last[FOREIGN[name]],)) or None
            for name in TABLES[table].columns
            if name != "id"
            for shy in [random.random() < 0.3]
        }
        if action == "INSERT":
            values["id"] = str(uuid.UUID(int=random.getrandbits(128)))
            last[TABLES[table].name] = values["id"]
        row = random.randrange(1000)
        made.append(ChangeSpec(table=table, action=action, row=row, values=values, full_old=True))
    return tuple(made)


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("shape", WORLDS)
def test_what_hangs_on_new_rows(connection: psycopg.Connection[Any], shape: str, together: int) -> None:
    """After every change what was told is what Postgres shows, and new rows are told of without reading again."""
    policies = [
        f"create policy p on {table.qualified} for select using ({policy}); "
        f"alter table {table.qualified} enable row level security"
        for table, policy in zip(TABLES, WORLDS[shape], strict=True)
    ]
    spec = WorldSpec(
        tables=TABLES,
        watched=4,
        dialog_column="dialog_id",
        statements=(SCHEMA, *policies),
        rows=((), (), (), ()),
        changes=changes(60),
        together=together,
    )
    counts: Counter[str] = Counter()
    with connection.transaction(force_rollback=True):
        OneStatement(connection, spec, counts).run()
    if together == 1 and shape in ("each of the one before", "joined"):
        assert counts["told"] > 0 == counts["read again"]
