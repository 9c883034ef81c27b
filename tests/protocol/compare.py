"""Compares a frame with a recorded one: the same JSON, but for what no two runs share."""

import json
import re
from decimal import Decimal
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_AGO = re.compile(r"expired \d+ seconds ago")


def parse(frame: str) -> Any:
    """Parse a frame with its numbers exact: 1.50 is 1.5, but 1.1 is not 1.10000000001."""
    return json.loads(frame, parse_float=Decimal, parse_int=Decimal)


def comparable(frame: str, bindings: list[Decimal]) -> Any:
    """Return ``frame`` with ids of bindings replaced by their place, and times by their form.

    Args:
        frame: The text of a frame.
        bindings: The ids in the reply to the join, in order; filled in by that reply.
    """
    message = parse(frame)
    payload = message[4] if isinstance(message, list) else message["payload"]
    for binding in payload.get("response", {}).get("postgres_changes", []):
        if binding["id"] not in bindings:
            bindings.append(binding["id"])
        binding["id"] = bindings.index(binding["id"])
    if "ids" in payload:
        payload["ids"] = sorted(bindings.index(id_) for id_ in payload["ids"])
    data = payload.get("data")
    if data is not None:
        for side in ("record", "old_record"):
            # Rows that got their time from now().  Others are compared as they are.
            if isinstance(data.get(side, {}).get("created_at"), str):
                data[side]["created_at"] = _TIME.sub("<time>", data[side]["created_at"])
        if data["commit_timestamp"] is not None:
            data["commit_timestamp"] = _TIME.sub("<time>", data["commit_timestamp"])
    if isinstance(payload.get("message"), str):
        payload["message"] = _AGO.sub("expired <n> seconds ago", payload["message"])
    reason = payload.get("response", {})
    if isinstance(reason, dict) and isinstance(reason.get("reason"), str):
        reason["reason"] = _AGO.sub("expired <n> seconds ago", reason["reason"])
    return message
