"""Messages of one connection: what is understood, what is not."""

import json
import uuid

import msgspec
import pytest

from bridge.connection import messages
from bridge.connection.messages import Auth, Ping, Pong, Subscribe, Unsubscribe, decode, dialog_ids, encode
from bridge.errors import MalformedMessageError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"auth","token":"t"}', Auth("t")),
        ('{"type":"ping"}', Ping()),
        ('{"type":"ping","id":7,"more":1}', Ping(7)),
        ('{"id":"x","type":"ping"}', Ping("x")),
        ('{"type":"subscribe"}', Subscribe()),
        ('{"type":"subscribe","dialogs":["a",5],"since":"e-1"}', Subscribe(["a", 5], "e-1")),
        ('{"type":"subscribe","dialogs":null,"since":null}', Subscribe()),
        ('{"type":"unsubscribe","dialogs":[]}', Unsubscribe([])),
    ],
)
def test_documented_messages_are_understood(text: str, message: object):
    """Unknown fields are ignored: the contract grows."""
    assert decode(text.encode()) == message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"{}",
        b'{"type":"publish"}',
        b'{"type":5}',
        b'{"type":"auth"}',
        b'{"type":"auth","token":null}',
        b'{"type":"ping","id":[]}',
        b'{"type":"subscribe","dialogs":[null]}',
        b'{"type":"ping","id":"\xff"}',
        b"[" * 60_000,
    ],
)
def test_everything_else_is_malformed(text: bytes):
    """One error for all of it, which says why."""
    with pytest.raises(MalformedMessageError, match=r"malformed message: ."):
        decode(text)


@pytest.mark.parametrize("dialogs", ["[true]", "[1.0]", "[1e3]", "[{}]", "[[1]]", "[null]", "7", '"a"', "{}"])
@pytest.mark.parametrize("type_", ["subscribe", "unsubscribe"])
def test_what_is_no_id_is_answered_with_what_is_one(type_: str, dialogs: str):
    """A key is never a boolean, and a number with a point is a mistake of the page."""
    with pytest.raises(MalformedMessageError, match="a list of ids, each a text or a whole number"):
        decode(f'{{"type":"{type_}","dialogs":{dialogs}}}'.encode())


@pytest.mark.parametrize("text", [b"{}", b'{"type":"canary"}', b'{"type":5}'])
def test_an_unknown_type_is_answered_with_the_known_ones(text: bytes):
    """Nothing of the message is repeated: the reason is logged."""
    with pytest.raises(MalformedMessageError, match="send auth, subscribe, unsubscribe or ping") as refused:
        decode(text)
    assert "canary" not in str(refused.value)


def test_a_pong_repeats_the_id_and_leaves_it_out_where_there_was_none():
    """`id?` of the contract."""
    assert json.loads(encode(Pong("t", 7))) == {"type": "pong", "server_time": "t", "id": 7}
    assert json.loads(encode(Pong("t", msgspec.UNSET))) == {"type": "pong", "server_time": "t"}


def test_ids_are_text_and_uuids_are_spelt_as_postgres_does():
    """A browser may have them in upper case; a bigint key may come as a number."""
    id_ = str(uuid.uuid4())
    assert dialog_ids([id_.upper(), 5, "Room A"]) == {id_, "5", "Room A"}
    assert dialog_ids(None) is None
    assert dialog_ids([]) == frozenset()


def test_too_many_ids_are_refused():
    """1,000 in one message, no more."""
    assert len(dialog_ids(list(range(messages.MAX_DIALOGS))) or ()) == 1000
    with pytest.raises(MalformedMessageError, match="1001 dialogs"):
        dialog_ids(list(range(messages.MAX_DIALOGS + 1)))
