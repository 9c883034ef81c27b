"""What a row's or a claim's value makes fail in Postgres, beside what would show the row: nobody sees it then."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bridge.authorization.undecided import UndecidedError
from tests.oracle.agreement import agree
from tests.oracle.grammar import USERS, TableSpec
from tests.oracle.world import World, principal

ANN, BOB, CAT, DAN = USERS

DOCS = TableSpec(
    name="docs",
    columns={
        "id": "integer",
        "owner_id": "uuid",
        "org_id": "uuid",
        "label": "text",
        "data": "jsonb",
        "number": "integer",
        "hidden": "boolean",
        "public": "boolean",
    },
    key=("id",),
)
NOTES = TableSpec(name="notes", columns={"id": "integer", "doc_id": "integer", "label": "text"}, key=("id",))
MEMBERS = TableSpec(
    name="members",
    columns={"doc_id": "integer", "user_id": "uuid", "org_id": "uuid", "label": "text"},
    key=("doc_id", "user_id"),
)
TABLES = (DOCS, NOTES, MEMBERS)

SCHEMA = f"""
create schema o;
grant usage on schema o to public;
create type o.kind as enum ('admin', 'staff');
create table o.docs (
    id integer primary key, owner_id uuid, org_id uuid, label text, data jsonb, number integer, hidden boolean, public boolean
);
create table o.notes (id integer primary key, doc_id integer, label text);
create table o.members (doc_id integer, user_id uuid, org_id uuid, label text, primary key (doc_id, user_id));
grant select on all tables in schema o to anon, authenticated;
alter table o.docs enable row level security;
alter table o.notes enable row level security;
create policy n on o.notes for select using (true);
alter publication supabase_realtime add table o.docs, o.notes, o.members;
insert into o.docs values
    (1, '{ANN}', '{CAT}', 'admin', '{{"n": "5", "u": "{BOB}", "b": "yes", "score": "0.9", "at": "2020-01-01"}}', 1, false, false),
    (2, '{ANN}', '{CAT}', 'bad', '{{"n": "bad", "u": "bad", "b": "bad", "score": "bad", "at": "bad"}}', 0, false, true),
    (3, '{BOB}', null, '(', '{{"n": "bad", "u": "bad", "b": "bad", "score": "bad", "at": "bad"}}', 0, true, false),
    (4, '{BOB}', '{CAT}', null, '{{}}', null, null, true),
    (5, null, '{ANN}', '10', '{{"n": "1", "u": null, "score": "0.1", "ids": "no array"}}', 2, true, true),
    (6, null, null, 'bad', '{{"n": "bad", "u": "bad", "b": "bad", "score": "bad", "at": "bad"}}', 0, null, null),
    (7, '{CAT}', '{ANN}', '7', null, 2147483647, true, null);
insert into o.notes values (1, 1, 'a'), (2, 2, 'b'), (3, 3, null), (4, 6, '4');
insert into o.members values
    (1, '{ANN}', '{CAT}', '1'), (2, '{ANN}', null, 'bad'), (2, '{BOB}', '{ANN}', '2'), (4, '{CAT}', null, null), (6, '{ANN}', '{ANN}', '6');
create function o.picky(text) returns boolean language plpgsql stable as
    $$ begin if $1 = 'bad' then raise exception 'no'; end if; return true; end $$;
create function o.eager(n integer, yes boolean) returns boolean language plpgsql stable as
    $$ begin if yes then return true; end if; return n > 3; end $$;
create function o.assigns(d jsonb, yes boolean) returns boolean language plpgsql stable as
    $$ declare v integer; begin v := d ->> 'n'; if yes then return true; end if; return v > 3; end $$;
create function o.declares(d jsonb, yes boolean) returns boolean language plpgsql stable as
    $$ declare v integer := (d ->> 'n')::integer; begin if yes then return true; end if; return v > 3; end $$;
create function o.lookup(d jsonb, yes boolean) returns boolean language plpgsql stable security definer as
    $$ declare v text; begin select m.label into v from o.members m where m.doc_id = (d ->> 'n')::integer;
    if yes then return true; end if; return v is not null; end $$;
"""

HERE = (
    principal(ANN, app_metadata={"org_id": CAT, "level": "3", "kind": "admin"}),
    principal(BOB, app_metadata={"org_id": "", "level": "x", "kind": "guest", "ids": {"x": 1}}),
    principal(CAT, app_metadata={"org_id": None}, user_metadata={"vip": "maybe"}),
    # The same user twice: the claims of one are no uuid.
    principal(DAN, app_metadata={"org_id": ANN}),
    principal(DAN, app_metadata={"org_id": "x", "level": "1"}, user_metadata={"vip": "true"}),
    principal(None),
)

BAD = {
    "integer": "(data ->> 'n')::integer > 3",
    "uuid": "(data ->> 'u')::uuid = auth.uid()",
    "boolean": "(data ->> 'b')::boolean",
    "float": "(data ->> 'score')::float > 0.5",
    "time": "(data ->> 'at')::timestamptz < now()",
    "enum": "label::o.kind = 'admin'",
    "division": "10 / number > 3",
    "overflow": "number + 1 > 1",
    "regular expression": "'abc' ~ label",
    "elements": "exists (select 1 from jsonb_array_elements_text(data -> 'ids') x where x = 'a')",
    "elements in": "'a' in (select jsonb_array_elements_text(data -> 'ids'))",
    "inet": "(data ->> 'n')::inet << '10.0.0.0/8'",
    "date part": "extract(year from (data ->> 'at')::date) > 2000",
    "function": "o.picky(label)",
    "function beside": "o.picky(data ->> 'n')",
    "argument": "o.eager((data ->> 'n')::integer, public)",
    "assignment": "o.assigns(data, public)",
    "declaration": "o.declares(data, public)",
    "select into": "o.lookup(data, public)",
    "setting compared": "label = current_setting('app.x')",
    "setting": "(label || current_setting('app.x')) = 'ab'",
    "any": "(data ->> 'n')::integer = any (array[1, 2, 5])",
    "all": "number <> all (array[0, (data ->> 'n')::integer])",
    "all of words": "number <> all (array[1, (data ->> 'n')::integer])",
    "within an array": "array[number] && array[0, (data ->> 'n')::integer]",
    "contained in an array": "array[number, 1] @> array[5, (data ->> 'n')::integer]",
    "list": "number in (0, (data ->> 'n')::integer)",
    "beside a list with NULL": "(((data ->> 'n')::integer = 1 and number not in (null, 5)) or public)",
    "beside any of a list with NULL": "(((data ->> 'n')::integer = 1 and number = any (array[null, 77])) or public)",
    "between": "number between 1 and (data ->> 'n')::integer",
    "distinct": "number is distinct from (data ->> 'n')::integer",
    "of NULL": "owner_id = (data ->> 'u')::uuid",
    "coalesce": "coalesce(public, (data ->> 'n')::integer > 3)",
    "coalesce first": "coalesce((data ->> 'n')::integer > 3, false)",
    "case condition": "case when (data ->> 'n')::integer > 3 then hidden else public end",
    "case result": "case when hidden then (data ->> 'n')::integer > 3 else public end",
    "case without effect": "case when (data ->> 'n')::integer > 3 then false else null end",
    "case of NULL": "case when hidden then public when (data ->> 'n')::integer > 3 then null end",
    "nullif": "nullif((data ->> 'n')::integer, 5) is null",
    "is null": "(data ->> 'n')::integer is null",
    "is true": "((data ->> 'n')::integer > 3) is not true",
    "not": "not ((data ->> 'n')::integer > 3)",
    "membership": "exists (select 1 from o.members m where m.doc_id = docs.id and m.user_id = (data ->> 'u')::uuid)",
    "membership of a row's number": "exists (select 1 from o.members m where m.doc_id = (data ->> 'n')::integer)",
    "gates": "exists (select 1 from o.members m where (data ->> 'n')::integer = 5 and hidden and m.doc_id = docs.id)",
    "in": "(data ->> 'u')::uuid in (select m.user_id from o.members m where m.doc_id = docs.id)",
    "scalar": "(select m.user_id from o.members m where m.doc_id = docs.id) = auth.uid()",
    "look-up cast": "exists (select 1 from o.members m where m.doc_id = docs.id and m.label::integer > 0)",
    "count": "(select count(*) from o.members m where m.doc_id = docs.id) > (data ->> 'n')::integer",
}  # fmt: skip

BESIDE = {
    "before": "{} or public",
    "after": "owner_id = auth.uid() or {}",
    "between": "owner_id = auth.uid() or {} or public",
    "and hidden": "({} and hidden) or public",
    "hidden and": "(hidden and {}) or public",
    "and the owner": "({} and owner_id = auth.uid()) or public or owner_id = auth.uid()",
    "the owner and": "(owner_id = auth.uid() and {}) or public",
    "in two": "(({} or hidden) and hidden) or public",
    "alone": "{}",
    "and": "{} and owner_id = auth.uid()",
    "not": "not ({} and hidden) or public",
    "not or": "not ({} or hidden) or public",
    "case": "case when {} and hidden then owner_id = auth.uid() else public end",
    "coalesce": "coalesce({} and hidden, public)",
    "is not true": "({} and hidden) is not true",
    "unknown": "({} and hidden) is unknown or public",
    "never": "({} and 1 = 2) or public",
    "never, by null": "({} and null) or public",
    "never, by null in a case": "case when {} and null::boolean then hidden else public end",
    "nothing there": "({} and exists (select 1 from o.notes n where false)) or public",
    "nothing there, not": "not ({} and exists (select 1 from o.notes n where false)) or public",
    "all there": "{} or not exists (select 1 from o.notes n where false)",
    "a look-up before": "((select m.org_id from o.members m where m.doc_id = docs.id and m.user_id = auth.uid()) = org_id and {}) or public",
    "a subquery before": "(org_id in (select m.org_id from o.members m where m.user_id = auth.uid()) and {}) or public",
    "a membership before": "(exists (select 1 from o.members m where m.doc_id = docs.id and m.user_id = auth.uid()) and {}) or public",
    "a case before": "(case when hidden then null else owner_id = auth.uid() end and {}) or public",
    "a NULL before": "(hidden = (owner_id = auth.uid()) and {}) or public",
    "said twice": "((public or {}) and public) or hidden or owner_id = auth.uid()",
    "compared": "(({} and hidden) = public) or owner_id = auth.uid()",
    "in a subquery": "exists (select 1 from o.members m where m.doc_id = docs.id and m.user_id = auth.uid() and ({} or public)) or public",
    "in a subquery after": "owner_id = auth.uid() or exists (select 1 from o.members m where m.doc_id = docs.id and m.user_id = auth.uid() and {})",
}  # fmt: skip


@pytest.fixture
def world(connection: psycopg.Connection[Any]) -> Iterator[World]:
    with connection.transaction(force_rollback=True):
        made = World(connection, TABLES, HERE)
        made.execute(SCHEMA)
        yield made


def policies(*using: str) -> list[str]:
    return [f"create policy p{i} on o.docs for select using ({u})" for i, u in enumerate(using)]


PAIRS = [(part, place) for part in BAD for place in BESIDE]
SOME = PAIRS if "ORACLE_DECISIONS" in os.environ else PAIRS[::9]
"""All of them take minutes."""


@pytest.mark.parametrize(("part", "place"), SOME)
def test_a_part_that_may_fail(world: World, part: str, place: str) -> None:
    """What stands after it is not looked at where Postgres fails, and counts where it does not."""
    agree(world, *policies(BESIDE[place].format(f"({BAD[part]})")), dialog_column="doc_id")


ORG = "(auth.jwt() -> 'app_metadata' ->> 'org_id')::uuid"
LEVEL = "(auth.jwt() -> 'app_metadata' ->> 'level')::integer"
VIP = "(auth.jwt() -> 'user_metadata' ->> 'vip')::boolean"
KIND = "(auth.jwt() -> 'app_metadata' ->> 'kind')::o.kind"

CLAIMS = {
    "compared with a column, last": f"public or org_id = {ORG}",
    "compared with a column, first": f"org_id = {ORG} or public",
    "the other way round": f"public or {ORG} = org_id",
    "behind what is false": f"public or (hidden and not hidden and org_id = {ORG})",
    "unequal": f"public or org_id <> {ORG}",
    "less": f"public or number < {LEVEL}",
    "distinct": f"public or org_id is distinct from {ORG}",
    "not": f"public or not (org_id = {ORG})",
    "is true": f"public or (org_id = {ORG}) is true",
    "in a case": f"case when public then true else org_id = {ORG} end",
    "in a coalesce": f"coalesce(public, org_id = {ORG}, false)",
    "coalesced": f"public or org_id = coalesce({ORG}, owner_id)",
    "coalesced with a constant": f"public or org_id = coalesce({ORG}, '{CAT}')",
    "selected": f"public or org_id = (select {ORG})",
    "of a text": f"public or label::text = ({LEVEL})::text",
    "with an expression of a row": f"public or (data ->> 'n') = ({LEVEL})::text",
    "in a list": f"public or org_id in ({ORG}, owner_id)",
    "in an array": f"public or org_id = any (array[{ORG}, auth.uid()])",
    "among a row's": f"public or {LEVEL} = any (array[number, 1])",
    "overlaps": f"public or array[org_id] && array[{ORG}]",
    "without a column": f"public or {LEVEL} > 2",
    "without a column, first": f"{LEVEL} > 2 or public",
    "without a column, in a list": f"public or {LEVEL} in (3, 4)",
    "a flag": f"public or {VIP}",
    "a flag, first": f"{VIP} or public",
    "a flag, compared": f"public or hidden = {VIP}",
    "between": f"public or number between 0 and {LEVEL}",
    "in a subquery": f"public or exists (select 1 from o.members m where m.doc_id = docs.id and m.org_id = {ORG})",
    "in a subquery, without a column of it": f"public or exists (select 1 from o.members m where docs.org_id = {ORG})",
    "in a subquery, of nothing": f"public or exists (select 1 from o.notes m where false and m.doc_id = {LEVEL})",
    "in a subquery that finds nothing": f"not exists (select 1 from o.notes n where n.label = docs.label and {LEVEL} > 2)",
    "a subquery's": f"public or {ORG} in (select m.org_id from o.members m where m.doc_id = docs.id)",
    "a scalar subquery's": f"public or (select m.org_id from o.members m where m.doc_id = docs.id and m.user_id = auth.uid()) = {ORG}",
    "an uncorrelated subquery's": f"public or (select m.org_id from o.members m where m.doc_id = 1 and m.user_id = auth.uid()) = {ORG}",
    "an argument": f"public or o.eager({LEVEL}, true)",
    "an argument that is not needed": f"o.eager({LEVEL}, public)",
    "inlined": f"public or o.inlined(org_id, {ORG})",
    "alone": f"org_id = {ORG}",
    "restricted": f"public and (hidden or org_id = {ORG})",
    "an enum": f"{KIND} = 'admin' or public",
}  # fmt: skip


@pytest.mark.parametrize("shape", CLAIMS)
def test_a_claim_that_may_fail(world: World, shape: str) -> None:
    """Compared with a column it fails the query while that is planned, wherever it stands."""
    agree(
        world,
        "create function o.inlined(a uuid, b uuid) returns boolean language sql stable as $$ select a = b $$",
        *policies(CLAIMS[shape]),
        dialog_column="doc_id",
    )


@pytest.mark.parametrize("order", ["{}", "or", "restrictive"])
def test_a_claim_that_may_fail_in_another_policy(world: World, order: str) -> None:
    """The query has all policies in it, in whatever order of their names."""
    names = ("a", "b") if order == "{}" else ("b", "a")
    kind = " as restrictive" if order == "restrictive" else ""
    agree(
        world,
        f"create policy {names[0]} on o.docs for select using (public)",
        f"create policy {names[1]} on o.docs{kind} for select using (org_id = {ORG})",
        dialog_column="doc_id",
    )


IN_MEMORY = {
    "the owner before what is asked": ("owner_id = auth.uid() or label ~ label", ANN, True),
    "somebody else before what is asked": ("owner_id = auth.uid() or label ~ label", BOB, None),
    "the owner behind what is asked": ("label ~ label or owner_id = auth.uid()", ANN, None),
    "behind a pattern that is certain": ("label ~ '^x.*@y[.]z$' or label ~ '^admin$' or owner_id = auth.uid()", ANN, None),
    "behind patterns that are certain": (r"label ~ '^x\.y$' or label !~* 'bad' or owner_id = auth.uid()", ANN, True),
    "behind an order of texts": ("label < 'b' or lower(label) > label or owner_id = auth.uid()", ANN, True),
    "behind json": ("(data ->> 'n') > 'b' or owner_id = auth.uid()", ANN, True),
    "behind a comparison of numbers": ("number::text < '5' or owner_id = auth.uid()", ANN, True),
    "behind a cast": ("(data ->> 'n')::float > 1 or owner_id = auth.uid()", ANN, None),
    "beside what is not mine": ("(label ~ label and owner_id = auth.uid()) or hidden", BOB, False),
    "beside what is not mine, and a branch that is true": ("(label ~ label and owner_id = auth.uid()) or public", BOB, None),
    "behind what is not mine": ("(owner_id = auth.uid() and label ~ label) or public", BOB, True),
    "behind what is nobody's": ("(org_id = owner_id and label ~ label) or public", BOB, True),
    "a cast that fails beside a false branch": ("((data ->> 'n')::integer > 3 and hidden) or hidden", BOB, False),
    "a cast that fails and what is false": ("(data ->> 'n')::integer > 3 and hidden", BOB, False),
}  # fmt: skip


@pytest.mark.parametrize("shape", IN_MEMORY)
def test_what_memory_decides_beside_what_it_asks(world: World, shape: str) -> None:
    """Postgres is asked only where what may fail could come first, and where the answer depends on it."""
    policy, user, expected = IN_MEMORY[shape]
    plan = agree(world, *policies(policy), dialog_column="doc_id").plans["o.docs", "authenticated"]
    try:
        found = plan.visible(world.table_rows(DOCS)[1], principal(user))
    except UndecidedError:
        found = None
    assert found is expected
