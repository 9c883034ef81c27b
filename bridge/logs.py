"""Structured logs: events with fields, never rows, never tokens.

Standard-library loggers of our dependencies are not shown below WARNING and never with their
message arguments: some of them print whole frames.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_JWT = re.compile(r"\b[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}\b")
_SECRET_FIELDS = frozenset({"token", "key", "apikey", "authorization", "jwt", "secret", "password"})

# They log frames, rows or URLs with keys in them.
_TALKATIVE = ("realtime", "websockets", "httpx", "httpcore", "postgrest", "supabase", "uvicorn", "asyncio")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of an event: fields that are named like one, and anything of a token's form."""
    for name, value in event.items():
        if name in _SECRET_FIELDS:
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _JWT.sub("[redacted]", value)
    return event


def configure(*, log_format: Literal["json", "console"], level: str) -> None:
    """Send events to stderr, as JSON lines or for people."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # noqa: TID251 - to silence it
