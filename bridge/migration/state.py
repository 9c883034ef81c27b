"""What is applied and what is not: the files beside the record, judged without a database."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from bridge.errors import ConfigError
from bridge.migration.statements import canonical, split

MARK = "Part of the Supabase Realtime bridge"
"""Stands in the header of each file, and so in the record: a project has migrations of its own in there."""

_FILE = re.compile(r"([0-9]+)_(.*)\.sql")  # as the Supabase CLI has it

State: TypeAlias = Literal["applied", "pending", "changed", "newer"]


class Migration(msgspec.Struct, frozen=True):
    """One file of sql/migrations."""

    version: str
    name: str
    statements: tuple[str, ...]


class Recorded(msgspec.Struct, frozen=True):
    """One row of ``supabase_migrations.schema_migrations``; statements are None where a tool kept none."""

    version: str
    name: str
    statements: tuple[str, ...] | None


class Standing(msgspec.Struct, frozen=True):
    """Where one migration stands.

    Attributes:
        state: ``applied``; ``pending``; ``changed`` where the recorded statements are not those of the file;
            ``newer`` where the record names a migration of the bridge that this version does not have.
    """

    version: str
    name: str
    state: State


def files() -> list[Path]:
    """Return the SQL files, in order.

    Raises:
        ConfigError: they are not where a checkout or a wheel has them.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "sql" / "migrations", package / "sql" / "migrations"):
        found = sorted(folder.glob("*.sql"))
        if found:
            return found
    raise ConfigError("sql/migrations is missing: run this from a checkout of the repository")


def read(paths: Iterable[Path]) -> list[Migration]:
    """Return what the files hold."""
    migrations = []
    for path in paths:
        named = _FILE.fullmatch(path.name)
        if named is None:
            raise ConfigError(f"{path.name} is no migration: name it <timestamp>_<name>.sql")
        migrations.append(Migration(named[1], named[2], tuple(split(path.read_text()))))
    return migrations


def compare(migrations: Sequence[Migration], recorded: Mapping[str, Recorded]) -> list[Standing]:
    """Return where each migration stands, in order of the versions."""
    ours = {migration.version for migration in migrations}
    standings = [Standing(m.version, m.name, _state(m, recorded.get(m.version))) for m in migrations]
    newer = [
        Standing(version, row.name, "newer")
        for version, row in recorded.items()
        if version not in ours and any(MARK in statement for statement in row.statements or ())
    ]
    return sorted([*standings, *newer], key=lambda standing: standing.version)


def _state(migration: Migration, row: Recorded | None) -> State:
    if row is None:
        return "pending"
    if row.statements is None or canonical(row.statements) == canonical(migration.statements):
        return "applied"
    return "changed"
