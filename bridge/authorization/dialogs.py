"""Which dialog a row belongs to: found from the catalog, so that no name is built in."""

from collections.abc import Mapping, Sequence

from bridge.authorization.catalog import Catalog
from bridge.errors import ConfigError


def dialog_columns(
    catalog: Catalog, watched: Sequence[str], *, dialog_table: str, message_table: str, column: str | None
) -> Mapping[str, str]:
    """Return, for each watched table that has one, the column that holds the dialog's id.

    Args:
        catalog: The database's catalog.
        watched: Qualified names of the watched tables.
        dialog_table: The table whose rows are the dialogs: its column is the primary key.
        message_table: The table whose rows are the messages: it must have such a column.
        column: Name of that column in the message table where no foreign key tells it.

    Raises:
        ConfigError: the dialogs have a composite key, or the messages' column cannot be found.
    """
    key = catalog.by_name[dialog_table].primary_key
    if len(key) != 1:
        raise ConfigError(
            f"the primary key of {dialog_table} has {len(key)} columns, but a dialog_id is one value: "
            "set BRIDGE_DIALOG_TABLE to a table with a single-column key"
        )
    found = {dialog_table: key[0]}
    for name in watched:
        if name == dialog_table:
            continue
        table = catalog.by_name[name]
        linked = [
            fk.columns[0]
            for fk in table.foreign_keys
            if f"{fk.references.schema}.{fk.references.name}" == dialog_table and len(fk.columns) == 1
        ]
        if name == message_table and column is not None:
            linked = [column]
        if linked and linked[0] in table.by_name:
            found[name] = linked[0]
        elif name == message_table:
            raise ConfigError(
                f"{message_table} has no foreign key to {dialog_table}"
                f"{'' if column is None else f' and no column {column}'}: "
                "set BRIDGE_DIALOG_COLUMN to the column that holds the dialog's id"
            )
    return found
