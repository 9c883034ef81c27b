"""Writes the function that reads a table for a policy: in a circle of them, or where users may not read it.

What a policy asks of other rows moves into a SECURITY DEFINER function, with the columns of its own row as
arguments: what everybody does by hand.
"""

import re

from bridge.authorization.catalog import Catalog, Policy, Table
from bridge.identifiers import in_quotes

_CIRCLE = re.compile(r"in a circle: (.+?) \(Postgres")


def opened(catalog: Catalog, because: str) -> str | None:
    """Return the SQL that opens the circle that ``because`` names; None if it is none that we can open."""
    found = _CIRCLE.search(because)
    names = found[1].split(" -> ") if found else []
    table = catalog.by_name.get(names[-2]) if len(names) > 1 else None
    return None if table is None else moved(table, names[-1])


def moved(table: Table, name: str) -> str | None:
    """Return the SQL with which ``table`` reads table ``name`` in a function; None if no policy reads it."""
    reads = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\b")
    policies = (policy for policy in table.policies if policy.using and "SELECT" in policy.using)
    policy = next((policy for policy in policies if reads.search(policy.using or "")), None)
    return None if policy is None else _moved(table, policy)


def _moved(table: Table, policy: Policy) -> str:
    using = policy.using or ""
    words = set(re.findall(r'"(?:[^"]|"")+"|[^\W\d][\w$]*', using))
    read = [c for c in table.columns if {c.name, in_quotes(c.name)} & words]
    name = re.sub(r"\W+", "_", f"{table.name}_{policy.name}").strip("_").lower()[:50]
    arguments = ", ".join(f"{in_quotes(c.name)} {c.type}" for c in read)
    row = ", ".join(f"${place} as {in_quotes(c.name)}" for place, c in enumerate(read, 1))
    given = ", ".join(in_quotes(c.name) for c in read)
    roles = ", ".join(role if role == "public" else in_quotes(role) for role in policy.roles)
    own = in_quotes(table.name)
    function = f"bridge_private.{name}"
    return (
        "create schema if not exists bridge_private;\n"  # noqa: S608 - names are quoted
        f"grant usage on schema bridge_private to {roles};\n"
        f"create function {function}({arguments}) returns boolean\n"
        "language sql stable security definer set search_path = ''\n"
        f"as $function$ select {using} from (select {row}) as {own} $function$;\n"
        f"alter policy {in_quotes(policy.name)} on {table.quoted} using ({function}({given}));"
    )
