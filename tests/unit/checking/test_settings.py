"""Everything that is wrong with the settings is found at once, with the line that mends it."""

import pytest

from bridge.checking.settings import check_settings, corrected_origin

NEEDED = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "canary"}


def test_all_that_is_wrong_is_found_at_once() -> None:
    """The further checks go on with what is right, and no value is quoted that may be a secret."""
    wrong = {
        "BRIDGE_PROT": "canary",
        "BRIDGE_PORT": "many",
        "BRIDGE_LOG_FORMAT": "xml",
        "BRIDGE_QQQQQQQQQQ": "canary",
    }
    config, checks = check_settings(NEEDED | wrong)
    assert config is not None
    assert (config.port, config.log_format) == (3002, "json")
    bad = {check.subject: check.fix for check in checks if check.status == "fail"}
    assert bad == {
        "BRIDGE_PROT": 'export BRIDGE_PORT="$BRIDGE_PROT"; unset BRIDGE_PROT',
        "BRIDGE_QQQQQQQQQQ": "unset BRIDGE_QQQQQQQQQQ",
        "BRIDGE_PORT": "write a whole number, see docs/configuration.md",
        "BRIDGE_LOG_FORMAT": "choose json or console",
    }
    assert "canary" not in str(checks)


def test_without_a_project_there_is_nothing_to_go_by() -> None:
    """What is missing is named."""
    config, checks = check_settings({})
    assert config is None
    assert [check.fix.partition("=")[0] for check in checks if "is not set" in check.says] == [
        "export SUPABASE_URL",
        "export SUPABASE_SERVICE_ROLE_KEY",
    ]


def test_a_table_that_plays_a_part_has_to_be_watched() -> None:
    """The fix adds it."""
    _, checks = check_settings(NEEDED | {"BRIDGE_MESSAGE_TABLE": "public.posts"})
    assert "export BRIDGE_TABLES=public.dialogs,public.messages,public.posts" in [
        check.fix for check in checks
    ]


def test_no_tables_are_the_default_ones() -> None:
    """For the further checks; it is said all the same."""
    config, checks = check_settings(NEEDED | {"BRIDGE_TABLES": ","})
    assert config is not None
    assert config.tables == ("public.dialogs", "public.messages")
    assert any("names no table" in check.says for check in checks)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com/chat", "https://app.example.com"),
        ("app.example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("*", "*"),
        ("https://*.example.com", ""),
        ("https://", ""),
    ],
)
def test_an_origin_is_corrected_where_that_is_clear(text: str, origin: str) -> None:
    """Scheme and host, without the default port; a wildcard has to be thought about."""
    assert corrected_origin(text) == origin
