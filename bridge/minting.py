"""Tokens and keys as Supabase would issue them, and when they expire."""

import datetime as dt

import jwt

SERVICE_ROLE = "service_role"

WORKER_ROLE = "bridge_worker"
"""Reads what the worker relays, and does nothing else: sql/migrations/..._worker_role.sql."""

KEY_TTL_S = 10 * 365 * 24 * 3600
"""Supabase's API keys are valid for ten years."""

SECRET_BYTES = 32
"""What an HS256 secret has at least (RFC 7518, section 3.2); a shorter one can be guessed from a token."""


def mint_token(
    secret: str, *, user_id: str | None, role: str, ttl_s: int, now: dt.datetime, **claims: object
) -> str:
    """Return an HS256 token for ``user_id``.

    Args:
        secret: The project's JWT secret.
        user_id: Claim ``sub``; None for a token without.
        role: Claim ``role``, the database role.
        ttl_s: Seconds until it expires.
        now: The current time, UTC.
        claims: Further claims, like ``email``.
    """
    issued = int(now.timestamp())
    subject = {} if user_id is None else {"sub": user_id}
    payload = {**subject, "role": role, "aud": role, "iat": issued, "exp": issued + ttl_s, **claims}
    return jwt.encode(payload, secret, algorithm="HS256")


def mint_key(secret: str, *, role: str, now: dt.datetime, ttl_s: int = KEY_TTL_S) -> str:
    """Return an API key (of anon, service_role or bridge_worker)."""
    return mint_token(secret, user_id=None, role=role, ttl_s=ttl_s, now=now, iss="supabase")


def key_role(key: str) -> str:
    """Return the database role that requests with this key have, unverified."""
    try:
        claims = jwt.decode(key, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return SERVICE_ROLE  # a secret key
    return str(claims.get("role", "anon"))


def expires_at(token: str) -> float | None:
    """Return ``exp`` (seconds since 1970) of a token, unverified; None if it is no JWT or never expires."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    expires = claims.get("exp")
    return float(expires) if isinstance(expires, int | float) else None


def is_of_another_secret(token: str, secret: str) -> bool:
    """Tell whether ``token`` is an HS256 JWT that was signed with another secret than this one."""
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        jwt.decode(token, secret, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
    except jwt.InvalidSignatureError:
        return True
    except jwt.InvalidTokenError:
        return False  # a secret key, or one of an asymmetric project
    return False
