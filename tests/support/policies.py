"""Policy expressions for tests: translated for one role, and answered over a few look-up rows."""

import itertools
from collections.abc import Sequence

import pytest

from bridge.authorization.algebra import TRUE, Expr
from bridge.authorization.env import Env
from bridge.authorization.evaluation import compile_test
from bridge.authorization.functions import Function
from bridge.authorization.lookup import LookupTable
from bridge.authorization.translation import Context, Translator
from bridge.authorization.translation.context import parse_expression
from bridge.authorization.translation.names import InScope, Names
from bridge.errors import CompileError
from tests.support.catalogs import ANN, BOB, catalog, table

NOTES = table("notes", "id int, room_id int, owner_id uuid, body text, extra jsonb, tags _text")
MEMBERS = table("members", "room_id int, user_id uuid, role text, level int", key=("room_id", "user_id"))
ROOMS = table("rooms", "id int, org_id int, open bool")
ROWS = {
    "public.members": [(1, ANN, 3, "owner"), (1, BOB, None, None), (2, BOB, 1, "guest")],
    "public.rooms": [(1, True, 7), (2, False, None), (3, None, 7)],
}
"""Columns in the order in which a look-up table keeps them: the primary key, then by name."""


def translated(text: str, functions: Sequence[Function] = ()) -> Expr:
    """Translate a condition over ``notes``, its names looked for in schema public, leaving nothing to Postgres.

    Raises:
        CompileError: it holds a construct that is not supported.
    """
    context = Context(
        catalog(NOTES, MEMBERS, ROOMS, functions=functions, enums=["mood"]),
        role="authenticated",
        row_filter=lambda _table, _scope, _used, _acting: TRUE,
        new_scope=itertools.count(1).__next__,
        trackable=lambda _table: None,
    )
    names = Names(levels=((InScope.of_table(NOTES, "notes", 0),),), acting="authenticated", path=("public",))
    return Translator(context).condition(parse_expression(text), names)


def answer(
    text: str, functions: Sequence[Function] = (), *, uid: str | None = ANN, **row: object
) -> bool | None:
    """Return what the condition is for Ann, or another user, and a note of room 1."""
    expr = translated(text, functions)
    tables = {}
    for made in (MEMBERS, ROOMS):
        lookup = LookupTable(made.qualified, primary_key=made.primary_key, columns=made.by_name)
        for known in ROWS[made.qualified]:
            lookup.put(known)
        tables[made.qualified] = lookup
    env = Env(100, lambda: 0)
    env.uid, env.row = (
        uid,
        {"id": 1, "room_id": 1, "owner_id": ANN, "body": None, "extra": None, "tags": None, **row},
    )
    return compile_test(expr, tables, {})(env)


def refused(text: str, reason: str, functions: Sequence[Function] = ()) -> None:
    """Assert that the condition is not translated, and why."""
    with pytest.raises(CompileError, match=reason):
        translated(text, functions)
