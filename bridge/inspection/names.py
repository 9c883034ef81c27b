"""Finds what the command line names: a table, and the primary key of one of its rows."""

import difflib
import json
from collections.abc import Sequence
from typing import Any

from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.naming import named_table
from bridge.authorization.translation.coercion import constant
from bridge.authorization.types import column_type
from bridge.errors import CompileError, ConfigError
from bridge.events import Row
from bridge.identifiers import plain

_CHECKED = frozenset({"uuid", "int"})
"""Types of keys that are read here as Postgres reads them; it is asked about values of the others."""


def find_table(catalog: Catalog, name: str) -> Table:
    """Return the table with this qualified name, written as SQL has it or without its quotes.

    Raises:
        ConfigError: there is none, or two, or it is a view.
    """
    table = named_table(catalog, name)
    if table is None:
        meant = ".".join(plain(name)) if "." in name else f"public.{name}"
        like = difflib.get_close_matches(meant, catalog.by_name, n=1)
        hint = (
            f"did you mean {catalog.by_name[like[0]].quoted}?"
            if like
            else "give schema and name, like public.messages"
        )
        raise ConfigError(f"table {name} does not exist: {hint}")
    if table.other_than_table is not None:
        raise ConfigError(
            f"{table.quoted} is {table.other_than_table}, which has no policies and no changes of its own: "
            f"name the tables that it reads (\\d+ {table.quoted} in psql shows them)"
        )
    return table


def row_key(catalog: Catalog, table: Table, text: str) -> Row:
    """Return the primary key that ``text`` gives, by column.

    A key of one column is the text as it is, one of several has commas between its values, and either may
    be a JSON object of columns and values.

    Raises:
        ConfigError: the table has no primary key, or the text is none.
    """
    if not table.primary_key:
        raise ConfigError(
            f"{table.quoted} has no primary key, so none of its rows can be named: {table.key_advice}"
        )
    key = _from_json(table.primary_key, text) or _from_values(table, text)
    for column, value in key.items():
        type_ = column_type(table.by_name[column])
        if type_ not in _CHECKED or not isinstance(value, str):
            continue
        try:
            constant(value, type_, catalog)
        except CompileError:
            raise ConfigError(
                f"{value!r} is no {table.by_name[column].type}, which the primary key of {table.quoted} "
                f"has ({column}): {_usage(table)}"
            ) from None
    return key


def as_json(key: Row) -> str:
    """Return a key in the form that :func:`row_key` takes whatever its values are."""
    return json.dumps(key, ensure_ascii=False, default=str)


def _from_json(columns: Sequence[str], text: str) -> Row | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() == set(columns) else None


def _from_values(table: Table, text: str) -> Row:
    columns = table.primary_key
    values = [text] if len(columns) == 1 else [part.strip() for part in text.split(",")]
    if len(values) != len(columns):
        raise ConfigError(
            f"{table.quoted} has a primary key of {len(columns)} columns ({', '.join(columns)}), and "
            f"{len(values)} value(s) were given: {_usage(table)}"
        )
    return dict(zip(columns, values, strict=True))


def _usage(table: Table) -> str:
    columns = table.primary_key
    example = as_json(dict.fromkeys(columns, "..."))
    if len(columns) == 1:
        return f"give --row as its value, or as JSON like '{example}'"
    return f"give --row as {len(columns)} values with commas between them, or as JSON like '{example}'"
