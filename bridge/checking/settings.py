"""What is wrong with the settings, each with the line that mends it."""

import re
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bridge.checking.report import Check, bad, divided, ok, pasted
from bridge.config import Config, read_config, variables
from bridge.errors import ConfigError

_NAME = re.compile(r"\b(?:BRIDGE|SUPABASE)_[A-Z0-9_]+")
_API = re.compile(r"/(rest|auth|realtime|storage|functions)/v1/?$")
_DASHBOARD = re.compile(r"//(?:app\.)?supabase\.com/dashboard/project/(\w+)")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def check_settings(environ: Mapping[str, str]) -> tuple[Config | None, list[Check]]:
    """Return the settings that the further checks go by, and what is wrong with them."""
    config, errors = read_config(environ)
    if config is not None and not config.tables:
        config = msgspec.structs.replace(config, tables=_default("tables"))
    checks = [_judge(error, environ) for error in errors]
    if not any(check.check == "settings" for check in checks):
        known = {name for names in variables().values() for name in names}
        count = sum(1 for name in environ if name in known and environ[name].strip())
        checks.insert(0, ok("settings", f"{count} set, all of them known"))
    if config is not None and not any(check.check == "origins" for check in checks):
        checks.append(ok("origins", _origins(config)))
    return config, checks


def _default(name: str) -> Any:
    return next(field.default for field in msgspec.structs.fields(Config) if field.name == name)


def _origins(config: Config) -> str:
    allowed = config.allowed_origins
    if not allowed or "*" in allowed:
        return "pages of every origin may connect (BRIDGE_ALLOWED_ORIGINS limits them)"
    return f"pages of {', '.join(allowed)} may connect, no others"


def _judge(error: ConfigError, environ: Mapping[str, str]) -> Check:
    says, fix = divided(str(error))
    named = _NAME.search(says)
    name = named[0] if named else ""
    check = "origins" if name == "BRIDGE_ALLOWED_ORIGINS" else "settings"
    command = _command(name, says, fix, environ)
    return bad(check, says, command or fix, "shell" if command else pasted(fix), subject=name)


def _command(name: str, says: str, advice: str, environ: Mapping[str, str]) -> str | None:
    """Return the line that mends a setting; None where it has to be thought about."""
    meant = re.search(r"did you mean (\w+)\?", advice)
    if meant is not None:  # not its value, which may be a secret
        return f'export {meant[1]}="${name}"; unset {name}'
    if advice.startswith("remove it"):
        return f"unset {name}"
    if name == "BRIDGE_ALLOWED_ORIGINS":
        # Also where somebody has put spaces between them.
        origins = [corrected_origin(part) for part in re.split(r"[\s,]+", environ[name]) if part]
        return f"export {name}={','.join(origins)}" if "" not in origins else None
    if name == "SUPABASE_URL" and (ref := _DASHBOARD.search(environ.get(name, ""))):
        return f"export {name}=https://{ref[1]}.supabase.co"
    if name == "SUPABASE_URL" and _API.search(environ.get(name, "").strip()):
        return f"export {name}={_API.sub('', environ[name].strip())}"
    if name in ("BRIDGE_DIALOG_TABLE", "BRIDGE_MESSAGE_TABLE") and "add it there" in advice:
        tables = environ.get("BRIDGE_TABLES", "").strip() or ",".join(_default("tables"))
        return f"export BRIDGE_TABLES={shlex.quote(f'{tables},{environ[name].strip()}')}"
    if name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY") and "is not set" in says:
        value = "https://<ref>.supabase.co" if name == "SUPABASE_URL" else "..."
        return f"export {name}={value}   # the dashboard of your project, or what `bridge local` prints"
    return None


def corrected_origin(text: str) -> str:
    """Return what a browser sends for a page of this address; empty where that cannot be told."""
    if text in ("*", "null"):
        return text
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if not parts.netloc or set(parts.netloc) & set("*@"):
        return ""
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORT.get(parts.scheme, ' '))}"
