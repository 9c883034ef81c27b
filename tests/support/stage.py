"""The authorization stage with the reference schema, without upstream or a database."""

from collections.abc import Sequence

from bridge.authorization.authorizer import Authorizer, Effect, Resync
from bridge.authorization.experience import Shifted
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import RowMemory
from bridge.clock import ManualClock
from bridge.errors import RpcError
from bridge.events import Action, Change, Principal, Row, Seen
from tests.support.catalogs import ANN, BOB, CAT, planset, policy, put_rows, table

ann = Principal(role="authenticated", user_id=ANN)
bob = Principal(role="authenticated", user_id=BOB)
cat = Principal(role="authenticated", user_id=CAT)
anon = Principal(role="anon", user_id=None)

D1, D2 = "d1", "d2"

IN_DIALOG = (
    "(EXISTS ( SELECT 1 FROM public.members m WHERE ((m.dialog_id = {}) AND (m.user_id = auth.uid()))))"
)
DIALOGS = table(
    "dialogs",
    "id uuid, owner_id uuid, title text",
    policy(f"((owner_id = auth.uid()) OR {IN_DIALOG.format('dialogs.id')})", roles=["authenticated"]),
)
MESSAGES = table(
    "messages",
    "id int, dialog_id uuid, sender_id uuid, body text",
    policy(IN_DIALOG.format("messages.dialog_id"), roles=["authenticated"]),
)
MEMBERS = table("members", "dialog_id uuid, user_id uuid, role text", key=("dialog_id", "user_id"), rls=False)


def stage_of(plans: PlanSet, *present: Principal, remembered: int = 100) -> Authorizer:
    """A stage with ``present`` on its roster; dialogs are ``public.dialogs``."""
    roster = Roster(linger_s=60.0, clock=ManualClock())
    for principal in present or (ann, bob, cat, anon):
        roster.add(principal)
    columns = {"public.dialogs": "id", "public.messages": "dialog_id"}
    return Authorizer(
        plans,
        memory=RowMemory(plans, dialog_columns=columns, remembered_limit=remembered),
        roster=roster,
        dialog_columns=columns,
        dialog_table="public.dialogs",
    )


def stage(*present: Principal, members: Sequence[tuple[str, str]] = (), remembered: int = 100) -> Authorizer:
    """The reference schema: ann owns d1, ``members`` are in."""
    made = stage_of(
        planset(DIALOGS, MESSAGES, MEMBERS, watched=["dialogs", "messages"]), *present, remembered=remembered
    )
    put_rows(made.memory.lookups["public.members"], [{"dialog_id": d, "user_id": u} for d, u in members])
    made.memory.remembered["public.dialogs"].put({"id": D1, "owner_id": ANN, "title": "one"})
    return made


def asked_stage(*present: Principal) -> Authorizer:
    """Dialogs that their owner sees, and whom Postgres says; members of a dialog see its messages."""
    dialogs = table(
        "dialogs", "id uuid, owner_id uuid, title text", "((owner_id = auth.uid()) OR (title ~ 'a'::text))"
    )
    return stage_of(planset(dialogs, MESSAGES, MEMBERS, watched=["dialogs", "messages"]), *present)


def change(name: str, action: Action, new: Row | None = None, old: Row | None = None) -> Change:
    return Change(
        table=f"public.{name}", action=action, new=new, old=old, commit_timestamp="t", received_s=0.0
    )


def message(dialog: str = D1, body: str = "x") -> Row:
    return {"id": 1, "dialog_id": dialog, "sender_id": ANN, "body": body}


class Project:
    """A database that knows single rows, and who sees rows that only it can decide."""

    def __init__(
        self, row: Row | None = None, *, sees: Sequence[Principal] = (), fails: bool = False
    ) -> None:
        self.found, self.sees, self.fails = row, sees, fails
        self.asked: list[tuple[str, list[Row], list[Principal]]] = []

    async def row(self, table: str, key: Row) -> Row | None:
        if self.fails:
            raise RpcError(f"{table} is away, {len(key)} columns: try again")
        return self.found

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        if self.fails:
            raise RpcError("away: try again")
        self.asked.append((table, list(rows), list(principals)))
        seen = [frozenset(range(len(rows)) if p in self.sees else ()) for p in principals]
        return Seen(seen, frozenset(range(len(rows))))


nothing = Project()


def told(effects: Sequence[Effect]) -> dict[str | None, list[tuple[str, Action]]]:
    """Return by user what they are told: (table, action), ``resync`` as ("", "UPDATE")."""
    found: dict[str | None, list[tuple[str, Action]]] = {}
    for effect in effects:
        if isinstance(effect, Resync):
            for principal in effect.principals:
                found.setdefault(principal.user_id, []).append(("resync", "UPDATE"))
            continue
        if isinstance(effect, Shifted):
            continue
        for delivery in effect.deliveries:
            for principal in delivery.principals:
                found.setdefault(principal.user_id, []).append((effect.event.table[7:], delivery.view.action))
    return found
