"""What the catalog says of the watched tables: whether their changes arrive, and the worker may read them."""

import difflib
import shlex
from collections.abc import Iterator, Sequence

from bridge.authorization.capturing import (
    MANAGED,
    PUBLICATION,
    Capture,
    Capturing,
    journal_advice,
    unheard,
    unwatchable,
)
from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.dialogs import dialog_columns
from bridge.checking.report import SEE_CAPTURE, Check, bad, divided, ok, pasted
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.identifiers import literal, quoted


def existing(catalog: Catalog, config: Config) -> tuple[list[Table], list[Check]]:
    """Return those of the watched tables that are tables, and what is wrong with the others."""
    tables, wrong, wanted = [], {}, []
    for name in config.tables:
        table = catalog.by_name.get(name)
        if table is not None and table.other_than_table is None:
            tables.append(table)
            wanted.append(table.quoted)
        elif table is not None:
            says = f"{name} is {table.other_than_table}, which has no changes of its own"
            wrong[name] = (says, "   # the tables that it reads")
            wanted.append("...")
        else:
            meant = _meant(catalog, name, [*config.tables, *wanted])
            wrong[name] = (f"table {name} does not exist", "" if meant else "   # or create it")
            wanted += [meant] if meant else []
    # The same line for each: whoever pastes the last one would bring back what the others mended.
    fix = f"export BRIDGE_TABLES={shlex.quote(','.join(dict.fromkeys(wanted))) if wanted else '...'}"
    return tables, [
        bad("table", says, f"{fix}{note}", "shell", subject=name) for name, (says, note) in wrong.items()
    ]


def watchable(tables: Sequence[Table]) -> list[Table]:
    """Return those whose changes can be made to arrive, as they are."""
    return [table for table in tables if table.primary_key and not is_anothers(table)]


def is_anothers(table: Table) -> bool:
    """Return whether it belongs to a part of Supabase, so that the project cannot have its changes told."""
    return table.schema in MANAGED and not table.journalled and PUBLICATION not in table.publications


def _meant(catalog: Catalog, name: str, watched: Sequence[str]) -> str | None:
    known = {t.qualified: t for t in catalog.tables if t.other_than_table is None and t.schema not in MANAGED}
    bare = name.replace('"', "")
    left = [other for other, t in known.items() if not {other, t.quoted} & set(watched)]
    close = difflib.get_close_matches(bare, left, n=1)
    same = [other for other in known if bare.lower() in (other.lower(), other.lower().partition(".")[2])]
    meant = next(iter([*same, *close]), None)
    return None if meant is None else known[meant].quoted


def watch_fix(catalog: Catalog, tables: Sequence[Table]) -> str | None:
    """Return the statements that have all these tables journalled; None if they have nothing to do.

    Those are left out that have to get a primary key first, which other checks say, or never can be.
    """
    advice = journal_advice(catalog, [t for t in tables if t.primary_key and t.schema not in MANAGED])
    steps = advice.split(", then ") if advice else []
    return "\n".join(f"{s};" if s.startswith("select") else f"-- {s}" for s in steps) or None


def check_table(
    catalog: Catalog, table: Table, capture: Capture, *, role: str, to_watch: str | None
) -> Iterator[Check]:
    """Judge one table whose changes the worker needs, watched or looked into.

    Args:
        catalog: The database's catalog.
        table: The table.
        capture: How changes arrive.
        role: The role of the worker's key.
        to_watch: The statement that has all tables journalled, where the journal is the better choice.
    """
    name = table.qualified
    missing = unheard(catalog, table, Capturing(capture=capture))
    if missing is not None and is_anothers(table):
        yield bad("captured", *divided(missing), subject=name)
        return  # whatever else is so, nobody is to be granted anything on it
    if not table.primary_key:  # before it has one, it can neither be published nor journalled
        says = "no primary key, so its rows cannot be told apart"
        yield bad("primary_key", says, f"{table.key_advice};", "sql", subject=name)
    else:
        yield ok("primary_key", ", ".join(table.primary_key), name)
        if missing is not None:
            yield _unheard(table, missing, to_watch)
    unfit = unwatchable(catalog, table, Capturing(capture=capture))
    if missing is None and table.primary_key and unfit is not None:
        says, fix = divided(unfit)
        fix = SEE_CAPTURE if to_watch else fix
        yield bad("captured", says, fix, pasted(fix), subject=name)
    elif missing is None:
        yield ok("captured", "in the journal" if capture == "journal" else "in the publication", name)
    from_table = to_watch is None and capture == "tables" and table.primary_key
    yield from _identity(table, "tables" if from_table else "journal")
    yield _readable(catalog, table, role)


def _unheard(table: Table, missing: str, to_watch: str | None) -> Check:
    says, fix = divided(missing)
    if to_watch is not None:
        return bad("captured", says, SEE_CAPTURE, subject=table.qualified)
    paste = pasted(fix)
    if table.partly_published and "without some" in says:
        fix = (
            f"alter publication {PUBLICATION} set (publish = 'insert, update, delete, truncate');\n"
            f"alter publication {PUBLICATION} drop table {table.quoted};\n"
            f"alter publication {PUBLICATION} add table {table.quoted};"
        )
        paste = "sql"
    elif fix.startswith("alter publication"):  # this one refuses what would make updates fail
        fix = f"select public.bridge_publish({literal(table.quoted)});"
    elif paste == "sql":
        fix = f"{fix};"
    return bad("captured", says, fix, paste, subject=table.qualified)


def _identity(table: Table, capture: Capture) -> Iterator[Check]:
    name = table.qualified
    full = f"alter table {table.quoted} replica identity full;"
    if table.replica_identity == "n" and table.publications:
        says = "replica identity nothing, in a publication: Postgres refuses its updates and deletes"
        yield bad("replica_identity", says, full, "sql", subject=name)
    elif capture == "journal":
        return  # the journal has whole rows, whatever the identity is
    elif table.replica_identity == "f":
        yield ok("replica_identity", "full", name)
    else:
        says = (
            "not full: an update that moves a row out of somebody's sight is seen as such only for the rows "
            "that the worker remembers"
        )
        yield bad("replica_identity", says, full, "sql", subject=name, status="warning")


def _readable(catalog: Catalog, table: Table, role: str) -> Check:
    name = table.qualified
    if not catalog.may_name(role, table):
        fix = f"grant usage on schema {quoted(table.schema)} to {quoted(role)};"
        return bad("readable", f"{role} has no USAGE on schema {table.schema}", fix, "sql", subject=name)
    if catalog.readable_columns(role, table) is not None:
        says = f"{role} has no SELECT on it, so the worker cannot load its rows"
        return bad(
            "readable", says, f"grant select on {table.quoted} to {quoted(role)};", "sql", subject=name
        )
    if table.rls and not catalog.bypasses_rls(role, table):
        says = f"row-level security binds {role}, so the worker sees only some rows"
        return bad("readable", says, f"alter role {quoted(role)} bypassrls;", "sql", subject=name)
    return ok("readable", f"{role} reads it", name)


def check_dialogs(catalog: Catalog, config: Config) -> Check:
    """Judge whether each message leads to its dialog; all watched tables have to exist."""
    try:
        found = dialog_columns(
            catalog,
            config.tables,
            dialog_table=config.dialogs,
            message_table=config.messages,
            column=config.dialog_column,
        )
    except ConfigError as error:
        says, fix = divided(str(error))
        if "BRIDGE_DIALOG_COLUMN" in fix:
            if _links(catalog, config.dialogs, config.messages):
                says += ", but the other way round: they are in each other's place"
                swapped = {"DIALOG": config.messages, "MESSAGE": config.dialogs}
                fix = "; ".join(
                    f"export BRIDGE_{which}_TABLE={shlex.quote(catalog.by_name[name].quoted)}"
                    for which, name in swapped.items()
                )
                return bad("dialogs", says, fix, "shell")
            guess, note = _link(catalog, config)
            if guess is not None:
                return bad(
                    "dialogs", says, f"export BRIDGE_DIALOG_COLUMN={shlex.quote(guess)}{note}", "shell"
                )
        return bad("dialogs", says, fix)
    column = found.get(config.messages, "")
    return ok("dialogs", f"{config.messages}.{column} names the dialog of a message")


def _links(catalog: Catalog, table: str, other: str) -> bool:
    return any(
        f"{fk.references.schema}.{fk.references.name}" == other for fk in catalog.by_name[table].foreign_keys
    )


def _link(catalog: Catalog, config: Config) -> tuple[str | None, str]:
    dialogs, messages = catalog.by_name[config.dialogs], catalog.by_name[config.messages]
    key = dialogs.by_name[dialogs.primary_key[0]].base_type if dialogs.primary_key else ""
    fitting = [c.name for c in messages.columns if c.base_type == key and c.name not in messages.primary_key]
    named = [name for name in fitting if dialogs.name.rstrip("s").lower() in name.lower()]
    return next(iter([*named, *fitting]), None), "" if named else "   # if that is what it holds"
