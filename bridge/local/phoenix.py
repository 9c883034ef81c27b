"""Phoenix channels as Realtime speaks them: the messages, and the state of one client's socket.

Source: Phoenix's V1 and V2 JSON serializers, and the recordings in tests/protocol/.
"""

import asyncio
from typing import Any, TypeAlias

import msgspec

from bridge.local.subscriptions import Binding

QUEUE_FRAMES = 100_000
"""Frames that may wait for one socket; more, and it is closed."""

Ref: TypeAlias = str | int | None
"""The number by which a client knows the answer to its message."""


class Message(msgspec.Struct, frozen=True):
    """What a client sent."""

    topic: str
    event: str
    payload: dict[str, Any] = {}
    ref: Ref = None
    join_ref: Ref = None


_object = msgspec.json.Decoder(Message)
_array = msgspec.json.Decoder(tuple[Ref, Ref, str, str, dict[str, Any]])


class Channel(msgspec.Struct):
    """A joined topic."""

    topic: str
    join_ref: Ref
    claims: dict[str, Any]
    bindings: tuple[Binding, ...]
    live: bool = False


class Socket:
    """One client's connection, its channels and the frames that wait for it.

    Args:
        opened_s: When it was opened, on the monotonic clock.
        arrays: Whether messages are arrays (``vsn`` 2.0.0) instead of objects (1.0.0).
    """

    def __init__(self, *, opened_s: float, arrays: bool) -> None:
        self.channels: dict[str, Channel] = {}
        self.heard_s = opened_s
        self.frames: asyncio.Queue[str | None] = asyncio.Queue(QUEUE_FRAMES)
        self._arrays = arrays

    def read(self, text: str) -> Message | None:
        """Read a frame of the client; None if it is none that a Phoenix server would understand."""
        try:
            if not self._arrays:
                return _object.decode(text)
            join_ref, ref, topic, event, payload = _array.decode(text)
        except msgspec.MsgspecError:
            return None
        return Message(topic, event, payload, ref, join_ref)

    def send(
        self, topic: str, event: str, payload: dict[str, Any], *, ref: Ref = None, join_ref: Ref = None
    ) -> None:
        """Queue a frame; a socket that does not read is closed."""
        frame: Any = {"event": event, "payload": payload, "ref": ref, "topic": topic}
        if self._arrays:
            frame = [join_ref, ref, topic, event, payload]
        try:
            self.frames.put_nowait(msgspec.json.encode(frame).decode())
        except asyncio.QueueFull:
            self.close()

    def reply(self, message: Message, status: str, response: dict[str, Any]) -> None:
        """Queue the answer to ``message``."""
        payload = {"response": response, "status": status}
        self.send(message.topic, "phx_reply", payload, ref=message.ref, join_ref=message.join_ref)

    def system(
        self,
        topic: str,
        status: str,
        message: str,
        *,
        join_ref: Ref,
        extension: str = "postgres_changes",
    ) -> None:
        """Queue a ``system`` frame of a channel."""
        channel = topic.removeprefix("realtime:")
        payload = {"channel": channel, "extension": extension, "message": message, "status": status}
        self.send(topic, "system", payload, join_ref=join_ref)

    def end(self, channel: Channel) -> None:
        """Close a channel from the server's side; the socket stays open."""
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
        self.send(channel.topic, "phx_close", {}, ref=channel.join_ref, join_ref=channel.join_ref)

    def close(self) -> None:
        """Close the connection once what is queued has been sent, or at once if the queue is full."""
        if self.frames.full():
            while not self.frames.empty():
                self.frames.get_nowait()
        self.frames.put_nowait(None)
