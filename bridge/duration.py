"""Times on the command line."""

import re
from typing import Any

import click
from typing_extensions import override

_DURATION = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[int]):
    """A time like ``30s``, ``15m``, ``1h`` or ``7d``, in seconds."""

    name = "duration"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is not a duration: write a number and s, m, h or d, like 1h", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]
