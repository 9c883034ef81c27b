"""Times on the command line."""

import click
import pytest

from bridge.duration import Duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), (60, 60)],
)
def test_a_duration_is_a_number_and_a_unit(written: object, seconds: int) -> None:
    """A default is in seconds already."""
    assert Duration().convert(written, None, None) == seconds


@pytest.mark.parametrize("written", ["", "0s", "1", "h", "1.5h", "-1h", "1w", "1h30m"])
def test_anything_else_is_refused_with_an_example(written: str) -> None:
    """No time at all, too."""
    with pytest.raises(click.BadParameter, match="like 1h"):
        Duration().convert(written, None, None)
