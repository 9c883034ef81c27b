"""The catalog: what it answers of roles and privileges, and how it is decoded."""

import msgspec
import pytest

from bridge.authorization.catalog import Grant, Role, decode_catalog
from bridge.errors import SourceError
from tests.support.catalogs import catalog, table

NOTES = table("notes", "id uuid, body text")


def role(name: str, *member_of: str, superuser: bool = False) -> Role:
    return Role(name, superuser=superuser, bypassrls=False, member_of=member_of)


def test_a_catalog_is_decoded_from_its_json() -> None:
    """What bridge_catalog() prints is what the structs hold; fields that are new are ignored."""
    database = catalog(NOTES, enums=["mood"])
    text = msgspec.json.encode(msgspec.to_builtins(database) | {"server_version_num": 160000})

    assert decode_catalog(text) == database
    assert database.enums == {"public.mood"}
    assert database.by_name["public.notes"].by_name["body"].base_type == "pg_catalog.text"


def test_a_catalog_of_another_form_is_a_source_error() -> None:
    """The SQL functions are of another version."""
    with pytest.raises(SourceError, match="apply the files in sql/migrations"):
        decode_catalog(b'{"version": 1}')


def test_a_name_is_quoted_where_sql_needs_it() -> None:
    """Statements that the worker advises can be pasted."""
    assert table("notes_2").quoted == "public.notes_2"
    assert table('Chat "Room"').quoted == 'public."Chat ""Room"""'


def test_a_role_acts_as_those_it_inherits_from() -> None:
    """All that the catalog names, and public."""
    database = catalog(roles=[role("a", "b", "c"), role("b"), role("c", "d"), role("d")])

    assert database.acting_roles("a") == {"a", "b", "c", "public"}
    assert database.acting_roles("unknown") == {"unknown", "public"}


def test_policies_do_not_bind_owners_and_those_above() -> None:
    """The owner, unless forced; superusers and BYPASSRLS always."""
    owned = table("notes", "id uuid", owner="ann")
    forced = table("notes", "id uuid", owner="ann", force_rls=True)
    database = catalog(owned, roles=[role("ann"), role("helper", "ann")])

    assert [database.bypasses_rls(name, owned) for name in ("ann", "helper", "anon", "service_role")] == (
        [True, True, False, True]
    )
    assert [database.bypasses_rls(name, forced) for name in ("ann", "postgres", "unknown")] == [
        False,
        True,
        False,
    ]


def test_columns_that_a_role_may_read() -> None:
    """All by a grant on the table, some by grants on columns, its own and those of PUBLIC."""
    some = table(
        "notes",
        "id uuid, body text",
        grants=[Grant("ann", ("id",)), Grant("public", ("body",)), Grant("bob")],
    )
    database = catalog(some, roles=[role("reader", "pg_read_all_data")])

    assert database.readable_columns("ann", some) == {"id", "body"}
    assert database.readable_columns("anon", some) == {"body"}
    assert database.readable_columns("bob", some) is None
    assert database.readable_columns("postgres", some) is None
    assert database.readable_columns("reader", some) is None
    assert database.readable_columns("ann", table("x", "id uuid", grants=[])) == frozenset()


@pytest.mark.parametrize(
    ("mine", "theirs", "fits"),
    [
        ("uuid", "uuid", True),
        ("text", "uuid", False),
        ("uuid", "text", False),
        ("text", "varchar", True),
        ("int2", "int8", True),
        ("int8", "int4", False),
        ("text", "public.mood", False),
        ("public.mood", "public.mood", True),
    ],
)
def test_values_of_one_column_that_may_be_those_of_another(mine: str, theirs: str, fits: bool) -> None:  # noqa: FBT001
    """What a policy compares as text need not be a value of the other type."""
    database = catalog(table("members", f"id int, key {mine}"), table("rooms", f"key {theirs}", key=("key",)))

    assert database.fits("public.members", "key", "public.rooms", "key") is fits
