"""Finds the table that somebody names: as ``regclass`` does, or by its own spelling without quotes."""

from bridge.authorization.catalog import Catalog, Table
from bridge.errors import ConfigError
from bridge.identifiers import folded, plain, quoted


def named_table(catalog: Catalog, text: str) -> Table | None:
    """Return the table that ``text`` names; None if there is none.

    ``public.Rooms`` is ``public.rooms``, as in SQL, or else ``public."Rooms"``; ``My Chat.People``, which is
    no name in SQL, is ``"My Chat"."People"``, as for ``bridge_watch()``.

    Raises:
        ConfigError: there are both, or the schema's name has a dot.
    """
    spelt = () if '"' in text or text.count(".") != 1 else tuple(text.split("."))
    meant = dict.fromkeys((folded(text), plain(text), spelt))
    found = [table for parts in meant for table in catalog.tables if (table.schema, table.name) == parts]
    if len(found) > 1:
        raise ConfigError(
            f"{text} may be {' or '.join(table.quoted for table in found)}: write one of them like that"
        )
    if found and "." in found[0].schema:
        raise ConfigError(
            f"{found[0].quoted} may be taken for another table, as its schema's name has a dot: "
            f"alter schema {quoted(found[0].schema)} rename to ..."
        )
    return found[0] if found else None
