"""Which column holds the dialog's id."""

import pytest

from bridge.authorization.catalog import Table
from bridge.authorization.dialogs import dialog_columns
from bridge.errors import ConfigError
from tests.support.catalogs import catalog, table

ROOMS = table("rooms", "id uuid")
POSTS = table("posts", "id uuid, room uuid, other uuid", references=[("room", "rooms")])
FILES = table("files", "id uuid, room uuid", references=[("room", "rooms")])
TAGS = table("tags", "id uuid, post uuid", references=[("post", "posts")])
LOOSE = table("posts", "id uuid, room uuid")


def find(*tables: Table, column: str | None = None) -> dict[str, str]:
    names = [t.qualified for t in tables]
    return dict(
        dialog_columns(
            catalog(*tables), names, dialog_table="public.rooms", message_table="public.posts", column=column
        )
    )


def test_foreign_keys_tell() -> None:
    """Of every watched table that has one; the dialogs' own is their key."""
    assert find(ROOMS, POSTS, FILES, TAGS) == {
        "public.rooms": "id",
        "public.posts": "room",
        "public.files": "room",
    }


def test_a_setting_tells_where_no_foreign_key_does() -> None:
    """And where there is one, the setting wins, for the messages only."""
    assert find(ROOMS, LOOSE, column="room")["public.posts"] == "room"
    assert find(ROOMS, POSTS, FILES, column="other") == {
        "public.rooms": "id",
        "public.posts": "other",
        "public.files": "room",
    }


@pytest.mark.parametrize(
    ("tables", "column", "message"),
    [
        ([ROOMS, LOOSE], None, "has no foreign key to public.rooms: set BRIDGE_DIALOG_COLUMN"),
        ([ROOMS, LOOSE], "nope", "and no column nope: set BRIDGE_DIALOG_COLUMN"),
        ([table("rooms", "a uuid, b uuid", key=("a", "b")), POSTS], None, "has 2 columns"),
    ],
)
def test_what_cannot_be_found_stops_the_start(tables: list[Table], column: str | None, message: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError) as caught:
        find(*tables, column=column)
    assert message in str(caught.value)
