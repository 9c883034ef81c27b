"""What is said of tokens that are not accepted."""

import datetime as dt

import jwt
import pytest

from bridge.local.keys import TokenRefusedError, verify

SECRET = "a secret of at least thirty-two bytes"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def token(secret: str = SECRET, **claims: object) -> str:
    """A token with these claims."""
    return jwt.encode(claims, secret, algorithm="HS256")


def test_a_good_token_gives_its_claims():
    """All of them."""
    claims = {"role": "anon", "exp": NOW.timestamp() + 1, "sub": "x"}

    assert verify(token(**claims), SECRET, now=NOW) == claims


@pytest.mark.parametrize(
    ("bad", "at_join"),
    [
        ("", "MalformedJWT: "),
        ("a.b.c", "MalformedJWT: "),
        (
            token("another secret of thirty-two bytes...", role="anon", exp=NOW.timestamp() + 1),
            "JwtSignatureError: ",
        ),
        (token(role="anon"), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        (token(exp=NOW.timestamp() + 1), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        (token(role="anon", exp=NOW.timestamp()), "InvalidJWTToken: Token has expired 0 seconds ago"),
        (token(role="anon", exp=NOW.timestamp() - 61), "InvalidJWTToken: Token has expired 61 seconds ago"),
    ],
)
def test_a_bad_token_is_refused_in_the_words_of_the_real_server(bad: str, at_join: str):
    """Malformed, badly signed, incomplete, expired."""
    with pytest.raises(TokenRefusedError) as refused:
        verify(bad, SECRET, now=NOW)

    assert refused.value.at_join.startswith(at_join)
