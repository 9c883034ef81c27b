"""What the policies of a table come to: everybody, nobody, an error, or a question to Postgres."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from bridge.authorization.algebra import FALSE
from bridge.authorization.capturing import MANAGED, Capturing
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.composition import Sight, compose
from bridge.authorization.plan import Plan
from bridge.authorization.planset import lookup_tables
from bridge.checking.circles import moved, opened
from bridge.checking.report import SEE_CAPTURE, Check, Status, Where, bad, divided, ok, pasted
from bridge.identifiers import quoted
from bridge.inspection.explain import cost
from bridge.upstream import CLIENT_ROLES

_LACKS_SELECT = re.compile(r"a policy reads (\S+), where role (\w+) lacks SELECT")
_BY_HAND = "let a SECURITY DEFINER function read the table, as docs/check.md shows"
_OWNERS = ("user_id", "owner_id", "sender_id", "author_id", "created_by", "profile_id")


def sights_of(
    catalog: Catalog, tables: Sequence[Table], capturing: Capturing
) -> dict[tuple[str, str], Sight]:
    """Return what each role of clients sees of each table."""
    return {
        (t.qualified, role): compose(catalog, t, role, capturing) for t in tables for role in CLIENT_ROLES
    }


def looked_into(
    catalog: Catalog, sights: Mapping[tuple[str, str], Sight], but: Sequence[Table]
) -> list[Table]:
    """Return the further tables that are kept in memory for the policies."""
    names = lookup_tables(catalog, list(sights.values()))
    return [catalog.by_name[name] for name in sorted(names) if catalog.by_name[name] not in but]


def to_be_read(catalog: Catalog, tables: Sequence[Table]) -> list[Table]:
    """Return the further tables that the policies would be decided by if the journal had them all."""
    complete = msgspec.structs.replace(
        catalog,
        tables=tuple(
            msgspec.structs.replace(t, journalled=t.schema not in MANAGED and bool(t.primary_key))
            for t in catalog.tables
        ),
    )
    sights = sights_of(complete, tables, Capturing(capture="journal"))
    return [catalog.by_name[name] for name in sorted(lookup_tables(complete, list(sights.values())))]


def check_policies(
    catalog: Catalog,
    table: Table,
    sights: Mapping[tuple[str, str], Sight],
    now_us: Callable[[], int],
    *,
    to_watch: str | None,
) -> Iterator[Check]:
    """Judge what clients see of one watched table.

    Args:
        catalog: The database's catalog.
        table: The table.
        sights: What each role sees of each table.
        now_us: The time.
        to_watch: The statement that has all tables journalled, where that is the better choice.
    """
    name = table.qualified
    if table.rls:
        yield ok("rls", "row-level security is on", name)
    else:
        says = "row-level security is off: everybody with the SELECT privilege sees every row"
        fix = f"alter table {table.quoted} enable row level security;   -- then its policies decide"
        yield bad("rls", says, fix, "sql", subject=name, status="warning")
    yield from _unnamed(table, [sights[name, role] for role in CLIENT_ROLES])
    authenticated, *others = (sights[name, role] for role in CLIENT_ROLES)
    if _is_hidden(authenticated):
        nobody = all(_is_hidden(sight) for sight in others)
        yield _hidden(catalog, table, authenticated, is_hidden_from_all=nobody)
        return
    lookups = lookup_tables(catalog, [authenticated])
    plan = Plan(authenticated, lookups, now_us)
    if not plan.opaque:
        yield ok("policies", f"decided in memory: {cost(plan)}", name)
        return
    for part in plan.opaque:
        reason, fix = divided(part.reason)
        paste = pasted(fix)
        if to_watch is not None and "bridge_watch(" in fix:
            fix = SEE_CAPTURE
        elif not paste:
            reason, fix, paste = part.reason, _explained(table), "shell"
        elif paste == "sql":
            fix = f"{fix};"
        says = f"asks Postgres for each change because {reason} ({cost(plan)})"
        yield bad("policies", says, fix, paste, subject=name, status="warning")


def _is_hidden(sight: Sight) -> bool:
    return sight.because is not None or sight.condition == FALSE


def _unnamed(table: Table, sights: Sequence[Sight]) -> Iterator[Check]:
    """Say who gets events of rows without what names these."""
    lacking = {
        sight.role: [column for column in table.primary_key if column not in sight.columns]
        for sight in sights
        if sight.columns is not None and not _is_hidden(sight)
    }
    lacking = {role: columns for role, columns in lacking.items() if columns}
    if not lacking:
        return
    who = " and ".join(f"role {role} may not SELECT {', '.join(named)}" for role, named in lacking.items())
    says = f"{who} of the primary key: events do not say which row they are of"
    fix = "\n".join(
        f"grant select ({', '.join(map(quoted, columns))}) on {table.quoted} to {role};"
        for role, columns in lacking.items()
    )
    yield bad("grants", says, fix, "sql", subject=table.qualified, status="warning")


def _hidden(catalog: Catalog, table: Table, sight: Sight, *, is_hidden_from_all: bool) -> Check:
    says, fix, paste = _reason(catalog, table, sight)
    who = "nobody sees a row" if is_hidden_from_all else f"no signed-in user (role {sight.role}) sees a row"
    status: Status = "fail" if is_hidden_from_all else "warning"
    return bad("policies", f"{who}: {says}", fix, paste, subject=table.qualified, status=status)


def _reason(catalog: Catalog, table: Table, sight: Sight) -> tuple[str, str, Where]:
    because, role = sight.because, sight.role
    if because is None:
        counting = [p for p in table.policies if p.using and catalog.acting_roles(role) & set(p.roles)]
        if any(policy.permissive for policy in counting):
            return "its policies are never true", _explained(table), "shell"
        fix = _first_policy(table, role)
        return f"no policy lets role {role} pass", fix, "" if "<" in fix else "sql"
    lacking = _LACKS_SELECT.search(because)
    if lacking is not None and lacking[1] in catalog.by_name:
        other = catalog.by_name[lacking[1]]
        if other.rls and other.schema not in MANAGED:
            return because, f"grant select on {other.quoted} to {lacking[2]};", "sql"
        # With the privilege everybody would read all of it.
        function = moved(table, other.qualified)
        return because, function or _BY_HAND, "sql" if function else ""
    if "in a circle" in because:
        function = opened(catalog, because)
        return because, function or _BY_HAND, "sql" if function else ""
    hide = f"alter table {table.quoted} enable row level security;"  # before anybody may read it
    grants = [] if table.rls else [hide]
    grants += [f"grant select on {table.quoted} to {role};"] if "no SELECT privilege" in because else []
    if not catalog.may_name(role, table):
        grants.append(f"grant usage on schema {quoted(table.schema)} to {role};")
    if any(grant.startswith("grant") for grant in grants):
        return because, "\n".join(grants), "sql"
    return because, _explained(table), "shell"


def _explained(table: Table) -> str:
    return f"bridge explain {shlex.quote(table.quoted)}"


def _first_policy(table: Table, role: str) -> str:
    uuids = [c.name for c in table.columns if c.base_type == "pg_catalog.uuid"]
    to_users = [
        fk.columns[0]
        for fk in table.foreign_keys
        if (fk.references.schema, fk.references.name) == ("auth", "users")
    ]
    owner = next((name for name in (*to_users, *_OWNERS) if name in uuids), None)
    condition = f'"{owner}" = (select auth.uid())' if owner else "<who may see a row>"
    return f"create policy bridge_select on {table.quoted} for select to {role} using ({condition});"
