"""The settings: read once from the environment, validated at once, passed down.

Each ``BRIDGE_*`` variable is a field of :class:`Config`; docs/configuration.md documents them, and a
test keeps the two equal.  A variable that is not known stops the start with its name.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from bridge.errors import ConfigError
from bridge.identifiers import identifiers, plain, split_names
from bridge.minting import SERVICE_ROLE, key_role

Positive = Annotated[float, Meta(gt=0, le=1e9)]  # "inf" is a float, too, and no time to wait
PingInterval = Annotated[float, Meta(gt=0, le=3600)]  # a client that vanished is noticed within two of them
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]

_SUPABASE = {
    "supabase_url": ("SUPABASE_URL",),
    "service_role_key": ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"),
    "api_key": ("SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEY"),
    "jwt_secret": ("SUPABASE_JWT_SECRET",),
    "database_url": ("SUPABASE_DB_URL",),
}

_API_PATHS = ("/rest/v1", "/auth/v1", "/realtime/v1", "/storage/v1", "/functions/v1")


_FORMS = {
    bool: "write true or false",
    float: "write a number without a unit, see docs/configuration.md",
    int: "write a whole number, see docs/configuration.md",
}
_ELSE = "see docs/configuration.md"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set.

    The fields up to ``database_url`` come from ``SUPABASE_*``, the others from ``BRIDGE_<FIELD>``.
    """

    supabase_url: str
    """Base URL of the project, for example ``https://abc.supabase.co``."""

    service_role_key: str
    """Service-role key (or secret key) of the project, or that of bridge_worker; never leaves the worker."""

    api_key: str | None = None
    """Key that the gateway knows, the anon key, where the one above is that of bridge_worker."""

    jwt_secret: str | None = None
    """Secret of HS256 tokens; without it tokens are verified against the project's JWKS."""

    database_url: str | None = None
    """Postgres connection string: for ``upstream`` ``wal``, and for ``verify``, ``explain``, ``check``."""

    host: str = "127.0.0.1"
    """Address of the public port; nginx stands before it."""

    port: Port = 3002
    """Public port: WebSocket and HTTP."""

    admin_host: str = "127.0.0.1"
    """Address of the admin port."""

    admin_port: Port = 3003
    """Admin port: health, readiness, metrics, connections."""

    tables: tuple[str, ...] = ("public.dialogs", "public.messages")
    """Watched tables, schema-qualified."""

    dialog_table: str | None = None
    """Which of them holds the dialogs; the first, if not set."""

    message_table: str | None = None
    """Which of them holds the messages; the second, if not set."""

    dialog_column: str | None = None
    """The messages' column with the dialog's id, where no foreign key tells it."""

    capture: Literal["auto", "tables", "journal"] = "auto"
    """What is captured: ``auto`` is the journal, where it has all of the tables."""

    upstream: Literal["realtime", "wal"] = "realtime"
    """How changes travel to the worker."""

    journal_keep_s: Positive = 86_400.0
    """Seconds after which rows of the journal are deleted."""

    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may connect; none set means every origin."""

    allow_token_in_url: bool = False
    """Accept ``?token=``; URLs end up in logs, so only where nothing else is possible."""

    jwt_issuer: str | None = None
    """Required ``iss`` of tokens; not checked if not set."""

    history_s: Positive = 300.0
    """Seconds for which a client can come back and get what it missed."""

    outbox_limit_bytes: Count = 1_048_576
    """Bytes that may wait for one client before it is cut off as a slow consumer."""

    ping_interval_s: PingInterval = 25.0
    """Seconds between pings; keep it below every proxy's read timeout."""

    compression: Literal["off", "deflate"] = "off"
    """``deflate`` compresses for WebSockets that ask for it: less traffic, more processor time."""

    drain_timeout_s: Positive = 20.0
    """Seconds for clients to leave after SIGTERM; keep it below the service manager's stop timeout."""

    max_connections: Count = 20_000
    """Connections in all."""

    max_connections_per_user: Count = 20
    """Connections of one user."""

    remembered_rows: Count = 200_000
    """Rows of each watched table that are remembered, to know who saw a row that is deleted."""

    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe events to log."""

    @property
    def gateway_key(self) -> str | None:
        """What the gateway is shown instead of the key; None for one of service_role, which it knows."""
        return None if key_role(self.service_role_key) == SERVICE_ROLE else self.api_key

    @property
    def dialogs(self) -> str:
        """Qualified name of the table that holds the dialogs."""
        return self.dialog_table or self.tables[0]

    @property
    def messages(self) -> str:
        """Qualified name of the table that holds the messages."""
        return self.message_table or self.tables[min(1, len(self.tables) - 1)]


def variables() -> dict[str, tuple[str, ...]]:
    """Return, for each field of :class:`Config`, the environment variables that set it."""
    return {
        f.name: _SUPABASE.get(f.name, (f"BRIDGE_{f.name.upper()}",)) for f in msgspec.structs.fields(Config)
    }


def load_config(environ: Mapping[str, str]) -> Config:
    """Read and validate the settings.

    Raises:
        ConfigError: one is missing, unknown, or out of range; its name is in the message.
    """
    config, errors = read_config(environ)
    if errors:
        raise errors[0]
    assert config is not None  # noqa: S101 - there is an error else
    return config


def read_config(environ: Mapping[str, str]) -> tuple[Config | None, list[ConfigError]]:
    """Return the settings, the default where one is wrong, with everything that is wrong.

    None instead of the settings where one is missing that has no default.
    """
    names = variables()
    errors = list(_unknown(environ, {name for aliases in names.values() for name in aliases}))
    hints = get_type_hints(Config, include_extras=True)
    values: dict[str, Any] = {}
    for field, aliases in names.items():
        for name in aliases:
            text = environ.get(name, "").strip()
            if text:
                try:
                    values[field] = _convert(name, text, hints[field])
                except ConfigError as error:
                    errors.append(error)
                break
    missing = [field for field in ("supabase_url", "service_role_key") if field not in values]
    errors += [
        ConfigError(
            f"{' or '.join(names[field])} is not set: take it from your project's settings "
            "(API), or from `bridge local`"
        )
        for field in missing
    ]
    if missing:
        return None, errors
    config = Config(**values)
    return config, [*errors, *_wrong(config)]


def _unknown(environ: Mapping[str, str], known: set[str]) -> Iterator[ConfigError]:
    for name in sorted(environ):
        if name.startswith("BRIDGE_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it, or see docs/configuration.md"
            yield ConfigError(f"{name} is not a setting of the bridge: {hint}")


def _convert(name: str, text: str, hint: Any) -> Any:
    value: Any = text
    if hint == tuple[str, ...]:
        value = list(split_names(text))
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        # Secrets are plain strings and never fail, so no value of theirs can get into a message.
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        advice = f"choose {' or '.join(choices)}" if choices else _FORMS.get(_base(hint), _ELSE)
        raise ConfigError(f"{name}={text!r} is not valid ({error}): {advice}") from error


def _base(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _wrong(config: Config) -> Iterator[ConfigError]:
    try:
        parts = urlsplit(config.supabase_url)
        is_http, path = parts.scheme in ("http", "https") and bool(parts.hostname), parts.path
    except ValueError:
        is_http, path = False, ""
    if not is_http:
        yield ConfigError(
            "SUPABASE_URL is not an http(s) URL: give the project's base URL, like https://abc.supabase.co"
        )
    if "/dashboard/project" in path:
        yield ConfigError("SUPABASE_URL is the dashboard's: give the project's, like https://abc.supabase.co")
    if path.rstrip("/").endswith(_API_PATHS):
        yield ConfigError(f"SUPABASE_URL ends in {path}: give the base URL, without the path of one API")
    for origin in config.allowed_origins:
        if not _is_origin(origin):
            yield ConfigError(
                f"BRIDGE_ALLOWED_ORIGINS holds {origin!r}, which no browser sends: "
                "write scheme and host, like https://app.example.com, and no default port"
            )
    if not config.tables:
        yield ConfigError("BRIDGE_TABLES names no table: give at least the dialogs' and the messages' table")
        return
    if config.upstream == "wal" and config.database_url is None:
        yield ConfigError(
            "BRIDGE_UPSTREAM is wal and SUPABASE_DB_URL is not set: give the direct connection string, "
            "not the pooler's"
        )
    if config.upstream == "wal" and config.capture == "tables":
        yield ConfigError(
            "BRIDGE_UPSTREAM is wal, which brings the journal only, and BRIDGE_CAPTURE is tables: "
            "set BRIDGE_CAPTURE=journal, or BRIDGE_UPSTREAM=realtime"
        )
    for table in config.tables:
        if len(identifiers(table)) != 2:  # noqa: PLR2004 - schema and name
            yield ConfigError(f"BRIDGE_TABLES holds {table!r}: write schema and name, like public.messages")
    for name, table in (("BRIDGE_DIALOG_TABLE", config.dialogs), ("BRIDGE_MESSAGE_TABLE", config.messages)):
        if plain(table) not in map(plain, config.tables):
            yield ConfigError(f"{name} is {table}, which BRIDGE_TABLES does not hold: add it there")


def _is_origin(text: str) -> bool:
    """Tell whether a browser can send this as ``Origin``; a slash at the end is forgiven."""
    scheme, separator, host = text.removesuffix("/").partition("://")
    if (scheme.lower(), host.rpartition(":")[2]) in (("http", "80"), ("https", "443")):
        return False  # browsers leave the default port out
    return text in ("*", "null") or bool(scheme and separator and host and not set(host) & set("/*?#@"))
