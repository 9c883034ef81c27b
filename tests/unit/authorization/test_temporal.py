"""Times: what is read, what is added, and what is left to Postgres."""

import datetime as dt

import pytest

from bridge.authorization import temporal
from bridge.authorization.undecided import UndecidedError

DAY, HOUR, SECOND = 86_400_000_000, 3_600_000_000, 1_000_000
FOREVER = 2**70


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00+00:00", 0),
        ("1970-01-01 00:00:00.000001+00", 1),
        ("1969-12-31T23:59:59.5Z", -SECOND // 2),
        ("1970-01-01T05:30:00+05:30", 0),
        ("infinity", FOREVER),
        ("-infinity", -FOREVER),
        ("0001-01-01T00:00:00+14:00", -719_162 * DAY - 14 * HOUR),
    ],
)
def test_a_time_with_a_zone(text: str, micros: int) -> None:
    """Microseconds since 1970 in UTC, also beyond what Python's own datetime holds."""
    assert temporal.timestamptz(text) == micros


OTHER_TIMES = (
    "",
    "10000-01-01T00:00:00+00:00",
    "0044-03-15T12:00:00+00:00 BC",
    "2024-W01-1",
    "2024-02-30T00:00:00Z",
    "now",
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:00.1234567Z",
    "2024-01-01T10Z",
    "20240101T100000Z",
    7,
    None,
)


@pytest.mark.parametrize("value", OTHER_TIMES)
def test_other_times_are_left_to_postgres(value: object) -> None:
    """Also one without its zone, or in a form that Python reads and Postgres never writes."""
    with pytest.raises(UndecidedError):
        temporal.timestamptz(value)


def test_a_time_without_a_zone_and_a_date() -> None:
    """Each in its own form only."""
    assert temporal.timestamp("1970-01-02T00:00:00.25") == DAY + SECOND // 4
    assert temporal.timestamp("1970-01-02") == DAY
    assert [temporal.date("1969-12-31"), temporal.date("infinity")] == [-1, FOREVER]
    for read, text in ((temporal.timestamp, "1970-01-02T00:00:00Z"), (temporal.date, "1970-01-02T00:00:00")):
        with pytest.raises(UndecidedError):
            read(text)


def test_the_date_of_a_time() -> None:
    """In UTC, before 1970 too; forever stays forever."""
    assert [temporal.date_of(m) for m in (0, -1, DAY, FOREVER, -FOREVER)] == [0, -1, 1, FOREVER, -FOREVER]


def test_a_clock_is_read_in_utc() -> None:
    """Whatever its zone."""
    zone = dt.timezone(dt.timedelta(hours=2))

    assert temporal.from_datetime(dt.datetime(1970, 1, 1, 2, tzinfo=zone)) == 0


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1 day", (0, 1, 0)),
        ("1 year 2 mons 3 days 04:05:06.7", (14, 3, 4 * HOUR + 5 * 60 * SECOND + 6_700_000)),
        ("-1 years -2 mons +3 days -04:05:06", (-14, 3, -(4 * HOUR + 306 * SECOND))),
        ("00:00:00", (0, 0, 0)),
        ("-00:00:01.5", (0, 0, -1_500_000)),
        ("2 weeks 1 day", (0, 15, 0)),
        ("1 Month", (1, 0, 0)),
        ("90 minutes -1 hour", (0, 0, HOUR // 2)),
        (" 3 days ", (0, 3, 0)),
    ],
)
def test_an_interval(text: str, span: tuple[int, int, int]) -> None:
    """As Postgres prints it and as people write it: months, days, microseconds."""
    assert temporal.interval(text) == span


@pytest.mark.parametrize(
    "text", ["", "1.5 days", "P1M", "1 month ago", "5", "1 fortnight", "12:30", "00:00:00.1234567"]
)
def test_other_intervals_are_not_read(text: str) -> None:
    """None, rather than a guess."""
    assert temporal.interval(text) is None


@pytest.mark.parametrize(
    ("start", "span", "sign", "end"),
    [
        ("2024-01-31", (1, 0, 0), 1, "2024-02-29"),
        ("2024-03-31", (1, 0, 0), -1, "2024-02-29"),
        ("2024-02-29", (12, 0, 0), 1, "2025-02-28"),
        ("2024-01-31", (1, 1, 0), 1, "2024-03-01"),
        ("2024-01-01", (-13, 0, 0), 1, "2022-12-01"),
        ("2024-01-01", (0, 1, -SECOND), 1, "2024-01-01T23:59:59"),
        ("infinity", (1, 1, 1), -1, "infinity"),
    ],
)
def test_a_time_and_an_interval_later(start: str, span: tuple[int, int, int], sign: int, end: str) -> None:
    """Months first, to the last day that the month has; then days and hours."""
    assert temporal.plus(temporal.timestamp(start), span, sign) == temporal.timestamp(end)


@pytest.mark.parametrize("span", [(12 * 8000, 0, 0), (-12 * 3000, 0, 0)])
def test_months_beyond_the_calendar_are_left_to_postgres(span: tuple[int, int, int]) -> None:
    """Python's ends in the years 1 and 9999."""
    with pytest.raises(UndecidedError):
        temporal.plus(temporal.timestamp("2024-01-01"), span)


def test_intervals_compare_by_days_of_24_hours_and_months_of_30_days() -> None:
    """A month is 30 days, as in Postgres."""
    assert temporal.span_us((1, 0, 0)) == temporal.span_us((0, 30, 0)) == temporal.span_us((0, 29, DAY))


def test_the_interval_between_two_times() -> None:
    """Not from or to forever."""
    assert temporal.between(DAY, 0) == (0, 0, DAY)
    with pytest.raises(UndecidedError):
        temporal.between(FOREVER, 0)


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (temporal.timestamptz("2026-01-01T10:00:00+02:00"), "timestamptz", "2026-01-01 08:00 UTC"),
        (temporal.timestamp("2026-01-01 10:00:01.5"), "timestamp", "2026-01-01 10:00:01.500000"),
        (temporal.date("2026-01-31"), "date", "2026-01-31"),
        (FOREVER, "date", "infinity"),
        (-FOREVER, "timestamptz", "-infinity"),
        (10**17 * 9, "timestamp", "a time after the year 9999 or before 1"),
        ((14, 1, 2 * HOUR), "interval", "14 months 1 day 2 hours"),
        ((0, -1, -90 * SECOND - 500_000), "interval", "-1 day -1 minute -30.5 seconds"),
        ((0, 0, 0), "interval", "0 seconds"),
    ],
)
def test_a_time_is_written_as_a_person_would(value: object, type_: str, text: str) -> None:
    """For explanations."""
    assert temporal.written(value, type_) == text
