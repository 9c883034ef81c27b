"""Messages of fan-out that are no events."""

from typing import Literal

import msgspec

from bridge.events import ResyncReason, UpstreamState


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """The subscription now in force; ``dialogs`` null means all that the user may see."""

    dialogs: list[str] | None
    cursor: str
    recovered: bool


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed"):
    """The subscription now in force; an empty list means none."""

    dialogs: list[str]


class Status(msgspec.Struct, frozen=True, tag="status"):
    """How things stand upstream."""

    upstream: UpstreamState


class Resync(msgspec.Struct, frozen=True, tag="resync"):
    """The client must read its rows again; events after ``cursor`` will follow."""

    reason: ResyncReason
    cursor: str


class Problem(msgspec.Struct, frozen=True, tag="error"):
    """The last message could not be carried out; the connection goes on."""

    code: Literal["not_possible"]
    message: str
