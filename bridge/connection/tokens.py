"""Whom a token speaks for, and until when."""

import datetime as dt
import uuid
from typing import Any, Protocol, TypeAlias

import jwt
import msgspec

from bridge.clock import Clock
from bridge.errors import InvalidTokenError, TokenExpiredError
from bridge.events import VOLATILE_CLAIMS, Principal

ROLES = ("authenticated", "anon")
"""Database roles that a client's token may have."""

_ASYMMETRIC = ("ES256", "RS256", "EdDSA")

Key: TypeAlias = Any
_encoder = msgspec.json.Encoder(order="sorted")


class Identity(msgspec.Struct, frozen=True):
    """A verified token: who, and until when (UTC)."""

    principal: Principal
    expires_at: dt.datetime


class KeySet(Protocol):
    """Finds the public key that a token names."""

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
        self._secret = secret
        self._keys = keys
        self._issuer = issuer
        self._left_out = VOLATILE_CLAIMS

    def keep(self, claims: frozenset[str]) -> bool:
        """Keep these volatile claims, which policies may read; True if some were left out until now."""
        left_out, self._left_out = self._left_out, VOLATILE_CLAIMS - claims
        return not left_out <= self._left_out

    async def verify(self, token: str) -> Identity:
        """Return whom ``token`` speaks for.

        Raises:
            InvalidTokenError: it does not verify, or is none that a client may use.
            TokenExpiredError: it has expired.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            # The key decides the algorithm, never the token alone.
            if algorithm == "HS256" and self._secret is not None:
                key: Key = self._secret
            elif algorithm in _ASYMMETRIC and self._keys is not None and isinstance(header.get("kid"), str):
                key = await self._keys.key(header["kid"], algorithm)
            else:
                raise InvalidTokenError(
                    f"the token is signed with {str(algorithm)[:16]}, which this project does not use: "
                    "sign in again"
                )
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                options={"require": ["exp"], "verify_exp": False, "verify_aud": False, "verify_iat": False},
            )
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
        except (jwt.InvalidTokenError, ValueError):
            raise InvalidTokenError("the token is no valid JWT: send the session's access_token") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        try:
            expires_at = dt.datetime.fromtimestamp(float(claims["exp"]), dt.UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            raise InvalidTokenError("the token's exp is no time: sign in again") from None
        if expires_at <= self._clock.now():
            raise TokenExpiredError("the token has expired: connect again with a new one")
        role, subject = claims.get("role"), claims.get("sub")
        if role not in ROLES:
            raise InvalidTokenError(
                f"a token with role {str(role)[:32]} is not for clients: "
                "send the signed-in user's access_token"
            )
        user_id: str | None = None
        if subject is not None:
            try:
                user_id = str(uuid.UUID(subject))
            except (ValueError, AttributeError, TypeError):
                raise InvalidTokenError("the token's sub is no uuid: sign in again") from None
        elif role == "authenticated":
            raise InvalidTokenError("the token has no sub: sign in again")
        stable = {name: value for name, value in claims.items() if name not in self._left_out}
        principal = Principal(role=role, user_id=user_id, claims_json=_encoder.encode(stable).decode())
        return Identity(principal, expires_at)
