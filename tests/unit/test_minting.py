"""Tokens and keys as Supabase issues them."""

import datetime as dt

import jwt
import pytest

from bridge.minting import KEY_TTL_S, expires_at, is_of_another_secret, key_role, mint_key, mint_token

SECRET = "s" * 32
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def _claims(token: str) -> dict[str, object]:
    options = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    return jwt.decode(token, SECRET, algorithms=["HS256"], options=options)  # type: ignore[arg-type]


def test_a_token_says_who_and_until_when():
    """`sub`, `role`, `aud`, `iat`, `exp` and what was given, signed with the secret."""
    token = mint_token(SECRET, user_id="ann", role="authenticated", ttl_s=60, now=NOW, email="a@b.c")
    assert _claims(token) == {
        "sub": "ann",
        "role": "authenticated",
        "aud": "authenticated",
        "iat": NOW.timestamp(),
        "exp": NOW.timestamp() + 60,
        "email": "a@b.c",
    }


def test_a_key_speaks_for_nobody_for_ten_years():
    """Without `sub`, as Supabase's anon and service_role keys."""
    claims = _claims(mint_key(SECRET, role="service_role", now=NOW))
    assert "sub" not in claims
    assert (claims["role"], claims["iss"]) == ("service_role", "supabase")
    assert claims["exp"] == NOW.timestamp() + KEY_TTL_S


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("sb_secret_xyz", "service_role"),
        (mint_key(SECRET, role="bridge_worker", now=NOW), "bridge_worker"),
        (jwt.encode({"exp": 1}, SECRET), "anon"),
    ],
)
def test_a_key_says_whose_role_it_has(key: str, role: str):
    """A secret key acts as service_role; PostgREST takes who names no role for anon."""
    assert key_role(key) == role


def test_the_expiry_of_a_token_is_read_without_its_secret():
    """Of a key of this project or of any other."""
    assert expires_at(mint_token("t" * 32, user_id=None, role="anon", ttl_s=5, now=NOW)) == (
        NOW.timestamp() + 5
    )


@pytest.mark.parametrize(
    "token",
    ["", "sb_secret_abc", "a.b.c", jwt.encode({"sub": "x"}, SECRET), jwt.encode({"exp": "soon"}, SECRET)],
)
def test_what_has_no_expiry_has_none(token: str):
    """Keys of the newer kind are no JWTs; a token may lack `exp`, or hold nonsense there."""
    assert expires_at(token) is None


@pytest.mark.parametrize(
    "key", ["sb_secret_abc", "", "a.b.c", mint_key(SECRET, role="service_role", now=NOW)]
)
def test_a_key_that_tells_nothing_of_the_secret_is_no_mismatch(key: str):
    """A secret key is no JWT; an expired key is signed all the same."""
    assert not is_of_another_secret(key, SECRET)


def test_a_key_of_another_secret_is_found():
    """Whoever mixes two projects up is told so at the start."""
    assert is_of_another_secret(mint_key("o" * 32, role="service_role", now=NOW), SECRET)
