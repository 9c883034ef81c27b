"""Messages in both versions of the protocol, and a socket that nobody reads."""

import json

import pytest

from bridge.local import phoenix
from bridge.local.phoenix import Channel, Message, Socket


def sent(socket: Socket) -> list[object]:
    """The frames that wait."""
    frames = []
    while not socket.frames.empty():
        frame = socket.frames.get_nowait()
        frames.append(None if frame is None else json.loads(frame))
    return frames


def test_both_versions_carry_the_same_message():
    """Version 1 as an object, version 2 as an array."""
    message = Message("realtime:x", "phx_join", {"a": 1}, "2", "1")
    text = '{"topic":"realtime:x","event":"phx_join","payload":{"a":1},"ref":"2","join_ref":"1"}'

    assert Socket(opened_s=0, arrays=False).read(text) == message
    assert Socket(opened_s=0, arrays=True).read('["1","2","realtime:x","phx_join",{"a":1}]') == message


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"topic":1,"event":"x"}', '{"event":"x"}', '["1"]'])
@pytest.mark.parametrize("arrays", [True, False])
def test_what_is_no_message_is_nothing(text: str, arrays: bool):  # noqa: FBT001
    """It neither raises nor is answered."""
    assert Socket(opened_s=0, arrays=arrays).read(text) is None


def test_a_reply_names_the_message_it_answers():
    """By its ref; version 2 says the join as well."""
    message = Message("t", "heartbeat", {}, "7", "1")
    objects, arrays = Socket(opened_s=0, arrays=False), Socket(opened_s=0, arrays=True)

    objects.reply(message, "ok", {})
    arrays.reply(message, "ok", {})

    payload = {"response": {}, "status": "ok"}
    assert sent(objects) == [{"event": "phx_reply", "payload": payload, "ref": "7", "topic": "t"}]
    assert sent(arrays) == [["1", "7", "t", "phx_reply", payload]]


def test_ending_an_earlier_join_leaves_the_later_one():
    """The close carries the ref of the join it ends."""
    socket = Socket(opened_s=0, arrays=False)
    earlier, later = (Channel("realtime:x", ref, {}, ()) for ref in ("1", "2"))
    socket.channels["realtime:x"] = later

    socket.end(earlier)

    assert socket.channels == {"realtime:x": later}
    assert sent(socket) == [{"event": "phx_close", "payload": {}, "ref": "1", "topic": "realtime:x"}]


def test_a_socket_that_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch):
    """What waits for it is dropped: memory stays bounded."""
    monkeypatch.setattr(phoenix, "QUEUE_FRAMES", 3)
    socket = Socket(opened_s=0, arrays=False)

    for _ in range(4):
        socket.send("t", "e", {})

    assert sent(socket) == [None]
