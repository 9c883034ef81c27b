"""``bridge migrate``: from the environment to lines in the terminal."""

from collections.abc import Callable, Mapping
from typing import Literal

from bridge.database import database_url
from bridge.errors import ConfigError
from bridge.migration.database import MigratedDatabase
from bridge.migration.state import Migration, Standing, compare, files, read

_EXPLAINED = {
    "applied": "",
    "pending": "",
    "changed": "applied, but the recorded statements are not those of the file",
    "newer": "applied by a newer version of the bridge",
}


async def run_migrate(
    environ: Mapping[str, str],
    what: Literal["up", "status", "dry-run"],
    *,
    reapply: bool,
    show: Callable[[str], None],
) -> None:
    """Apply what is pending, show what is, or rehearse it.

    Args:
        environ: Holds ``SUPABASE_DB_URL``.
        what: ``status`` changes nothing; ``dry-run`` runs the files and rolls back.
        reapply: Run those files again whose recorded statements are others.
        show: Prints a line.

    Raises:
        ConfigError: no URL, or a database that is ahead of this version.
        SourceError: the database did not answer, or refused a file.
    """
    url = database_url(environ.get("SUPABASE_DB_URL", ""))
    migrations = read(files())
    async with MigratedDatabase.open(url, lambda notice: show(f"    {notice}")) as database:
        standings = compare(migrations, await database.recorded())
        if what == "status":
            for standing in standings:
                show(_line(standing))
            return
        _refuse_ahead(standings)
        due = _due(migrations, standings, reapply=reapply)
        for standing in standings:
            if standing.state == "changed" and not reapply:
                show(f"{_line(standing)}: add --reapply to run the file again, which is safe")
        if what == "dry-run":
            await database.rehearse(due)
            for migration in due:
                show(f"would apply  {migration.version}_{migration.name}")
        else:
            for migration in due:
                done = "applied" if await database.apply(migration) else "applied by somebody else"
                show(f"{done}  {migration.version}_{migration.name}")
        if not due:
            show("nothing to apply")


def _refuse_ahead(standings: list[Standing]) -> None:
    newer = [standing for standing in standings if standing.state == "newer"]
    if newer:
        names = ", ".join(f"{standing.version}_{standing.name}" for standing in newer)
        raise ConfigError(
            f"the database is ahead of this version of the bridge ({names}): "
            "install the version that has it, nothing was changed"
        )


def _due(migrations: list[Migration], standings: list[Standing], *, reapply: bool) -> list[Migration]:
    states = {standing.version: standing.state for standing in standings}
    wanted = {"pending", "changed"} if reapply else {"pending"}
    return [migration for migration in migrations if states[migration.version] in wanted]


def _line(standing: Standing) -> str:
    note = _EXPLAINED[standing.state]
    return f"{standing.state:<8} {standing.version}_{standing.name}" + (f": {note}" if note else "")
