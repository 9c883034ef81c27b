"""What the role of the key may do: all that the worker calls, and bridge_worker nothing else."""

import re
from collections.abc import Iterator
from functools import cache

import msgspec
import psycopg

from bridge.checking.report import Check, bad, ok, unchecked
from bridge.database import connect, first_line
from bridge.errors import BridgeError, SourceError
from bridge.identifiers import quoted
from bridge.migration.state import files
from bridge.minting import WORKER_ROLE

_RIGHTS = """
select jsonb_build_object(
    'exists', true,
    'uncallable', (
        select coalesce(jsonb_agg(f.name order by f.name), '[]')
        from unnest(%(functions)s::text[]) as f (name)
        where not has_function_privilege(%(role)s, to_regprocedure(f.name), 'execute')
    ),
    'writable', (
        select coalesce(jsonb_agg(distinct format('%%I.%%I', n.nspname, c.relname)), '[]')
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        cross join lateral pg_catalog.aclexplode(c.relacl) as a
        where a.grantee = r.oid and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
    ),
    'member_of', (
        select coalesce(jsonb_agg(pg_catalog.pg_get_userbyid(m.roleid)), '[]')
        from pg_catalog.pg_auth_members as m where m.member = r.oid
    )
)::text
from pg_catalog.pg_roles as r where r.rolname = %(role)s
"""


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What a role may do and should not, and the other way round.

    Attributes:
        exists: There is such a role.
        uncallable: Functions of the worker that it may not call.
        writable: Tables that it was granted to write.
        member_of: Roles whose privileges it can take on.
    """

    exists: bool = False
    uncallable: list[str] = []
    writable: list[str] = []
    member_of: list[str] = []


@cache
def called() -> list[str]:
    """Return the functions that the worker calls: those that the file of bridge_worker grants."""
    text = next(path for path in files() if path.name.endswith("_worker_role.sql")).read_text()
    granted = re.search(r"grant execute on function (.*?) to bridge_worker;", text, re.DOTALL)
    return re.findall(r"\w+\.\w+\([^)]*\)", granted[1]) if granted else []


async def check_role(url: str, role: str) -> list[Check]:
    """Ask the database of ``SUPABASE_DB_URL`` what ``role`` may do."""
    try:
        rights = await _read(url, role)
    except BridgeError as error:
        return [unchecked("role", str(error))]
    return list(judge_role(role, rights))


async def _read(url: str, role: str) -> Rights:
    connection = await connect(url, autocommit=True)
    try:
        row = await (await connection.execute(_RIGHTS, {"role": role, "functions": called()})).fetchone()
    except psycopg.Error as error:
        raise SourceError(f"the database refused ({error.sqlstate}: {first_line(error)})") from None
    finally:
        await connection.close()
    return msgspec.json.decode(row[0], type=Rights) if row else Rights()


def judge_role(role: str, rights: Rights) -> Iterator[Check]:
    """Judge what a role may do; ``service_role`` may write, which is what it is for."""
    if not rights.exists:
        yield unchecked("role", f"there is no role {role} in the database of SUPABASE_DB_URL")
        return
    name = quoted(role)
    if rights.uncallable:
        says = f"{role} may not call {', '.join(rights.uncallable)}, as the worker does"
        fix = f"grant execute on function {', '.join(rights.uncallable)} to {name};"
        yield bad("role", says, fix, "sql")
    if role == WORKER_ROLE and rights.writable:
        tables = ", ".join(rights.writable)
        says = f"{role} may write {tables}, and so may whoever has its key; the worker never does"
        fix = f"revoke insert, update, delete, truncate on {tables} from {name};"
        yield bad("role", says, fix, "sql", status="warning")
    if role == WORKER_ROLE and rights.member_of:
        says = f"{role} is a member of {', '.join(rights.member_of)}, and may do what that may"
        fix = f"revoke {', '.join(map(quoted, rights.member_of))} from {name};"
        yield bad("role", says, fix, "sql", status="warning")
        return
    if not rights.uncallable and not (role == WORKER_ROLE and rights.writable):
        more = ", and write nothing" if role == WORKER_ROLE else ""
        yield ok("role", f"{role} may call what the worker calls{more}")
