"""What a policy costs that Postgres is asked about: changes that wait, alone and together, in one run.

    python -m tests.bench.asked --changes 1000 --users 4

A real Postgres behind the local stack's REST endpoint.  ``alone`` asks about one change after the other,
``together`` as the worker does; rounds alternate, so that a noisy machine is noisy for both.
"""

import argparse
import asyncio
import json
import statistics
import time
import uuid
from collections.abc import Sequence

import psycopg

from bridge.authorization import Authorizer, Pace, Roster, Settings, load
from bridge.clock import SystemClock
from bridge.events import Change, Principal
from bridge.local.stack import LocalStack
from bridge.rpc import ProjectRpc
from tests.support.stack import MIGRATIONS

SETTINGS = Settings(
    tables=("public.dialogs", "public.messages"),
    dialog_table="public.dialogs",
    message_table="public.messages",
    dialog_column=None,
    roles=("authenticated", "anon"),
    remembered_rows=10_000,
)
SCHEMA = """
alter publication supabase_realtime drop table public.messages;
create function public.ranks_above(lowest int) returns boolean language plpgsql stable security definer as $$
    declare found text;
    begin
        for found in select p.role from public.dialog_participants p where p.user_id = auth.uid() loop
            return length(found) > lowest;
        end loop;
        return false;
    end $$;
create policy asked on public.messages for select to authenticated using (public.ranks_above(3));
alter publication supabase_realtime add table public.messages;
"""


def principal(user: uuid.UUID) -> Principal:
    claims = json.dumps({"role": "authenticated", "sub": str(user)}, sort_keys=True)
    return Principal(role="authenticated", user_id=str(user), claims_json=claims)


async def alone(stage: Authorizer, rpc: ProjectRpc, changes: Sequence[Change]) -> None:
    for change in changes:
        await stage.apply(change, rpc)


async def together(stage: Authorizer, rpc: ProjectRpc, changes: Sequence[Change]) -> None:
    pace, done = Pace(), 0
    while done < len(changes):
        some = changes[done : done + pace.room]
        started_s = time.perf_counter()
        await stage.settle([await stage.begin(change, rpc) for change in some], rpc)
        pace.note(len(some), time.perf_counter() - started_s)
        done += len(some)


async def measure(changes: int, users: int, rounds: int) -> None:
    stack = LocalStack()
    await stack.start()
    try:
        await stack.apply_sql(MIGRATIONS)
        roster = Roster(linger_s=300, clock=SystemClock())
        here = [uuid.uuid4() for _ in range(users)]
        owner, dialog, elsewhere = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as db:
            await db.execute(SCHEMA)
            for each in (dialog, elsewhere):
                await db.execute(
                    "insert into public.dialogs (id, owner_id, title) values (%s, %s, 'x')", (each, owner)
                )
            for user in here:
                roster.add(principal(user))
                await db.execute(
                    "insert into public.dialog_participants (dialog_id, user_id) values (%s, %s)",
                    (elsewhere, user),
                )
            rows = [
                row
                async for (row,) in await db.execute(
                    "insert into public.messages (dialog_id, sender_id, body)"
                    " select %s, %s, 'x' from generate_series(1, %s) returning to_jsonb(messages)",
                    (dialog, owner, changes),
                )
            ]
        told = [
            Change(
                table="public.messages",
                action="INSERT",
                new=row,
                old=None,
                commit_timestamp="t",
                received_s=0,
            )
            for row in rows
        ]
        rpc = await ProjectRpc.connect(stack.url, stack.service_role_key)
        stage = await load(rpc, SETTINGS, roster, SystemClock())
        took_s: dict[str, list[float]] = {"alone": [], "together": []}
        for _ in range(rounds):
            for name, way in (("alone", alone), ("together", together)):
                started_s = time.perf_counter()
                await way(stage, rpc, told)
                took_s[name].append(time.perf_counter() - started_s)
        await rpc.close()
        before, after = (statistics.median(took_s[name]) for name in ("alone", "together"))
        print(f"{changes} changes, {users} users, medians of {rounds} rounds")
        print(f"alone     {before:8.2f} s  {before / changes * 1000:8.2f} ms a change")
        print(
            f"together  {after:8.2f} s  {after / changes * 1000:8.2f} ms a change  {before / after:.1f} times as fast"
        )
    finally:
        await stack.stop()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(measure(options.changes, options.users, options.rounds))


if __name__ == "__main__":
    main()
