"""What a key says of itself: which kind, whose project, until when.  It is never quoted."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from bridge.checking.report import Check, bad, ok, unchecked
from bridge.config import Config
from bridge.minting import SECRET_BYTES, SERVICE_ROLE, WORKER_ROLE, is_of_another_secret, key_role

HOSTED = ".supabase.co"

_LESS = f"`bridge token --role {WORKER_ROLE}` mints one that only reads"


def key_claims(key: str) -> Mapping[str, Any] | None:
    """Return the claims of a legacy key, unverified; None if it is no JWT."""
    try:
        return jwt.decode(key, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None


def project_ref(url: str) -> str | None:
    """Return the ref of a hosted project; None if it is hosted elsewhere."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return None
    return host.removesuffix(HOSTED).rpartition(".")[2] if host.endswith(HOSTED) else None


def check_key(config: Config, now: dt.datetime) -> Check:
    """Judge the service key by what it says."""
    key, claims, ref = (
        config.service_role_key,
        key_claims(config.service_role_key),
        project_ref(config.supabase_url),
    )
    fix = key_fix(ref)
    if not key.isascii() or any(letter.isspace() or letter in "\"'" for letter in key):
        says = "there are characters in it that no key has, like quotes or a line's end"
        return bad("key", says, fix, "shell")
    if key.startswith("sb_publishable_"):
        return bad("key", "this is the publishable key, which sees what a visitor sees", fix, "shell")
    if key.startswith("sb_secret_"):
        return ok("key", f"a secret key, which is service_role's and may do everything: {_LESS}")
    if claims is None and key.startswith("eyJ"):
        return bad(
            "key", "this begins as a legacy key (a JWT), and is cut off or has more in it", fix, "shell"
        )
    if claims is None:
        says = "neither a legacy key (a JWT) nor a secret key (sb_secret_...): does the gateway know it?"
        return bad("key", says, fix, "shell", status="warning")
    role = claims.get("role")
    if role == "anon":
        return bad("key", "this is the anon key, which sees what a visitor sees", fix, "shell")
    if role == "authenticated" or "sub" in claims:
        return bad("key", "this is the token of a user, not a key of the project", fix, "shell")
    theirs = claims.get("ref")
    if ref is not None and isinstance(theirs, str) and theirs != ref:
        says = f"the key is of project {theirs[:40]}, SUPABASE_URL of project {ref}"
        return bad(
            "key", says, f"{fix}\nexport SUPABASE_URL=https://{theirs[:40]}{HOSTED}   # or this", "shell"
        )
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires <= now.timestamp():
        return bad("key", "the key has expired", fix, "shell")
    if role == WORKER_ROLE:
        return ok("key", f"a key for role {WORKER_ROLE}, which reads what is relayed and does nothing else")
    more = f", which may do everything: {_LESS}" if role == SERVICE_ROLE else ""
    return ok("key", f"a key for role {str(role)[:40]}{more}")


def key_fix(ref: str | None) -> str:
    """Return the command that sets the right key."""
    where = (
        f"https://supabase.com/dashboard/project/{ref}/settings/api-keys (service_role or secret)"
        if ref
        else "SERVICE_ROLE_KEY of your stack's .env, or what `bridge local` prints"
    )
    return f"export SUPABASE_SERVICE_ROLE_KEY=...   # {where}"


def refused_fix(config: Config, *, by_gateway: bool) -> str:
    """Return the command for a key that the project does not know, or else the gateway before it."""
    ref = project_ref(config.supabase_url)
    if key_role(config.service_role_key) != WORKER_ROLE:
        return key_fix(ref)
    if not by_gateway:
        return (
            f'export SUPABASE_SERVICE_ROLE_KEY="$(bridge token --role {WORKER_ROLE})"'
            "   # with the project's SUPABASE_JWT_SECRET"
        )
    where = (
        f"https://supabase.com/dashboard/project/{ref}/settings/api-keys (anon or publishable)"
        if ref
        else "ANON_KEY of your stack's .env"
    )
    return f"export SUPABASE_ANON_KEY=...   # the gateway wants a key that it knows: {where}"


def check_secret(config: Config) -> Check:
    """Judge the JWT secret by the one token that is at hand: the legacy key."""
    secret, ref = config.jwt_secret, project_ref(config.supabase_url)
    if secret is None:
        return ok("jwt_secret", "not set: tokens are verified against the project's public keys")
    where = (
        f"https://supabase.com/dashboard/project/{ref}/settings/jwt"
        if ref
        else "JWT_SECRET of your stack's .env, or what `bridge local` prints"
    )
    fix = f"export SUPABASE_JWT_SECRET=...   # {where}"
    if is_of_another_secret(config.service_role_key, secret):
        says = "the service key is not signed with it, so users' tokens will be refused"
        return bad("jwt_secret", says, fix, "shell")
    if len(secret.encode()) < SECRET_BYTES:
        says = f"it has less than {SECRET_BYTES} bytes, so whoever has a token can guess it"
        return bad(
            "jwt_secret",
            says,
            "openssl rand -hex 32   # as the project's new secret",
            "shell",
            status="warning",
        )
    if not _is_hs256(config.service_role_key):
        return unchecked(
            "jwt_secret", "the service key is none that it has signed, so there is no sample to try it on"
        )
    return ok("jwt_secret", "it verifies the service key, as it will users' tokens")


def check_issuer(config: Config) -> Check:
    """Judge the issuer that tokens have to name: another one refuses everybody."""
    usual = f"{config.supabase_url.rstrip('/')}/auth/v1"
    if config.jwt_issuer in (None, usual):
        return ok(
            "jwt_issuer", "not looked at" if config.jwt_issuer is None else "that of the project's Auth"
        )
    says = f"tokens of this project usually say {usual}, and users whose token says anything else are refused"
    fix = f"export BRIDGE_JWT_ISSUER={usual}   # or what iss is in a token of a user"
    return bad("jwt_issuer", says, fix, "shell", status="warning")


def _is_hs256(token: str) -> bool:
    try:
        return jwt.get_unverified_header(token).get("alg") == "HS256"
    except jwt.InvalidTokenError:
        return False
