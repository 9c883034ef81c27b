"""Tokens: whose they are, until when, and which are refused."""

import base64
import datetime as dt
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.clock import ManualClock
from bridge.connection import Verifier, tokens
from bridge.errors import ConfigError, InvalidTokenError, TokenExpiredError

SECRET = "a secret of at least thirty-two bytes"
USER = "0f000000-0000-4000-8000-000000000001"
CLOCK = ManualClock()
IN_AN_HOUR = int(CLOCK.now().timestamp()) + 3600
GOOD = {"sub": USER, "role": "authenticated", "exp": IN_AN_HOUR, "iss": "https://p/auth/v1"}
PRIVATE = ec.generate_private_key(ec.SECP256R1())


class Keys:
    """The project's keys: one, which has to be fetched."""

    def at_hand(self, _kid: str, _algorithm: str) -> Any:
        return None

    async def key(self, kid: str, algorithm: str) -> Any:
        if (kid, algorithm) != ("k1", "ES256"):
            raise InvalidTokenError("no such key")
        return PRIVATE.public_key()


def signed(secret: str = SECRET, **claims: Any) -> str:
    kept = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return jwt.encode(kept, secret, algorithm="HS256")


def verifier(**settings: Any) -> Verifier:
    return Verifier(**({"clock": CLOCK, "secret": SECRET, "keys": None} | settings))


async def test_a_good_token_says_who_and_until_when():
    """Claims that change with every refresh are not part of who."""
    identity = await verifier().verify(signed(iat=1, session_id="s", app_metadata={"b": 1, "a": 2}))
    assert (identity.principal.user_id, identity.principal.role) == (USER, "authenticated")
    assert identity.expires_at == dt.datetime.fromtimestamp(IN_AN_HOUR, dt.UTC)
    assert json.loads(identity.principal.claims_json) == {
        "app_metadata": {"a": 2, "b": 1},
        "iss": "https://p/auth/v1",
        "role": "authenticated",
        "session_id": "s",
        "sub": USER,
    }
    refreshed = signed(iat=2, jti="x", exp=IN_AN_HOUR + 9, session_id="s", app_metadata={"a": 2, "b": 1})
    again = await verifier().verify(refreshed)
    assert again.principal == identity.principal


async def test_a_claim_that_policies_read_is_kept():
    """Then each token of a session is a principal of its own; keeping more is said, because others lack it."""
    reading = verifier()
    assert not reading.keep(frozenset())
    assert reading.keep(frozenset({"jti"}))
    assert not reading.keep(frozenset({"jti"}))
    assert not reading.keep(frozenset())
    assert reading.keep(frozenset({"jti"}))
    identity = await reading.verify(signed(iat=1, jti="x"))
    assert {"iat", "jti"} & json.loads(identity.principal.claims_json).keys() == {"jti"}


async def test_an_anonymous_token_needs_no_subject():
    """The project's anon key."""
    identity = await verifier().verify(signed(role="anon", sub=None))
    assert (identity.principal.user_id, identity.principal.role) == (None, "anon")


async def test_a_subject_is_spelt_as_postgres_prints_it():
    """`auth.uid()` is a uuid."""
    assert (await verifier().verify(signed(sub=USER.upper()))).principal.user_id == USER


async def test_a_token_of_the_projects_key_pair():
    """The key that the token names, for the algorithm that it names."""
    token = jwt.encode(GOOD, PRIVATE, algorithm="ES256", headers={"kid": "k1"})
    assert (await verifier(secret=None, keys=Keys()).verify(token)).principal.user_id == USER
    for headers, keys in (({"kid": "k2"}, Keys()), ({}, Keys()), ({"kid": "k1"}, None)):
        with pytest.raises(InvalidTokenError):
            await verifier(secret=None, keys=keys).verify(
                jwt.encode(GOOD, PRIVATE, algorithm="ES256", headers=headers)
            )


async def test_the_key_decides_the_algorithm():
    """No HS256 without a secret, no `none`, nothing that the project does not use."""
    unsigned = jwt.encode(GOOD, None, algorithm="none")
    for made, token in (
        (verifier(secret=None, keys=Keys()), signed()),
        (verifier(), unsigned),
        (verifier(), jwt.encode(GOOD, SECRET * 2, algorithm="HS512")),
    ):
        with pytest.raises(InvalidTokenError, match="which this project does not use"):
            await made.verify(token)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"sub": None}, "no sub"),
        ({"sub": "ann"}, "no uuid"),
        ({"role": "service_role"}, "role service_role"),
        ({"role": None}, "role None"),
        ({"role": ["authenticated"]}, "role"),
        ({"exp": None}, "the token has no exp"),
        ({"exp": "soon"}, "no time"),
        ({"exp": [1]}, "no time"),
        ({"exp": 1e300}, "no time"),
        ({"nbf": IN_AN_HOUR * 2}, "not valid yet"),
        ({"iss": "https://other/auth/v1"}, "another project"),
        ({"iss": None}, "the token has no iss"),
    ],
)
async def test_claims_that_are_refused(claims: dict, message: str):
    """Each with what is wrong; never the token."""
    token = signed(**claims)
    with pytest.raises(InvalidTokenError, match=message) as refused:
        await verifier(issuer="https://p/auth/v1").verify(token)
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    "claims", [{"x": "\0"}, {"x": {"y": ["a\0b"]}}, {"\0": 1}, {"x": "\\\0"}, {"jti": "\0"}, {"role": "\0"}]
)
async def test_claims_that_postgres_cannot_read_are_refused(claims: dict):
    """Every SELECT of that user fails there (22P05), so that nothing may be decided for them here."""
    with pytest.raises(InvalidTokenError, match=r"\\u0000, which Postgres cannot read"):
        await verifier().verify(signed(**claims))


async def test_claims_that_only_look_like_it_are_read():
    """A backslash and five letters."""
    spelt = "\\u0000"
    identity = await verifier().verify(signed(x=spelt))
    assert json.loads(identity.principal.claims_json)["x"] == spelt


async def test_an_expired_token_is_told_apart():
    """The client can do something about it: at `exp` itself it has expired."""
    with pytest.raises(TokenExpiredError):
        await verifier().verify(signed(exp=int(CLOCK.now().timestamp())))


def headed(**header: Any) -> str:
    return f"{base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip('=')}.e30.e30"


@pytest.mark.parametrize(
    "token",
    [
        *(signed(**{name: "\ud800"}) for name in ("x", "role", "sub", "nbf", "iss", "exp")),
        signed(user_metadata={"\udfff": ["x"]}),
        *(signed(nbf=no_time) for no_time in ([], {}, float("inf"), float("nan"), "9" * 400)),
        *(signed(exp=no_time) for no_time in ([], float("inf"), float("nan"), "\ud800")),
        headed(alg="\ud800"),
        headed(alg="ES256", kid="\ud800"),
        headed(alg=["\ud800"]),
        "",
        "x",
        "a.b.c",
        "....",
        "\x00.\x00.\x00",
        "é.é.é",
        signed(secret="another secret of thirty-two bytes..."),
        signed()[:-4] + "AAAA",
        base64.urlsafe_b64encode(b"[" * 30_000 + b"]" * 30_000).decode() + ".e30.e30",
        base64.urlsafe_b64encode(b'"HS256"').decode().rstrip("=") + ".e30.e30",
    ],
)
async def test_nonsense_is_no_token(token: str):
    """One error, whatever it is, whose words can be sent."""
    with pytest.raises(InvalidTokenError) as refused:
        await verifier(keys=Keys()).verify(token)
    assert str(refused.value).encode()


class Rotating:
    """Keys of which one can be replaced, or revoked."""

    def __init__(self) -> None:
        self.public: Any = PRIVATE.public_key()

    def at_hand(self, _kid: str, _algorithm: str) -> Any:
        return self.public

    async def key(self, _kid: str, _algorithm: str) -> Any:
        if self.public is None:
            raise InvalidTokenError("no such key")
        return self.public


async def test_a_token_that_comes_again_is_remembered(monkeypatch: pytest.MonkeyPatch):
    """Those that were used last, and none that is long: memory is bounded."""
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 2)
    kept, long, made = verifier(), signed(padding="x" * 5000), [signed(n=n) for n in range(3)]
    first = await kept.verify(made[0])
    assert await kept.verify(made[0]) is first
    await kept.verify(made[1])
    assert await kept.verify(made[0]) is first  # used again: the other one is older now
    second = await kept.verify(made[2])
    assert await kept.verify(made[0]) is first
    assert await kept.verify(made[2]) is second
    assert await kept.verify(long) is not await kept.verify(long)
    kept.keep(frozenset({"jti"}))
    assert await kept.verify(made[0]) is not first


async def test_a_remembered_token_expires():
    """Exactly when it would have, and is forgotten."""
    clock = ManualClock()
    kept, token = verifier(clock=clock), signed()
    await kept.verify(token)
    clock.advance(3599)
    await kept.verify(token)
    clock.advance(1)
    for _ in range(2):
        with pytest.raises(TokenExpiredError):
            await kept.verify(token)


async def test_a_remembered_token_needs_the_key_that_verified_it():
    """Once the project has revoked or replaced that, it is verified again, or refused."""
    keys = Rotating()
    kept = verifier(secret=None, keys=keys)
    token = jwt.encode(GOOD, PRIVATE, algorithm="ES256", headers={"kid": "k1"})
    first = await kept.verify(token)
    assert await kept.verify(token) is first
    keys.public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(InvalidTokenError, match="signature"):
        await kept.verify(token)
    keys.public = None
    with pytest.raises(InvalidTokenError, match="no such key"):
        await kept.verify(token)


async def test_a_remembered_token_vouches_for_no_other():
    """Its header and claims with another signature are as good as nothing."""
    kept, token = verifier(), signed()
    await kept.verify(token)
    for other in (token[:-4] + "AAAA", token.rpartition(".")[0] + ".", token + "A"):
        with pytest.raises(InvalidTokenError):
            await kept.verify(other)


@pytest.mark.parametrize(
    "secret", ["-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n", '{"kty":"oct"}', ""]
)
def test_a_secret_that_may_be_public_is_none(secret: str):
    """Whoever knew it could sign; the process does not start."""
    with pytest.raises(ConfigError, match="SUPABASE_JWT_SECRET"):
        verifier(secret=secret)


async def test_a_token_is_verified_at_once_where_its_key_is_at_hand():
    """With the same answer and the same errors; None where a key has to be fetched."""
    by_secret = verifier()
    assert by_secret.verify_at_once(signed()) == await by_secret.verify(signed())
    with pytest.raises(InvalidTokenError, match="signature"):
        by_secret.verify_at_once(signed(secret="another secret of thirty-two bytes..."))
    token = jwt.encode(GOOD, PRIVATE, algorithm="ES256", headers={"kid": "k1"})
    assert verifier(keys=Keys()).verify_at_once(token) is None
    assert verifier(keys=Rotating()).verify_at_once(token) is not None
