"""Messages of fan-out that are no events, as they stand on the wire."""

import json

import msgspec
import pytest

from bridge.fanout.frames import notice
from bridge.fanout.notices import Problem, Resync, Status, Subscribed, Unsubscribed


@pytest.mark.parametrize(
    ("message", "on_the_wire"),
    [
        (
            Subscribed(None, "e-1", recovered=True),
            {"type": "subscribed", "dialogs": None, "cursor": "e-1", "recovered": True},
        ),
        (Unsubscribed([]), {"type": "unsubscribed", "dialogs": []}),
        (Status("down"), {"type": "status", "upstream": "down"}),
        (Resync("gap", "e-2"), {"type": "resync", "reason": "gap", "cursor": "e-2"}),
        (Problem("not_possible", "no"), {"type": "error", "code": "not_possible", "message": "no"}),
    ],
)
def test_a_notice_is_what_the_protocol_says(message: msgspec.Struct, on_the_wire: dict):
    """Field by field."""
    assert json.loads(notice(message).payload) == on_the_wire
