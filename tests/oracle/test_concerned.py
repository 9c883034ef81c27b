"""A look-up row that is linked to rows which nobody has at hand: all whom it concerns are told, as Postgres shows.

Who sees a note depends on its author as well, so that of a changed look-up row alone nobody's answer is known.
"""

import json

import pytest

from tests.oracle.test_changes import (
    CHANGES,
    EXTRA,
    MEMBERS,
    PROFILES,
    ROOMS,
    delete,
    insert,
    run,
    update,
    world,
)
from tests.oracle.test_shapes import ANN, BOB, CAT, DAN, R1, R2, R3
from tests.oracle.world import World

__all__ = ["world"]

LEVEL = f"coalesce((select m.level from o.members m where m.user_id = auth.uid() and m.room_id = '{R1}'), 0)"
NUMBER = "coalesce((e.data ->> 'n')::int, 0)"
PRIVATE = "(e.user_id = auth.uid() or auth.uid() = any (e.ids))"


def its(where: str, value: str = "1") -> str:
    return f"(select {value} from o.extras e where e.id = notes.room_id and {where})"


NOTE_POLICIES = {
    "private": f"exists {its(PRIVATE)}",
    "of a level": f"exists {its(f'{PRIVATE} and {NUMBER} <= {LEVEL}')}",
    "of a level, or by another": f"exists {its(f'{PRIVATE} and {NUMBER} <= {LEVEL}')} or author_id = auth.uid()",
    "a number first": f"exists {its(f'{NUMBER} < 3 and {PRIVATE}')} or author_id = auth.uid()",
    "not private": f"not exists {its(PRIVATE)}",
    "neither nor": f"exists {its(PRIVATE)} and not exists {its('e.budget > 5')}",
    "private, or for all": "exists " + its(f"({PRIVATE} or e.data ->> 'on' is not null)"),
    "an owner that is looked up": f"auth.uid() = {its('e.budget is not null', 'e.user_id')}",
    "among those looked up": f"auth.uid() in {its(PRIVATE, 'e.user_id')}",
    "not among those looked up": f"author_id not in {its(PRIVATE, 'e.user_id')}",
    "elements": "exists (select 1 from o.extras e, unnest(e.ids) as i(id) where e.id = notes.room_id and i.id = auth.uid())",
    "counted": f"{its(PRIVATE, 'count(*)')} = 0",
    "of an admin": "exists "
    + its(f"({PRIVATE} or coalesce((select p.is_admin from o.profiles p where p.id = auth.uid()), false))"),
    "by a claim": "exists " + its(f"({PRIVATE} or e.label = auth.jwt() ->> 'email')"),
    "by a claim that fails": "exists "
    + its(f"{PRIVATE} and (auth.jwt() -> 'app_metadata' ->> 'level')::int > 1"),
    "through members": "exists (select 1 from o.extras e join o.members m on m.room_id = e.id where e.id = notes.room_id and m.user_id = auth.uid() and e.budget > 0)",
    "through members of another": "exists (select 1 from o.extras e join o.members m on m.room_id::text = e.label where e.id = notes.room_id and m.user_id = auth.uid())",
    "through an owned room": "exists (select 1 from o.extras e join o.rooms r on r.id = any (e.ids) where e.id = notes.room_id and (r.owner_id = auth.uid() or r.open))",
    "in a nested look-up": "exists (select 1 from o.members m where m.room_id = notes.room_id and exists (select 1 from o.extras e where e.user_id = m.user_id and auth.uid() = any (e.ids)))",
    "seen lately": "exists " + its(f"{PRIVATE} and e.seen_at < now()"),
}

_NO = '{"n": "no number"}'
LOOKED_UP = (
    update(EXTRA, 0, user_id=CAT),
    update(EXTRA, 0, ids="{" + BOB + "," + DAN + "}", full_old=False),
    update(EXTRA, 0, ids="{NULL," + DAN + "}"),
    update(EXTRA, 0, ids=None, user_id=None),
    update(EXTRA, 1, user_id=ANN, data='{"n": 2}', budget="1"),
    update(EXTRA, 1, data='{"n": 9}', full_old=False),
    update(EXTRA, 1, data=_NO),
    update(EXTRA, 1, data='{"n": 0}', label="ann@example.org"),
    update(EXTRA, 1, label=R1, ids="{" + R1 + "," + R2 + "}", budget="7"),
    update(ROOMS, 0, owner_id=DAN),
    update(MEMBERS, 0, level=9, user_id=DAN),
    update(PROFILES, 1, is_admin=True),
    update(EXTRA, 2, id=DAN, user_id=DAN, ids="{" + ANN + "}"),
    update(EXTRA, 2, id=R3, ids="{" + CAT + "," + ANN + "}", seen_at="2020-01-01 08:00+00"),
    delete(EXTRA, 0, full_old=False),
    insert(EXTRA, id=R1, user_id=BOB, ids="{" + ANN + "}", data=json.dumps({"on": True}), budget="10"),
    delete(EXTRA, 1),
)


@pytest.mark.parametrize("shape", NOTE_POLICIES)
def test_after_changes(world: World, shape: str) -> None:
    """Nobody gains or loses sight of a note without having been told to read again."""
    run(
        world,
        "create policy p on o.rooms for select using (owner_id = auth.uid())",
        f"create policy n on o.notes for select using ({NOTE_POLICIES[shape]})",
        "create policy r on o.notes as restrictive for select using (level is null or author_id is distinct from auth.uid())",
        changes=(*LOOKED_UP, *CHANGES),
    )
