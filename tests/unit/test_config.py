"""The settings: every one is read, checked, and named when it is wrong."""

import pytest

from bridge.clock import ManualClock
from bridge.config import Config, load_config, variables
from bridge.errors import ConfigError
from bridge.minting import mint_key

NEEDED = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": "secret-key"}


def load(**environ: str) -> Config:
    return load_config({**NEEDED, **environ})


def test_two_settings_are_enough() -> None:
    """The others have defaults for one worker behind nginx."""
    config = load()

    assert (config.supabase_url, config.service_role_key) == ("https://abc.supabase.co", "secret-key")
    assert (config.host, config.port, config.admin_port) == ("127.0.0.1", 3002, 3003)
    assert (config.dialogs, config.messages) == ("public.dialogs", "public.messages")
    assert config.database_url is None


def test_values_have_the_types_of_their_fields() -> None:
    """Numbers, lists, switches and choices, from text."""
    config = load(
        BRIDGE_PORT=" 0 ",
        BRIDGE_HISTORY_S="1.5",
        BRIDGE_TABLES="public.rooms, public.posts ,",
        BRIDGE_ALLOW_TOKEN_IN_URL="1",
        BRIDGE_LOG_FORMAT="console",
        SUPABASE_JWT_SECRET="s",
        SUPABASE_DB_URL="postgresql://x",
    )

    assert (config.port, config.history_s, config.allow_token_in_url) == (0, 1.5, True)
    assert config.tables == ("public.rooms", "public.posts")
    assert (config.dialogs, config.messages) == ("public.rooms", "public.posts")
    assert (config.log_format, config.jwt_secret, config.database_url) == ("console", "s", "postgresql://x")


def test_which_table_plays_which_part_can_be_set() -> None:
    """Whatever the order; one table can play both."""
    named = load(BRIDGE_DIALOG_TABLE="public.messages", BRIDGE_MESSAGE_TABLE="public.dialogs")
    single = load(BRIDGE_TABLES="public.rooms")

    assert (named.dialogs, named.messages) == ("public.messages", "public.dialogs")
    assert (single.dialogs, single.messages) == ("public.rooms", "public.rooms")


def test_a_table_is_named_as_in_sql_or_without_quotes() -> None:
    """A comma or a dot in quotes is part of a name; the parts can be named in either way."""
    config = load(
        BRIDGE_TABLES='public."Rooms", public.posts, "my, app"."a.b"', BRIDGE_DIALOG_TABLE="public.Rooms"
    )
    assert config.tables == ('public."Rooms"', "public.posts", '"my, app"."a.b"')
    assert config.dialogs == "public.Rooms"


@pytest.mark.parametrize("name", ["rooms", "a.b.c", 'public."Rooms', "public.", "public.a b"])
def test_what_names_no_table_stops_the_start(name: str) -> None:
    """With the form of one."""
    with pytest.raises(ConfigError, match=r"write schema and name, like public\.messages"):
        load(BRIDGE_TABLES=name)


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://app.example.com/", "http://localhost:5173", "capacitor://localhost"]
)
def test_an_origin_is_what_a_browser_sends(origin: str) -> None:
    """Of a page, of a file, of an app; the slash at the end is forgiven."""
    assert load(BRIDGE_ALLOWED_ORIGINS=origin).allowed_origins == (origin,)


def test_the_key_has_two_names() -> None:
    """The first one that is not empty counts."""
    url = {"SUPABASE_URL": "http://127.0.0.1:1"}

    assert load_config({**url, "SUPABASE_SECRET_KEY": "b"}).service_role_key == "b"
    assert (
        load_config({**url, "SUPABASE_SERVICE_ROLE_KEY": "a", "SUPABASE_SECRET_KEY": "b"}).service_role_key
        == "a"
    )
    assert (
        load_config({**url, "SUPABASE_SERVICE_ROLE_KEY": " ", "SUPABASE_SECRET_KEY": "b"}).service_role_key
        == "b"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BRIDGE_PROT", "1", "BRIDGE_PROT is not a setting of the bridge: did you mean BRIDGE_PORT?"),
        ("BRIDGE_QQQQQQ", "1", "BRIDGE_QQQQQQ is not a setting of the bridge: remove it"),
        ("BRIDGE_PORT", "70000", "BRIDGE_PORT='70000' is not valid"),
        ("BRIDGE_PORT", "x", "BRIDGE_PORT='x' is not valid"),
        ("BRIDGE_HISTORY_S", "0", "BRIDGE_HISTORY_S='0' is not valid"),
        ("BRIDGE_HISTORY_S", "nan", "BRIDGE_HISTORY_S='nan' is not valid"),
        ("BRIDGE_HISTORY_S", "inf", "BRIDGE_HISTORY_S='inf' is not valid"),
        ("BRIDGE_PING_INTERVAL_S", "25000", "BRIDGE_PING_INTERVAL_S='25000' is not valid"),
        ("BRIDGE_MAX_CONNECTIONS", "0", "BRIDGE_MAX_CONNECTIONS='0' is not valid"),
        ("BRIDGE_LOG_FORMAT", "xml", "BRIDGE_LOG_FORMAT='xml' is not valid"),
        ("BRIDGE_CAPTURE", "all", "(Invalid enum value 'all'): choose auto or tables or journal"),
        ("BRIDGE_UPSTREAM", "http", "(Invalid enum value 'http'): choose realtime or wal"),
        ("BRIDGE_UPSTREAM", "wal", "SUPABASE_DB_URL is not set"),
        ("BRIDGE_ALLOWED_ORIGINS", "app.example.com", "BRIDGE_ALLOWED_ORIGINS holds 'app.example.com'"),
        ("BRIDGE_ALLOWED_ORIGINS", "https://*.a.com", "holds 'https://*.a.com', which no browser sends"),
        ("BRIDGE_ALLOWED_ORIGINS", "https://a.com/app", "holds 'https://a.com/app', which no browser sends"),
        ("BRIDGE_ALLOW_TOKEN_IN_URL", "maybe", "BRIDGE_ALLOW_TOKEN_IN_URL='maybe' is not valid"),
        ("SUPABASE_URL", "", "SUPABASE_URL is not set"),
        ("SUPABASE_SERVICE_ROLE_KEY", "", "SUPABASE_SERVICE_ROLE_KEY or SUPABASE_SECRET_KEY is not set"),
        ("SUPABASE_URL", "abc.supabase.co", "SUPABASE_URL is not an http(s) URL"),
        ("SUPABASE_URL", "ftp://abc", "SUPABASE_URL is not an http(s) URL"),
        ("SUPABASE_URL", "https://abc.supabase.co/rest/v1/", "SUPABASE_URL ends in /rest/v1/"),
        ("SUPABASE_URL", "http://[::1", "SUPABASE_URL is not an http(s) URL"),
        ("BRIDGE_TABLES", " , ", "BRIDGE_TABLES names no table"),
        ("BRIDGE_TABLES", "messages", "BRIDGE_TABLES holds 'messages': write schema and name"),
        ("BRIDGE_TABLES", "public.", "BRIDGE_TABLES holds 'public.': write schema and name"),
        ("BRIDGE_TABLES", "a.b.c", "BRIDGE_TABLES holds 'a.b.c': write schema and name"),
        (
            "BRIDGE_DIALOG_TABLE",
            "public.x",
            "BRIDGE_DIALOG_TABLE is public.x, which BRIDGE_TABLES does not hold",
        ),
        (
            "BRIDGE_MESSAGE_TABLE",
            "public.x",
            "BRIDGE_MESSAGE_TABLE is public.x, which BRIDGE_TABLES does not hold",
        ),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, message: str) -> None:
    """The message names the variable and says what to do."""
    with pytest.raises(ConfigError) as caught:
        load(**{name: value})
    assert message in str(caught.value)


def test_the_wal_brings_the_journal_only() -> None:
    """Both settings are named, with what to set."""
    with pytest.raises(ConfigError, match="set BRIDGE_CAPTURE=journal"):
        load(BRIDGE_UPSTREAM="wal", BRIDGE_CAPTURE="tables", SUPABASE_DB_URL="postgresql://x")


@pytest.mark.parametrize("name", ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_JWT_SECRET", "SUPABASE_DB_URL"])
def test_a_secret_is_in_no_message(name: str) -> None:
    """Whatever else is wrong."""
    with pytest.raises(ConfigError) as caught:
        load(**{name: "canary", "BRIDGE_PORT": "x"})
    assert "canary" not in str(caught.value)


def test_every_field_has_its_variable() -> None:
    """BRIDGE_ and the field's name, but for those that Supabase named."""
    names = variables()

    assert set(names) == set(Config.__struct_fields__)
    assert names["port"] == ("BRIDGE_PORT",)
    assert names["database_url"] == ("SUPABASE_DB_URL",)
    assert all(alias.startswith(("BRIDGE_", "SUPABASE_")) for aliases in names.values() for alias in aliases)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("sb_secret_x", None),
        (mint_key("s" * 32, role="service_role", now=ManualClock().now()), None),
        (mint_key("s" * 32, role="bridge_worker", now=ManualClock().now()), "anon-key"),
    ],
)
def test_the_anon_key_is_shown_where_the_gateway_does_not_know_the_worker_s(key: str, shown: str | None):
    """Who has always had it among the settings, beside a service key, notices nothing."""
    config = load_config(
        {"SUPABASE_URL": "http://x", "SUPABASE_SECRET_KEY": key, "SUPABASE_ANON_KEY": "anon-key"}
    )
    assert config.gateway_key == shown
