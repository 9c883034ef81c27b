"""Tokens for development, as Supabase Auth would issue them."""

import datetime as dt

import jwt


def mint_token(
    secret: str, *, user_id: str, role: str, ttl_s: int, now: dt.datetime, email: str | None = None
) -> str:
    """Return an HS256 token for ``user_id``.

    Args:
        secret: The project's JWT secret.
        user_id: Claim ``sub``.
        role: Claim ``role``, the database role.
        ttl_s: Seconds until it expires.
        now: The current time, UTC.
        email: Claim ``email``.
    """
    issued = int(now.timestamp())
    claims: dict[str, object] = {
        "sub": user_id,
        "role": role,
        "aud": role,
        "iat": issued,
        "exp": issued + ttl_s,
    }
    if email is not None:
        claims["email"] = email
    return jwt.encode(claims, secret, algorithm="HS256")
