"""Connection strings that do not work end in advice, and never in a password."""

import pytest

from bridge.database import connect, database_url
from bridge.errors import ConfigError, SourceError

CANARY = "hunter22secret"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://postgres:{CANARY}@ss@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:a@{CANARY}@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}/ss@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:%{CANARY}@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}@127.0.0.1:port/postgres", "check host and port"),
        (f"host=127.0.0.1 {CANARY}", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}@127.0.0.1:1/postgres", "check host and port"),
        (f"postgresql://postgres:{CANARY}@nowhere.invalid/postgres", "host is wrong"),
    ],
)
async def test_a_wrong_url_says_what_to_do(url: str, says: str):
    """In one line."""
    with pytest.raises(SourceError, match=says) as raised:
        await connect(url)
    assert CANARY not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_url_is_said():
    """Blanks are none."""
    assert database_url(" postgresql://x ") == "postgresql://x"
    with pytest.raises(ConfigError, match="SUPABASE_DB_URL is not set"):
        database_url(" ")
