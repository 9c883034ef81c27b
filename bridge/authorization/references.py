"""What foreign keys tell: rows that cannot be there before another one is."""

from bridge.authorization.catalog import Catalog
from bridge.authorization.reach import Reach


def comes_first(catalog: Catalog, table: str, reach: Reach) -> bool:
    """True if no row of ``table`` can be linked to a look-up row before that has been inserted.

    So nobody's sight of a row changes when it is: a message brings no reaction into sight.  Rows that were
    written past the foreign key (``session_replication_role``) are not thought of.

    Args:
        catalog: Knows the foreign keys.
        table: Qualified name of the plan's table.
        reach: How look-up rows count for its rows.
    """
    referencing = catalog.by_name[table]
    links = set(reach.link)
    return not referencing.inherits and any(
        key.checked
        and f"{key.references.schema}.{key.references.name}" == reach.lookup
        and links.issuperset(zip(key.columns, key.references.columns, strict=True))
        for key in referencing.foreign_keys
    )
