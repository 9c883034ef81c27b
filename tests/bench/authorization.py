"""What a change costs to authorize, beside the same done by hand with dictionaries, in one run.

    python -m tests.bench.authorization

For each shape of policy: microseconds a change for an audience of ten, with 100 and with 10,000 users
connected, and the same for a hand-written look-up that returns the same deliveries.  Medians of rounds
that alternate between them, so that a noisy machine is noisy for all.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
import uuid
from collections.abc import Callable

from bridge.authorization.authorizer import Authorizer
from bridge.authorization.experience import Deliver
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.clock import ManualClock
from bridge.events import Change, Delivery, Principal, RowEvent, View
from tests.support.catalogs import planset, policy, put_rows, table

AUDIENCE = 10
DIALOGS = 1_000

MEMBER = (
    "(EXISTS ( SELECT 1 FROM public.members m"
    " WHERE ((m.dialog_id = messages.dialog_id) AND (m.user_id = auth.uid()))))"
)
ADMIN = "(EXISTS ( SELECT 1 FROM public.profiles p WHERE ((p.id = auth.uid()) AND p.is_admin)))"
JOINED = (
    "(EXISTS ( SELECT 1 FROM (public.dialogs d JOIN public.members m ON ((m.dialog_id = d.id)))"
    " WHERE ((d.id = messages.dialog_id) AND (m.user_id = auth.uid()))))"
)
CLAIM = "((current_setting('request.jwt.claims'::text, true))::json ->> 'org'::text) = (org)::text"
SHAPES = {
    "exists": MEMBER,
    "join": JOINED,
    "exists or an admin": f"({MEMBER} OR {ADMIN})",
    "claim": f"({CLAIM})",
}


def stage(shape: str, users: int) -> tuple[Authorizer, dict[str, set[str]], dict[str, Principal]]:
    """Return a stage with ``users`` connected and ten members in each dialog."""
    dialogs = table("dialogs", "id uuid, owner_id uuid", rls=False)
    messages = table(
        "messages",
        "id int, dialog_id uuid, org uuid, body text",
        policy(SHAPES[shape]),
        references=[("dialog_id", "dialogs")],
    )
    members = table("members", "dialog_id uuid, user_id uuid", key=("dialog_id", "user_id"), rls=False)
    profiles = table("profiles", "id uuid, is_admin bool", rls=False)
    plans = planset(dialogs, messages, members, profiles, watched=["dialogs", "messages"])
    roster = Roster(linger_s=300, clock=ManualClock())
    here: dict[str, Principal] = {}
    for n in range(users):
        user = str(uuid.UUID(int=n + 1))
        org = str(uuid.UUID(int=n // AUDIENCE))
        here[user] = Principal(
            role="authenticated",
            user_id=user,
            claims_json=json.dumps({"org": org, "role": "authenticated", "sub": user}),
        )
        roster.add(here[user])
    columns = {"public.dialogs": "id", "public.messages": "dialog_id"}
    memory = RowMemory(plans, dialog_columns=columns, remembered_limit=10_000)
    everybody = list(here)
    by_dialog: dict[str, set[str]] = {}
    for n in range(DIALOGS):
        dialog = str(uuid.UUID(int=n))
        by_dialog[dialog] = {everybody[(n * 7 + i) % users] for i in range(AUDIENCE)}
        if "public.members" in plans.lookups:
            put_rows(
                memory.lookups["public.members"],
                [{"dialog_id": dialog, "user_id": u} for u in by_dialog[dialog]],
            )
        if "public.dialogs" in plans.lookups:
            put_rows(memory.lookups["public.dialogs"], [{"id": dialog}])
    if "public.profiles" in plans.lookups:
        put_rows(
            memory.lookups["public.profiles"],
            [{"id": u, "is_admin": n == 3} for n, u in enumerate(everybody)],
        )
    authorizer = Authorizer(
        plans, memory=memory, roster=roster, dialog_columns=columns, dialog_table="public.dialogs"
    )
    return authorizer, by_dialog, here


def changes(count: int, users: int) -> list[Change]:
    """Return inserted messages, one dialog after the other."""
    return [
        Change(
            table="public.messages",
            action="INSERT",
            new={
                "id": n,
                "dialog_id": str(uuid.UUID(int=n % DIALOGS)),
                "org": str(uuid.UUID(int=n % (users // AUDIENCE))),
                "body": "hello",
            },
            old=None,
            commit_timestamp="2026-01-01T00:00:00.000Z",
            received_s=0.0,
        )
        for n in range(count)
    ]


def by_hand(
    members: dict[str, set[str]], here: dict[str, Principal]
) -> Callable[[Change, dict[int, tuple[str, str]]], Deliver]:
    """Return what somebody would write for this one schema: the same result, from two dictionaries."""
    view = View(action="INSERT")

    def deliver(change: Change, remembered: dict[int, tuple[str, str]]) -> Deliver:
        new = change.new
        assert new is not None
        principals = [here[user] for user in members[new["dialog_id"]] if user in here]
        remembered[new["id"]] = (new["dialog_id"], new["org"])
        event = RowEvent(
            table=change.table,
            new=new,
            old=None,
            key={"id": new["id"]},
            dialog_id=new["dialog_id"],
            commit_timestamp=change.commit_timestamp,
            received_s=change.received_s,
        )
        return Deliver(event, (Delivery(view=view, principals=principals),))

    return deliver


def measure(shape: str, *, count: int, rounds: int) -> dict[str, float]:
    """Return microseconds a change: by hand, with 100 users, with 10,000."""
    sizes = {"100 users": 100, "10,000 users": 10_000}
    stages = {name: stage(shape, users) for name, users in sizes.items()}
    hand = by_hand(*stages["10,000 users"][1:])
    found: dict[str, list[float]] = {name: [] for name in ("by hand", *sizes)}
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        some = changes(count, 10_000)
        remembered: dict[int, tuple[str, str]] = {}
        started = time.perf_counter()
        for change in some:
            hand(change, remembered)
        found["by hand"].append((time.perf_counter() - started) / count)
        for name, users in sizes.items():
            authorizer, _, _ = stages[name]
            some = changes(count, users)
            started = time.perf_counter()
            for change in some:
                told = authorizer.insert(change)  # as the pipeline does
            found[name].append((time.perf_counter() - started) / count)
            assert told is not None
            heard = sum(len(d.principals) for d in told.deliveries)
            assert AUDIENCE <= heard <= AUDIENCE + 1, heard
    return {name: round(statistics.median(times) * 1e6, 2) for name, times in found.items()}


async def main(count: int, rounds: int) -> None:
    """Print a line for each shape."""
    for shape in SHAPES:
        figures = measure(shape, count=count, rounds=rounds)
        ratios = {
            "to 100 users": round(figures["10,000 users"] / figures["100 users"], 2),
            "to by hand": round(figures["10,000 users"] / figures["by hand"], 2),
        }
        print(json.dumps({"shape": shape, "us_per_change": figures, "ratio": ratios}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    asyncio.run(main(options.changes, options.rounds))
