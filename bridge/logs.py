"""Structured logs: events with fields, never rows, never tokens.

Standard-library loggers of our dependencies are not shown below WARNING and never with their
message arguments: some of them print whole frames.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from traceback import format_tb
from typing import Any, Literal

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_SECRETS = (
    (re.compile(r"\b[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}\b"), "[redacted]"),  # a JWT
    (re.compile(r"\bsb_secret_\w+"), "[redacted]"),  # a secret key of the project
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), r"\1[redacted]@"),  # the password in a URL
)
_SECRET_FIELD = re.compile(r"(^|_)(token|key|secret|password)$|^(apikey|jwt|authorization)$", re.IGNORECASE)

# They log frames, rows or URLs with keys in them.
_TALKATIVE = (
    "realtime",
    "websockets",
    "httpx",
    "httpcore",
    "postgrest",
    "supabase",
    "uvicorn",
    "asyncio",
    "opentelemetry",
    "urllib3",
)


class _Stderr:
    """The process's stderr; a line that nobody can read any more, as its terminal is gone, stops nothing."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def without_secrets(text: str) -> str:
    """Return ``text`` without what has the form of a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of an event: fields that are named like one, and what has the form of one."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_FIELD.search(name):
        return "[redacted]"
    match value:
        case str():
            return without_secrets(value)
        case Mapping():
            return {inner: _redacted(str(inner), part) for inner, part in value.items()}
        case list() | tuple():
            return type(value)(_redacted("", part) for part in value)
        case BaseException():
            return _redacted("", str(value))
        case _:
            return value


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
        # A line at once, unbuffered or not: those of several workers, who share stderr, do not mix.
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),  # type: ignore[arg-type]  # all that is called
        cache_logger_on_first_use=False,
    )
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # noqa: TID251 - to silence it


def log_crash(error: BaseException, **whose: str) -> None:
    """Say that a connection met a defect; without the error's text, which may hold a row or a token."""
    stack = "".join(format_tb(error.__traceback__, limit=-20))
    log.error("connection_crashed", **whose, error=type(error).__name__, stack=stack)


def log_unhandled(_loop: Any, context: Mapping[str, Any]) -> None:
    """Say that a callback of the loop met a defect, as its handler; its own words may hold a frame."""
    error = context.get("exception")
    if error is not None and not {"transport", "protocol", "handle"}.isdisjoint(context):
        log_crash(error)
