"""Which migrations are applied, and the command that applies what is missing."""

import shlex

from bridge.checking.report import Check, bad, ok, unchecked
from bridge.errors import BridgeError
from bridge.migration.database import MigratedDatabase
from bridge.migration.state import Standing, compare, files, read


async def check_migrations(url: str) -> Check:
    """Judge the record of the migrations."""
    try:
        async with MigratedDatabase.open(url, lambda _notice: None) as database:
            standings = compare(read(files()), await database.recorded())
    except BridgeError as error:
        return unchecked("migrations", str(error))
    return judge_migrations(standings)


def missing_fix(name: str, *, recorded: bool) -> str:
    """Return the command that makes what a migration makes.

    Args:
        name: A part of the file's name.
        recorded: The record has it as applied, so that `bridge migrate` would leave it alone.
    """
    if not recorded:
        return "bridge migrate"
    # What is made anew has lost what bridge_worker was granted on it.
    paths = [path for path in files() if name in path.name or path.name.endswith("_worker_role.sql")]
    named = " ".join(f"-f {shlex.quote(str(path))}" for path in paths)
    return f'psql "$SUPABASE_DB_URL" -v ON_ERROR_STOP=1 {named}'


def judge_migrations(standings: list[Standing]) -> Check:
    """Judge where each migration stands."""
    by_state = {
        state: [s.version for s in standings if s.state == state] for state in ("pending", "changed", "newer")
    }
    if len(by_state["pending"]) == len(standings):
        return unchecked("migrations", "there is no record of them: not applied, or by psql")
    if by_state["pending"]:
        return bad("migrations", f"not applied: {', '.join(by_state['pending'])}", "bridge migrate", "shell")
    if by_state["changed"]:
        says = f"applied in another form than this version's: {', '.join(by_state['changed'])}"
        return bad("migrations", says, "bridge migrate up --reapply", "shell", status="warning")
    if by_state["newer"]:
        says = f"the database is ahead of this version: {', '.join(by_state['newer'])}"
        fix = "git pull && make install   # in the checkout: the version that has them"
        return bad("migrations", says, fix, "shell", status="warning")
    return ok("migrations", f"all {len(standings)} applied")
