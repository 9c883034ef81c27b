"""Connection strings that do not work end in advice, and never in a password."""

import pytest

from bridge.database import connect, database_url, parameters
from bridge.errors import BridgeError, ConfigError

CANARY = "hunter22secret"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"postgresql://postgres:{CANARY}@ss@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:a@{CANARY}@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}/ss@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:%{CANARY}@127.0.0.1:1/postgres", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}@127.0.0.1:port/postgres", "percent-encoded"),
        (f"host=127.0.0.1 {CANARY}", "percent-encoded"),
        (f"postgresql://postgres:{CANARY}@127.0.0.1:1/postgres", "check host and port"),
        (f"postgresql://postgres:{CANARY}@nowhere.invalid/postgres", "correct the host"),
    ],
)
async def test_a_wrong_url_says_what_to_do(url: str, says: str):
    """In one line."""
    with pytest.raises(BridgeError, match=says) as raised:
        await connect(url)
    assert CANARY not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_url_is_said():
    """Blanks are none."""
    assert database_url(" postgresql://x ") == "postgresql://x"
    with pytest.raises(ConfigError, match="SUPABASE_DB_URL is not set"):
        database_url(" ")


@pytest.mark.parametrize(
    "password", ["pa@ss", "pa/ss", "1/pa@ss", "pa?ss", "pa%ss", "pa:ss@x/y", "pa:ss", "pa%25ss"]
)
def test_a_password_that_is_not_escaped_is_not_quoted(password: str):
    """Libpq would take a part of it for a host, a port or a database, and print it."""
    url = f"postgresql://postgres:{password}@db.example.org:5432/postgres"
    if password in ("pa%25ss", "pa:ss", "pa?ss"):
        assert (parameters(url)["host"], parameters(url)["password"]) == (
            "db.example.org",
            password.replace("%25", "%"),
        )
        return
    with pytest.raises(ConfigError, match="%40 for @") as caught:
        parameters(url)
    assert "pa" not in str(caught.value).replace("password", "").replace("characters", "")


def test_a_connection_string_may_have_either_form():
    """As a URL, with several hosts, and as key and value."""
    assert parameters("postgresql://u:p%40ss@a:1,b:2/d")["password"] == "p@ss"
    assert parameters("host=a dbname=d user=u password='p@ ss'")["password"] == "p@ ss"
    assert parameters("postgresql://me%40here:p@a/d")["user"] == "me@here"
    assert parameters("postgresql://u@a/d?connect_timeout=3")["connect_timeout"] == "3"


@pytest.mark.parametrize(
    "text", ["nonsense", "https://db.example.org", "postgresql://u@a/d?connect_timeout=x"]
)
def test_what_is_no_connection_string_is_refused(text: str):
    """Before anybody tries to connect."""
    with pytest.raises(ConfigError, match="no connection string"):
        parameters(text)
