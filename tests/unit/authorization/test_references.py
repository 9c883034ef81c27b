"""What foreign keys tell of rows that are not there yet."""

import msgspec
import pytest

from bridge.authorization.reach import Reach
from bridge.authorization.references import comes_first
from tests.support.catalogs import catalog, table

MESSAGES = table("messages", "id uuid, room_id uuid")
REACTIONS = table(
    "reactions", "id uuid, message_id uuid, other_id uuid", references=[("message_id", "messages")]
)
[KEY] = REACTIONS.foreign_keys


@pytest.mark.parametrize(
    ("link", "checked", "first"),
    [
        ((("message_id", "id"),), True, True),
        ((("message_id", "id"), ("other_id", "room_id")), True, True),
        ((("other_id", "id"),), True, False),
        ((("message_id", "room_id"),), True, False),
        ((), True, False),
        ((("message_id", "id"),), False, False),
    ],
)
def test_what_a_foreign_key_names_is_there_before(
    *, link: tuple[tuple[str, str], ...], checked: bool, first: bool
):
    """Where the policy links the rows by it, and it is checked at once and for all rows."""
    key = msgspec.structs.replace(KEY, checked=checked)
    reactions = msgspec.structs.replace(REACTIONS, foreign_keys=(key,))
    reach = Reach(lookup="public.messages", link=link, user_column=None)
    assert comes_first(catalog(MESSAGES, reactions), "public.reactions", reach) is first
    inherited = msgspec.structs.replace(reactions, inherits=True)
    assert not comes_first(catalog(MESSAGES, inherited), "public.reactions", reach)
