"""What foreign keys tell of rows that are not there yet."""

import msgspec
import pytest

from bridge.authorization.reach import Reach
from bridge.authorization.references import KEPT, Writers, comes_first
from bridge.events import Change
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
    expected = {"public.reactions"} if first else set()
    assert comes_first(catalog(MESSAGES, reactions), "public.reactions", reach) == expected
    inherited = msgspec.structs.replace(reactions, inherits=True)
    assert not comes_first(catalog(MESSAGES, inherited), "public.reactions", reach)


@pytest.mark.parametrize("checked", [True, False])
def test_what_a_look_up_row_names_is_there_before_it_too(*, checked: bool):
    """So a new message of a room that nothing names yet counts for no reaction, and the room for none."""
    key = msgspec.structs.replace(KEY, checked=checked)
    reactions = msgspec.structs.replace(REACTIONS, foreign_keys=(key,))
    reach = Reach(
        lookup="public.messages",
        link=(),
        user_column=None,
        joined=(("public.reactions", (("message_id", "id"),)), ("public.messages", (("id", "id"),))),
    )
    expected = {"public.reactions"} if checked else set()
    assert comes_first(catalog(MESSAGES, reactions), "public.messages", reach) == expected


def written(table: str, txid: str, at: str = "") -> Change:
    return Change(
        table=table, action="INSERT", new={}, old=None, commit_timestamp=at, received_s=0.0, txid=txid
    )


def test_what_a_transaction_has_written_before():
    """All that keeps a new row from counting; also where upstream tells transactions by their time alone."""
    writers = Writers()
    a, b = frozenset({"a"}), frozenset({"a", "b"})
    for one, other in (
        (written("a", "7"), written("a", "8")),
        (written("a", "", "x"), written("a", "", "y")),
    ):
        writers.note(one)
        assert writers.may_have_written(a, one)
        assert not writers.may_have_written(b, one)
        assert not writers.may_have_written(a, other)


def test_what_is_forgotten_may_have_been_written():
    """That of a transaction that is older than one of which is not known any more what it wrote."""
    writers = Writers()
    for txid in range(100, 100 + KEPT + 1):
        writers.note(written("a", str(txid)))
    assert writers.may_have_written(frozenset({"b"}), written("c", "99"))
    assert writers.may_have_written(frozenset({"b"}), written("c", "100"))
    assert not writers.may_have_written(frozenset({"b"}), written("c", str(100 + KEPT)))
    assert writers.may_have_written(frozenset({"a"}), written("c", str(100 + KEPT)))
    assert not writers.may_have_written(frozenset({"a"}), written("c", str(101 + KEPT)))
