"""What a real Realtime server says of a token that it does not accept."""

import datetime as dt

import jwt


class TokenRefusedError(Exception):
    """A token is not accepted.

    Attributes:
        at_join: Reason in the reply to ``phx_join``.
        while_joined: Message of the system frame after ``access_token``.
        at_connect: Error in the body of HTTP 401.
    """

    def __init__(self, *, at_join: str, while_joined: str, at_connect: str) -> None:
        super().__init__(at_connect)
        self.at_join = at_join
        self.while_joined = while_joined
        self.at_connect = at_connect


def verify(token: str, secret: str, *, now: dt.datetime) -> dict[str, object]:
    """Return the claims of ``token``.

    Raises:
        TokenRefusedError: it is malformed, badly signed, expired, or lacks ``role`` or ``exp``.
    """
    try:
        claims: dict[str, object] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
    except jwt.InvalidSignatureError as error:
        raise TokenRefusedError(
            at_join="JwtSignatureError: Failed to validate JWT signature",
            while_joined=":signature_error",
            at_connect="Failed to validate JWT signature",
        ) from error
    except jwt.InvalidTokenError as error:
        raise TokenRefusedError(
            at_join="MalformedJWT: The token provided is not a valid JWT",
            while_joined="The token provided is not a valid JWT",
            at_connect="The token provided is not a valid JWT",
        ) from error
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or "role" not in claims:
        missing = "Fields `role` and `exp` are required in JWT"
        raise TokenRefusedError(
            at_join=f"InvalidJWTToken: {missing}", while_joined=missing, at_connect=missing
        )
    late_s = int(now.timestamp() - expires)
    if now.timestamp() >= expires:
        message = expired_message(late_s)
        raise TokenRefusedError(
            at_join=f"InvalidJWTToken: {message}", while_joined=message, at_connect="Token has expired"
        )
    return claims


def expired_message(late_s: int) -> str:
    """Return what Realtime says of a token that expired ``late_s`` seconds ago."""
    return f"Token has expired {late_s} seconds ago"
