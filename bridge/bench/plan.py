"""What the load generator shall do, as the file that it reads: connections, groups of them, messages."""

import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

_NUMBER = struct.Struct("=I")

STAMP = b"@@" + 20 * b"0"
"""In a message's text: the time of sending is written over the zeros, and looked for on arrival."""


class Client(msgspec.Struct, frozen=True):
    """One connection.

    Attributes:
        request: Its opening handshake.
        hello: What it sends then.
        skip: Text frames until it has joined.
        expected: Text frames that come then by themselves.
    """

    request: bytes
    hello: bytes = b""
    skip: int = 0
    expected: int = 0


class Message(msgspec.Struct, frozen=True):
    """What is written to the server's input, and the number of the group whose members get a frame of it."""

    group: int
    text: bytes


class Plan(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        clients: The connections.
        groups: Numbers of the connections in each group.
        messages: What is fed, in order.
        loops: True to begin anew at the end of the messages.
        keepalive: What shows that the feed lives, where nothing is fed for long.
    """

    clients: Sequence[Client]
    groups: Sequence[Sequence[int]]
    messages: Sequence[Message]
    loops: bool = False
    keepalive: bytes = b""

    def write(self, path: Path) -> None:
        """Write the generator's file."""
        number = _NUMBER.pack
        parts = [number(self.loops), number(len(self.keepalive)), self.keepalive, number(len(self.clients))]
        for client in self.clients:
            parts += [number(client.skip), number(client.expected)]
            parts += [number(len(client.request)), client.request, number(len(client.hello)), client.hello]
        parts.append(number(len(self.groups)))
        for members in self.groups:
            parts += [number(len(members)), struct.pack(f"={len(members)}I", *members)]
        parts.append(number(len(self.messages)))
        for message in self.messages:
            stamp = message.text.find(STAMP) + 2 if STAMP in message.text else 0
            parts += [number(message.group), number(stamp), number(len(message.text)), message.text]
        path.write_bytes(b"".join(parts))


def upgrade(target: str, *protocols: str, extension: str = "") -> bytes:
    """Return the opening handshake of a WebSocket."""
    offered = f"Sec-WebSocket-Protocol: {', '.join(protocols)}\r\n" if protocols else ""
    offered += f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n"
    ).encode()


def masked(payload: bytes) -> bytes:
    """Return a short text message as a client sends it, with a mask of zeros."""
    return bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload
