"""A circle of policies is opened by a function of what one policy asks."""

from bridge.authorization.catalog import Catalog, Column, Policy, Table
from bridge.checking.circles import opened

USING = '(EXISTS ( SELECT 1 FROM public."Members" m WHERE ((m.team = "Members".team) AND (m."User" = auth.uid()))))'


def table(*policies: Policy) -> Catalog:
    members = Table(
        schema="public",
        name="Members",
        kind="r",
        owner="postgres",
        rls=True,
        force_rls=False,
        replica_identity="d",
        publications=(),
        primary_key=("team",),
        columns=(
            Column("team", "integer", "pg_catalog.int4"),
            Column("User", "uuid", "pg_catalog.uuid"),
            Column("note", "text", "pg_catalog.text"),
        ),
        policies=policies,
    )
    return Catalog(version=1, fingerprint="", tables=(members,), functions=(), roles=())


def test_the_function_has_the_columns_that_the_policy_reads() -> None:
    """Names are in quotes; the policy's text stands as the database prints it."""
    policy = Policy("same team", permissive=True, roles=("authenticated",), command="SELECT", using=USING)
    sql = opened(
        table(policy),
        "policies refer to each other in a circle: public.Members -> public.Members (Postgres x)",
    )
    assert sql is not None
    assert (
        'create function bridge_private.members_same_team("team" integer, "User" uuid) returns boolean' in sql
    )
    assert f'select {USING} from (select $1 as "team", $2 as "User") as "Members"' in sql
    assert sql.endswith(
        'alter policy "same team" on public."Members" using (bridge_private.members_same_team("team", "User"));'
    )


def test_what_is_no_circle_is_left_alone() -> None:
    """Nothing is guessed."""
    assert opened(table(), "something else") is None
    assert opened(table(), "in a circle: public.Members -> public.Members (Postgres x)") is None
