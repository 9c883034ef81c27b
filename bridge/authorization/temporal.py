"""Times as whole microseconds (days for dates), so that they compare and add as in Postgres.

``infinity`` sorts after everything and ``-infinity`` before.  Only what Postgres prints in its ISO style is
read; years before Christ, or of more than four digits, are left to Postgres.
"""

import calendar
import datetime as dt
import re
from typing import Any

from bridge.authorization.undecided import UndecidedError

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a timestamp without time zone
_MICROSECOND = dt.timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_INFINITE = {"infinity": 2**70, "-infinity": -(2**70)}

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}(:[0-9]{2}){0,2})?)?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTERVAL = re.compile(
    r"(?:([+-]?[0-9]+) years? ?)?(?:([+-]?[0-9]+) mons? ?)?(?:([+-]?[0-9]+) days? ?)?"
    r"(?:([+-]?)([0-9]+):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,6})?))?"
)
_WRITTEN = re.compile(r"([+-]?[0-9]+) ?(year|month|mon|week|day|hour|hr|minute|min|second|sec)s?")
_IN_US = {"hour": 3_600_000_000, "hr": 3_600_000_000, "minute": 60_000_000, "min": 60_000_000}
_IN_US |= {"second": 1_000_000, "sec": 1_000_000}


def timestamptz(text: Any) -> int:
    """Return the microseconds since 1970-01-01 UTC of ``2026-01-01T10:00:00.5+00:00``."""
    return _parsed(text, zoned=True)


def timestamp(text: Any) -> int:
    """Return the same for a timestamp without time zone."""
    return _parsed(text, zoned=False)


def _parsed(text: Any, *, zoned: bool) -> int:
    if text in _INFINITE:
        return _INFINITE[text]
    try:
        moment = dt.datetime.fromisoformat(_shaped(_MOMENT, text))
    except ValueError:
        raise UndecidedError("a time that is not in the years 1 to 9999") from None
    if (moment.tzinfo is not None) != zoned:
        raise UndecidedError("a time with, or without, its time zone")
    offset = moment.utcoffset() or dt.timedelta()
    return (moment.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND


def _shaped(pattern: re.Pattern[str], text: Any) -> str:
    """Return ``text``, which Python reads in more ways than Postgres writes it.

    Raises:
        ValueError: it is not of this shape.
    """
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise ValueError(text)
    return text


def from_datetime(moment: dt.datetime) -> int:
    """Return the microseconds since 1970-01-01 UTC of an aware datetime."""
    return (moment.astimezone(dt.UTC).replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def date(text: Any) -> int:
    """Return the days since 1970-01-01 of ``2026-01-01``."""
    if text in _INFINITE:
        return _INFINITE[text]
    try:
        return (dt.date.fromisoformat(_shaped(_DATE, text)) - _EPOCH.date()).days
    except ValueError:
        raise UndecidedError("a date that is not in the years 1 to 9999") from None


def date_of(moment_us: int) -> int:
    """Return the date of a timestamp, in days."""
    return moment_us if abs(moment_us) >= 2**70 else moment_us // _DAY_US


def interval(text: str) -> tuple[int, int, int] | None:
    """Return months, days and microseconds of an interval constant; None if it is written in another way."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is not None and any(match.groups()):
        years, months, days, sign, hours, minutes, seconds = match.groups()
        micros = 0
        if seconds is not None:
            whole, _, fraction = seconds.partition(".")
            micros = (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000
            micros += int(fraction.ljust(6, "0")[:6] or 0)
        return (
            int(years or 0) * 12 + int(months or 0),
            int(days or 0),
            -micros if sign == "-" else micros,
        )
    return _written_interval(text.strip().lower())


def _written_interval(text: str) -> tuple[int, int, int] | None:
    months = days = micros = 0
    rest = text
    while rest:
        match = _WRITTEN.match(rest)
        if match is None:
            return None
        number, unit = int(match[1]), match[2]
        match unit:
            case "year":
                months += 12 * number
            case "month" | "mon":
                months += number
            case "week":
                days += 7 * number
            case "day":
                days += number
            case _:
                micros += _IN_US[unit] * number
        rest = rest[match.end() :].lstrip()
    return (months, days, micros) if text else None


def written(value: Any, type_: str) -> str:
    """Return a time, date or interval as a person writes it; times are UTC."""
    if type_ == "interval":
        return _written_span(*value)
    for text, infinite in _INFINITE.items():
        if value == infinite:
            return text
    try:
        moment = _EPOCH + dt.timedelta(microseconds=value * _DAY_US if type_ == "date" else value)
    except OverflowError:
        return "a time after the year 9999 or before 1"
    day = moment.date().isoformat()
    if type_ == "date":
        return day
    time = moment.time().isoformat("minutes" if moment.second == moment.microsecond == 0 else "auto")
    return f"{day} {time}{' UTC' if type_ == 'timestamptz' else ''}"


def _written_span(months: int, days: int, micros: int) -> str:
    sign = -1 if micros < 0 else 1
    minutes, rest_us = divmod(abs(micros), 60_000_000)
    parts = (
        (months, "month"),
        (days, "day"),
        (sign * (minutes // 60), "hour"),
        (sign * (minutes % 60), "minute"),
        (sign * rest_us / 1_000_000, "second"),
    )
    said = [f"{count:g} {unit}{'' if abs(count) == 1 else 's'}" for count, unit in parts if count]
    return " ".join(said) or "0 seconds"


def plus(moment_us: int, span: tuple[int, int, int], sign: int = 1) -> int:
    """Return a time and an interval later; in UTC, where every day has 24 hours."""
    if abs(moment_us) >= 2**70:
        return moment_us
    months, days, micros = span
    if months:
        try:
            moment = _EPOCH + dt.timedelta(microseconds=moment_us)
            count = moment.year * 12 + moment.month - 1 + sign * months
            year, month = divmod(count, 12)
            day = min(moment.day, calendar.monthrange(year, month + 1)[1])
            moment_us = (moment.replace(year=year, month=month + 1, day=day) - _EPOCH) // _MICROSECOND
        except (ValueError, OverflowError, calendar.IllegalMonthError):
            raise UndecidedError("a time that is not in the years 1 to 9999") from None
    return moment_us + sign * (days * _DAY_US + micros)


def span_us(span: tuple[int, int, int]) -> int:
    """Return what Postgres compares intervals by: a month counts 30 days, a day 24 hours."""
    months, days, micros = span
    return (months * 30 + days) * _DAY_US + micros


def between(later_us: int, earlier_us: int) -> tuple[int, int, int]:
    """Return the interval from one time to another."""
    if max(abs(later_us), abs(earlier_us)) >= 2**70:
        raise UndecidedError("an infinite time is subtracted")
    return (0, 0, later_us - earlier_us)
