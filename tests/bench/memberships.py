"""How long a million memberships take to load, and what each costs in memory.

    python -m tests.bench.memberships --rows 1000000

A real Postgres behind the local stack's REST endpoint, in processes of their own; the loading process is
this one, and bytes are the growth of its resident memory.
"""

import argparse
import asyncio
import gc
import json
import os
import time

import psycopg

from bridge.authorization import Roster, Settings, load
from bridge.clock import SystemClock
from bridge.local.stack import LocalStack
from bridge.rpc import ProjectRpc
from tests.bench.server import resident_bytes
from tests.support.stack import MIGRATIONS

SETTINGS = Settings(
    tables=("public.dialogs", "public.messages"),
    dialog_table="public.dialogs",
    message_table="public.messages",
    dialog_column=None,
    roles=("authenticated", "anon"),
    remembered_rows=1,
)

# Not published while it is filled: the local Realtime would read these rows in the process that answers the load.
FILL = """
alter publication supabase_realtime drop table public.dialogs, public.dialog_participants;
alter table public.dialog_participants disable trigger all;
alter table public.dialogs disable trigger all;
insert into public.dialogs (id, owner_id, title)
select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, gen_random_uuid(), 'x'
from generate_series(1, {dialogs}) as n;
insert into public.dialog_participants (dialog_id, user_id)
select
    ('00000000-0000-4000-8000-' || lpad(to_hex(n % {dialogs} + 1), 12, '0'))::uuid,
    ('00000000-0000-4000-9000-' || lpad(to_hex((n::bigint * 7919 + n / {dialogs} * 31) % {users}), 12, '0'))::uuid
from generate_series(1, {rows}) as n
on conflict do nothing;
alter publication supabase_realtime add table public.dialogs, public.dialog_participants;
analyze;
"""


async def measure(rows: int) -> None:
    """Fill, load, and print what it took."""
    stack = LocalStack()
    await stack.start()
    try:
        await stack.apply_sql(MIGRATIONS)
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            for statement in FILL.format(rows=rows, dialogs=rows // 10, users=rows // 10).split(";"):
                if statement.strip():
                    connection.execute(statement.encode())
        rpc = await ProjectRpc.connect(stack.url, stack.service_role_key)
        await rpc.catalog()  # what the first call makes the client load is not the rows'
        gc.collect()
        before, started = resident_bytes(os.getpid()), time.perf_counter()
        stage = await load(rpc, SETTINGS, Roster(linger_s=1.0, clock=SystemClock()), SystemClock())
        took_s = time.perf_counter() - started
        gc.collect()
        grown = resident_bytes(os.getpid()) - before
        counts = {name: len(lookup) for name, lookup in stage.planset.lookups.items()}
        print(
            json.dumps(
                {
                    "rows": counts,
                    "load_s": round(took_s, 1),
                    "rss_mb": round(grown / 1e6),
                    "bytes_per_row": round(grown / sum(counts.values())),
                }
            )
        )
        await rpc.close()
    finally:
        await stack.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(measure(parser.parse_args().rows))
