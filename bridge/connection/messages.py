"""Messages of the wire contract that concern one connection (docs/protocol.md).

Ids of dialogs are text; numbers are taken as well, because keys may be bigint.
"""

from typing import Literal, TypeAlias

import msgspec

from bridge.errors import MalformedMessageError

MAX_DIALOGS = 1000
"""Ids in one subscription message."""

DialogId: TypeAlias = str | int


class Auth(msgspec.Struct, frozen=True, tag="auth"):
    """Who speaks; again before the token expires."""

    token: str


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Asks for a ``pong``; ``id`` comes back as it is."""

    id: str | int | float | None = None


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe"):
    """Wants the events of these dialogs (none given: of all), and those missed since a cursor."""

    dialogs: list[DialogId] | None = None
    since: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe"):
    """Wants no more events of these dialogs (none given: of all)."""

    dialogs: list[DialogId] | None = None


ClientMessage: TypeAlias = Auth | Ping | Subscribe | Unsubscribe


class Connected(msgspec.Struct, frozen=True, tag="connected"):
    """The connection is authenticated.  Times are UTC, RFC 3339 with milliseconds."""

    connection_id: str
    user_id: str | None
    expires_at: str
    ping_interval_s: float
    server_time: str
    protocol: Literal[1] = 1


class Authenticated(msgspec.Struct, frozen=True, tag="authenticated"):
    """The new token is accepted."""

    expires_at: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """Answer to ``ping``."""

    server_time: str
    id: str | int | float | msgspec.UnsetType | None = msgspec.UNSET


class Error(msgspec.Struct, frozen=True, tag="error"):
    """What was wrong; sent before the connection is closed for it."""

    code: str
    message: str


class Reconnect(msgspec.Struct, frozen=True, tag="reconnect"):
    """The worker goes away: connect again after this time, with the cursor."""

    after_ms: int


ServerMessage: TypeAlias = Connected | Authenticated | Pong | Error | Reconnect

_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


def decode(data: bytes) -> ClientMessage:
    """Decode one client message.

    Raises:
        MalformedMessageError: it is no JSON, of no known type, or its fields are wrong.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).replace("`", "")
        if reason.endswith((" - at $.type", " field type")):
            reason = "no known type: send auth, subscribe, unsubscribe or ping"
        elif " at $.dialogs" in reason:
            reason += ": give a list of ids, each a text or a whole number"
        raise MalformedMessageError(f"malformed message: {reason}") from None


def encode(message: ServerMessage) -> bytes:
    """Encode one server message."""
    return _encoder.encode(message)


def dialog_ids(ids: list[DialogId] | None) -> frozenset[str] | None:
    """Return the ids as text, uuids in lower case as Postgres prints them; None for all.

    Raises:
        MalformedMessageError: there are too many of them.
    """
    if ids is None:
        return None
    if len(ids) > MAX_DIALOGS:
        raise MalformedMessageError(
            f"{len(ids)} dialogs in one message (limit {MAX_DIALOGS}): subscribe without dialogs to get all"
        )
    return frozenset(_canonical(str(id_)) for id_ in ids)


def _canonical(id_: str) -> str:
    is_uuid = len(id_) == 36 and id_[8] == id_[13] == id_[18] == id_[23] == "-"  # noqa: PLR2004
    return id_.lower() if is_uuid else id_
