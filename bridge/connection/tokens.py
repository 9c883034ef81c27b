"""Whom a token speaks for, and until when."""

import datetime as dt
import hashlib
import re
import uuid
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm
from typing_extensions import override

from bridge.clock import Clock
from bridge.errors import ConfigError, InvalidTokenError, TokenExpiredError
from bridge.events import VOLATILE_CLAIMS, Principal

ROLES = ("authenticated", "anon")
"""Database roles that a client's token may have."""

MAX_REMEMBERED = 16_384
"""Tokens that need not be verified again: who comes back, and who polls, brings the one of before."""

MAX_REMEMBERED_CHARS = 4_096
"""Longest token that is remembered: it takes about as much memory."""

_ASYMMETRIC = ("ES256", "RS256", "EdDSA")

Key: TypeAlias = Any
_jwt = jwt.PyJWT(
    {"require": ["exp"], "verify_exp": False, "verify_aud": False, "verify_iat": False}  # exp by our clock
)
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a token raises: its parts are JSON that anybody may have written."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""How JSON spells the character that Postgres has none of."""

_encoder = msgspec.json.Encoder(order="sorted")


class Identity(msgspec.Struct, frozen=True):
    """A verified token: who, and until when (UTC)."""

    principal: Principal
    expires_at: dt.datetime


class _Remembered(msgspec.Struct, frozen=True, gc=False):
    """What a token said, and the key that it was verified with."""

    key: Key
    identity: Identity


class _PreparedHmac(HMACAlgorithm):
    """HS256 with a secret that has been looked at: PyJWT tries for each token whether it is a public key."""

    @override
    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else super().prepare_key(key)


class KeySet(Protocol):
    """Finds the public key that a token names."""

    def at_hand(self, kid: str, algorithm: str) -> Key | None:
        """Return the key if nothing has to be fetched for it."""

    async def key(self, kid: str, algorithm: str) -> Key:
        """Return the key.

        Raises:
            InvalidTokenError: the project has no such key.
        """


class Verifier:
    """Verifies tokens of one project: by its secret (HS256) or by its public keys.

    Args:
        clock: Decides whether a token has expired.
        secret: The project's JWT secret, None if it has none.
        keys: The project's public keys; asked for tokens that are not HS256.
        issuer: Required claim ``iss``; None accepts any.
    """

    def __init__(
        self, *, clock: Clock, secret: str | None, keys: KeySet | None, issuer: str | None = None
    ) -> None:
        self._clock = clock
        self._secret = None if secret is None else _secret_key(secret)
        self._keys = keys
        self._issuer = issuer
        self._left_out = VOLATILE_CLAIMS
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        """By the tokens' digests, the one that was used last at the end."""

    def keep(self, claims: frozenset[str]) -> bool:
        """Keep these volatile claims, which policies may read; True if some were left out until now."""
        left_out, self._left_out = self._left_out, VOLATILE_CLAIMS - claims
        if left_out != self._left_out:
            self._remembered.clear()
        return not left_out <= self._left_out

    async def verify(self, token: str) -> Identity:
        """Return whom ``token`` speaks for.

        Raises:
            InvalidTokenError: it does not verify, or is none that a client may use.
            TokenExpiredError: it has expired.
        """
        algorithm, kid, keys = self._named(token)
        key = self._secret if keys is None else await keys.key(kid, algorithm)
        return self._verified(token, key, algorithm)

    def verify_at_once(self, token: str) -> Identity | None:
        """Return the same as ``verify``, with the same errors; None if a key has to be fetched first."""
        algorithm, kid, keys = self._named(token)
        key = self._secret if keys is None else keys.at_hand(kid, algorithm)
        return None if key is None else self._verified(token, key, algorithm)

    def _named(self, token: str) -> tuple[str, str, KeySet | None]:
        """Return the algorithm that ``token`` names, its key's id, and who has that; None: the secret."""
        try:
            algorithm, kid = _named(token.partition(".")[0])
        except _UNREADABLE:
            raise _no_jwt() from None
        # The key decides the algorithm, never the token alone.
        if algorithm == "HS256" and self._secret is not None:
            return algorithm, "", None
        if algorithm in _ASYMMETRIC and self._keys is not None and kid is not None:
            return algorithm, kid, self._keys
        raise InvalidTokenError(
            f"the token is signed with {algorithm[:16]}, which this project does not use: sign in again"
        )

    def _verified(self, token: str, key: Key, algorithm: str) -> Identity:
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        known = self._remembered.pop(digest, None)
        # Keys that were fetched again count as others: a revoked one has not been found at all.
        if known is None or known.key is not key:
            known = _Remembered(key, self._identity(self._claims(token, key, algorithm)))
        if known.identity.expires_at <= self._clock.now():
            raise TokenExpiredError("the token has expired: connect again with a new one")
        if len(token) <= MAX_REMEMBERED_CHARS:
            self._remembered[digest] = known
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return known.identity

    def _claims(self, token: str, key: Key, algorithm: str) -> dict[str, Any]:
        try:
            return _jwt.decode(token, key, algorithms=[algorithm], issuer=self._issuer)
        except jwt.MissingRequiredClaimError as error:
            raise InvalidTokenError(
                f"the token has no {error.claim}: send the session's access_token"
            ) from None
        except jwt.InvalidIssuerError:
            raise InvalidTokenError("the token is of another project: sign in to this one") from None
        except jwt.InvalidSignatureError:
            raise InvalidTokenError("the token's signature is wrong: is it of another project?") from None
        except jwt.ImmatureSignatureError:
            raise InvalidTokenError("the token is not valid yet: check the clocks") from None
        except _UNREADABLE:
            raise _no_jwt() from None

    def _identity(self, claims: dict[str, Any]) -> Identity:
        try:
            expires_at = dt.datetime.fromtimestamp(float(claims["exp"]), dt.UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise InvalidTokenError("the token's exp is no time: sign in again") from None
        stable = {name: value for name, value in claims.items() if name not in self._left_out}
        try:
            claims_json, everything = (_encoder.encode(some).decode() for some in (stable, claims))
        except _UNREADABLE:  # half a surrogate pair: JSON may spell it, and jsonb refuses it
            raise _no_jwt() from None
        if _NUL.search(everything):  # every SELECT of this user fails there
            raise InvalidTokenError(
                "a claim of the token holds \\u0000, which Postgres cannot read: take it out of the user's "
                "metadata, or out of the hook that adds it, and sign in again"
            )
        role, subject = claims.get("role"), claims.get("sub")
        if role not in ROLES:
            raise InvalidTokenError(
                f"a token with role {str(role)[:32]} is not for clients: "
                "send the signed-in user's access_token"
            )
        user_id: str | None = None
        if isinstance(subject, str) and _UUID.fullmatch(subject):
            user_id = subject  # as nearly all are spelt; UUID takes its time
        elif subject is not None:
            try:
                user_id = str(uuid.UUID(subject))
            except (ValueError, AttributeError, TypeError):
                raise InvalidTokenError("the token's sub is no uuid: sign in again") from None
        elif role == "authenticated":
            raise InvalidTokenError("the token has no sub: sign in again")
        return Identity(Principal(role=role, user_id=user_id, claims_json=claims_json), expires_at)


def _secret_key(secret: str) -> jwt.PyJWK:
    """Return the project's secret as a key for HS256 and nothing else.

    Raises:
        ConfigError: it is no secret but a key that may be public.
    """
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
        key = jwt.PyJWK(HMACAlgorithm.to_jwk(secret, as_dict=True), "HS256")
    except jwt.InvalidKeyError:
        raise ConfigError(
            "SUPABASE_JWT_SECRET is a public key, a certificate or a JWK: set the project's JWT secret, or "
            "nothing, so that tokens are verified against the project's public keys"
        ) from None
    key.Algorithm = _PreparedHmac(HMACAlgorithm.SHA256)
    return key


@lru_cache(maxsize=64)
def _named(head: str) -> tuple[str, str | None]:
    """Return the algorithm and the key id that a token's first part names; a project has few of these.

    Raises:
        jwt.InvalidTokenError, ValueError: it is none.
    """
    header = jwt.get_unverified_header(f"{head}..")
    algorithm, kid = str(header.get("alg")), header.get("kid")
    if not algorithm.isascii():  # it is named in the answer
        raise _no_jwt()
    return algorithm, kid if isinstance(kid, str) else None


def _no_jwt() -> InvalidTokenError:
    return InvalidTokenError("the token is no valid JWT: send the session's access_token")
